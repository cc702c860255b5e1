//! `--port-file`: the listening port as another program names it. VPNs with port forwarding lead a port to
//! us that they choose, and may choose another one at any time.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use engine::Session;

use crate::format::untrusted;
use crate::output::Output;

/// How often is looked whether it names another one.
const EVERY: Duration = Duration::from_secs(1);

/// Bytes of a file that names a port, with whatever space is around it.
const BYTES_MAX: u64 = 64;

/// Where the port is named.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Follow {
    /// Listen on the port that this file names, and on another when it names another: for VPNs that
    /// forward a port of their choice. While it names none, --port holds.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

impl Follow {
    /// The port that is named now.
    pub(crate) fn now(&self, output: Output) -> Option<u16> {
        let read = self.read()?;
        if let Err(error) = &read {
            output.note(format_args!("warning: {}; it is looked at again", untrusted(error)));
        }
        read.ok()
    }

    /// Has the session listen where the file says.
    pub(crate) async fn follow(self, session: Session, output: Output) {
        let mut every = tokio::time::interval(EVERY);
        let (mut done, mut told) = (self.read(), None);
        loop {
            every.tick().await;
            let read = self.read();
            if read == done {
                continue;
            }
            let trouble = match &read {
                None => return,
                Some(Err(error)) => untrusted(error),
                Some(Ok(port)) => match session.set_listen_port(*port).await {
                    Ok(()) => {
                        output.note(format_args!("listening on port {port} now"));
                        (done, told) = (read, None);
                        continue;
                    }
                    // Another program may give it back, and the network may come.
                    Err(error) => error.to_string(),
                },
            };
            if told.as_ref() != Some(&trouble) {
                output.note(format_args!("warning: {trouble}; the port stays"));
                told = Some(trouble);
            }
        }
    }

    /// `None` without a file.
    fn read(&self) -> Option<Result<u16, String>> {
        let path = self.port_file.as_ref()?;
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        if let Err(error) = read {
            return Some(Err(named(&error)));
        }
        let port = text.trim().parse().ok().filter(|port| *port != 0);
        Some(port.ok_or_else(|| named(&"it names no port from 1 to 65535")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_number_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let follow = Follow { port_file: Some(file.path().to_owned()) };
        for (text, port) in
            [("6881", Some(6881)), (" 65535\n", Some(65535)), ("0", None), ("", None)]
        {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(follow.read().unwrap().ok(), port, "{text:?}");
        }
        for bad in ["65536", "6881 6882", &"1".repeat(200)] {
            std::fs::write(file.path(), bad).unwrap();
            assert!(follow.read().unwrap().unwrap_err().contains("names no port"), "{bad:?}");
        }
        drop(file);
        assert!(follow.read().unwrap().is_err());
        assert_eq!(Follow::default().read(), None);
    }
}
