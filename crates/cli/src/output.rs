//! Where output goes: text for people or one JSON document for programs on stdout, notes and
//! errors on stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::exit::Failure;

/// How this run reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// A line of the command's answer; not in JSON mode.
    pub(crate) fn line(self, text: impl Display) {
        if !self.json {
            print(format_args!("{text}"));
        }
    }

    /// The command's answer, or one event of it, as a line of JSON; only in JSON mode.
    pub(crate) fn value(self, value: &Value) {
        if self.json {
            print(format_args!("{value}"));
        }
    }

    /// Something worth knowing that is not the answer.
    pub(crate) fn note(self, text: impl Display) {
        if !self.json && !self.quiet {
            let _ = writeln!(io::stderr(), "{text}"); // nowhere left to complain
        }
    }

    /// Whether progress may be drawn over itself.
    pub(crate) fn is_live(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// Reports a failure and gives its exit code.
    pub(crate) fn fail(self, failure: &Failure) -> ExitCode {
        let code = failure.code as u8;
        self.value(&json!({
            "event": "error", "error": failure.message, "advice": failure.advice, "exit_code": code,
        }));
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "error: {}", failure.message);
        if let Some(advice) = failure.advice {
            let _ = writeln!(stderr, "  {advice}");
        }
        ExitCode::from(code)
    }
}

/// A reader that went away is the end of the command, not a panic.
fn print(text: std::fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Logs go to stderr: warnings, or more with `-v` and `-vv`; `PEERLESS_LOG` overrides.
pub(crate) fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter =
        EnvFilter::try_from_env("PEERLESS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
