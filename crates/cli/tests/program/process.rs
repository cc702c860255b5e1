//! Running the program: to its end, or line by line while it runs. Nothing waits without a limit.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest any step may take: a loaded machine with two cores is slow, a hang is endless.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A finished command.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Done {
    /// Insists on the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.text(), self.err);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Everything on stdout, one JSON document a line.
    #[track_caller]
    pub(crate) fn documents(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
        };
        self.text().lines().map(parse).collect()
    }

    /// The only document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let mut documents = self.documents();
        assert_eq!(documents.len(), 1, "one document is wanted: {documents:?}");
        documents.remove(0)
    }

    /// The last event of this name.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        let named = |document: &Value| document["event"] == name;
        let found = self.documents().into_iter().rfind(named);
        found.unwrap_or_else(|| panic!("no {name:?} in\n{}\n{}", self.text(), self.err))
    }
}

/// A command that runs. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: String,
    err: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let err = drain(child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    break; // the test has ended
                }
            }
        });
        Self { child, lines, seen: String::new(), err: Some(err) }
    }

    /// Waits for the next event of this name.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    let document: Value = serde_json::from_str(&line).expect("a line of JSON");
                    if document["event"] == name {
                        return document;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {name:?} in time:\n{}", self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    let err = self.stderr();
                    panic!("it ended without {name:?}:\n{}\n{err}", self.seen);
                }
            }
        }
    }

    /// All of stderr, once it has ended.
    fn stderr(&mut self) -> String {
        let bytes = self.err.take().map(|err| err.join().expect("it reads")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal by its name. The shell has `kill` built in wherever there is one.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("sh runs");
        assert!(sent.success(), "{kill}");
    }

    #[track_caller]
    fn status(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {limit:?}:\n{}", self.seen);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it ends of itself.
    #[track_caller]
    pub(crate) fn finish(&mut self, limit: Duration) -> Done {
        let code = self.status(limit).code();
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.seen.push_str(&line);
        }
        let err = self.stderr();
        Done { code, out: std::mem::take(&mut self.seen).into_bytes(), err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Waits until `what` holds.
#[track_caller]
pub(crate) fn until(name: &str, what: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !what() {
        assert!(Instant::now() < deadline, "not in time: {name}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Done {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let out = drain(child.stdout.take().expect("piped"));
    let err = drain(child.stderr.take().expect("piped"));
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill(); // it may have ended just now
            panic!("still running after {LIMIT:?}: {command:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let read = |pipe: JoinHandle<Vec<u8>>| pipe.join().expect("it reads");
    let err = String::from_utf8_lossy(&read(err)).into_owned();
    Done { code: status.code(), out: read(out), err }
}

/// Reads all of a pipe on the side, so that the program never waits for us.
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes); // what came before the error is the answer
        bytes
    })
}
