//! The `peerless` program: arguments in, text or JSON out. All real work is in the libraries.

mod args;
mod commands;
mod exit;
mod format;
mod interrupt;
mod output;
mod progress;
mod result_file;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    output::start_log(args.global.verbose);
    let output = output::Output::new(args.global.json, args.global.quiet);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.end(Err(exit::Failure::other(error))),
    };
    let result = runtime.block_on(commands::run(args, &output));
    // A name look-up that hangs must not hold up the exit.
    runtime.shutdown_background();
    output.end(result)
}
