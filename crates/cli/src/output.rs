//! Where output goes: text for people or one JSON document for programs on stdout, notes and
//! errors on stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{LazyLock, Mutex};

use indicatif::MultiProgress;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::exit::{Code, Failure};
use crate::format;

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
            print(format!("{}\n", format::lines(text)).as_bytes());
        }
    }

    /// The command's answer, or one event of it, as a line of JSON; only in JSON mode.
    pub(crate) fn value(self, value: &Value) {
        if self.json {
            print(format!("{}\n", format::document(value)).as_bytes());
        }
    }

    /// Something worth knowing that is not the answer.
    pub(crate) fn note(self, text: impl Display) {
        if !self.json && !self.quiet {
            // Nowhere is left to complain.
            let text = format::lines(text);
            bars().suspend(|| drop(writeln!(io::stderr(), "{text}")));
        }
    }

    /// Whether progress may be drawn over itself.
    pub(crate) fn is_live(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// Reports a failure as it happens.
    pub(crate) fn failed(self, failure: &Failure) {
        self.value(&json!({
            "event": "error", "error": failure.message, "advice": failure.advice,
            "exit_code": failure.code as u8,
        }));
        let advice = failure.advice.map_or(String::new(), |advice| format!("\n  {advice}"));
        // That a person stopped it is no error of anybody's.
        let kind = if failure.code == Code::Interrupted { "" } else { "error: " };
        bars().suspend(|| {
            let message = format::lines(&failure.message);
            let _ = writeln!(io::stderr(), "{kind}{message}{advice}");
        });
    }

    /// Ends the command: reports what was not reported yet, and gives the exit code.
    pub(crate) fn end(self, result: Result<(), Failure>) -> ExitCode {
        let result = result.and_then(|()| match take_trouble() {
            None => Ok(()),
            Some(error) => Err(Failure::new(Code::Disk, format!("can't write to stdout: {error}"))),
        });
        let Err(failure) = result else { return ExitCode::SUCCESS };
        if !failure.reported {
            self.failed(&failure);
        }
        ExitCode::from(failure.code as u8)
    }
}

/// All bars on the terminal, below each other. Whoever writes a line suspends them meanwhile.
pub(crate) fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// Why stdout takes no more. What it misses must not end a download half-way.
static TROUBLE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints bytes, unless earlier ones could not be.
pub(crate) fn print(bytes: &[u8]) {
    let Ok(mut trouble) = TROUBLE.lock() else { return };
    if trouble.is_none() {
        let mut stdout = io::stdout().lock();
        *trouble = stdout.write_all(bytes).and_then(|()| stdout.flush()).err();
    }
}

/// What went wrong with stdout. A reader that had enough is nothing wrong.
fn take_trouble() -> Option<io::Error> {
    let trouble = TROUBLE.lock().ok()?.take();
    trouble.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Logs go to stderr: errors, or more with `-v` and `-vv`; `PEERLESS_LOG` overrides.
pub(crate) fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter =
        EnvFilter::try_from_env("PEERLESS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // It takes colours only where the writer has them: by itself it asks NO_COLOR alone.
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(io::stderr).init();
}
