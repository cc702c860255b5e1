//! `--port-file`: the listening port as another program names it. VPNs with port forwarding lead a port to
//! us that they choose, and may choose another one at any time.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
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
    /// What the session began with.
    #[arg(skip)]
    begun_with: OnceLock<Result<u16, String>>,
}

impl Follow {
    /// The port that is named now, for a session to begin with.
    pub(crate) fn now(&self, output: Output) -> Option<u16> {
        let read = self.read()?;
        if let Err(error) = &read {
            output.note(format_args!("warning: {}; it is looked at again", untrusted(error)));
        }
        self.begun_with.get_or_init(|| read).as_ref().ok().copied()
    }

    /// Has the session listen where the file says.
    pub(crate) async fn follow(self, session: Session, output: Output) {
        let mut every = tokio::time::interval(EVERY);
        // The file may have changed while the session started.
        let mut following = Following { done: self.begun_with.get().cloned(), told: None };
        loop {
            every.tick().await;
            let Some(read) = self.read() else { return };
            if let Some(note) = following.heard(read, &session).await {
                output.note(note);
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

/// What became of what the file said.
#[derive(Default)]
struct Following {
    /// What is done already.
    done: Option<Result<u16, String>>,
    /// Why the next is not.
    told: Option<String>,
}

impl Following {
    /// The file says so now. Gives what is to be told.
    async fn heard(&mut self, read: Result<u16, String>, session: &Session) -> Option<String> {
        if self.done.as_ref() == Some(&read) {
            return None;
        }
        let trouble = match &read {
            Err(error) => untrusted(error),
            Ok(port) => {
                let before = listen_port(session);
                match session.set_listen_port(*port).await {
                    Ok(()) => {
                        let note = format!("listening on port {port} now");
                        let is_other = before != Some(*port);
                        *self = Self { done: Some(read), told: None };
                        return is_other.then_some(note);
                    }
                    // Another program may give it back, and the network may come.
                    Err(error) => error.to_string(),
                }
            }
        };
        if self.told.as_ref() == Some(&trouble) {
            return None;
        }
        let note = format!("warning: {trouble}; the port stays");
        self.told = Some(trouble);
        Some(note)
    }
}

fn listen_port(session: &Session) -> Option<u16> {
    session.listen_addresses().first().map(SocketAddr::port)
}

#[cfg(test)]
mod tests {
    use engine::{Binding, Network, NetworkOptions, StateLocation};

    use super::*;

    async fn session() -> Session {
        let network = NetworkOptions::default().bind(Binding::to_interface("lo").unwrap());
        let builder = Session::builder().network(Network::new(network));
        builder.state(StateLocation::Memory).start().await.unwrap()
    }

    #[tokio::test]
    async fn what_changed_while_the_session_started_counts() {
        let (session, other) = (session().await, session().await);
        let first = listen_port(&session).unwrap();
        let mut following = Following::default();
        assert_eq!(following.heard(Ok(first), &session).await, None, "it is there already");
        let absent = Err("no such file".into());
        let mut following = Following { done: Some(absent), told: None };
        let named = listen_port(&other).unwrap();
        let note = following.heard(Ok(named), &session).await.unwrap();
        assert!(note.contains("the port stays"), "{note}");
        assert_eq!(following.heard(Ok(named), &session).await, None, "once");
        other.shutdown().await;
        let given_back = async {
            loop {
                if let Some(note) = following.heard(Ok(named), &session).await {
                    break note;
                }
                tokio::task::yield_now().await; // the system lets go of it a moment later
            }
        };
        let note = tokio::time::timeout(Duration::from_secs(10), given_back).await.unwrap();
        assert_eq!(note, format!("listening on port {named} now"));
        assert_eq!(listen_port(&session), Some(named));
        assert_eq!(following.heard(Ok(named), &session).await, None, "it is done");
        let mut following = Following { done: Some(Ok(named)), told: None };
        let gone = || Err("it is gone".into());
        let note = following.heard(gone(), &session).await;
        assert_eq!(note.as_deref(), Some("warning: it is gone; the port stays"));
        assert_eq!(following.heard(gone(), &session).await, None);
        session.shutdown().await;
    }

    #[test]
    fn what_the_session_began_with_is_not_told_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let follow = Follow { port_file: Some(file.path().to_owned()), ..Follow::default() };
        std::fs::write(file.path(), "6881").unwrap();
        assert_eq!(follow.now(Output::new(true, true)), Some(6881));
        std::fs::write(file.path(), "6882").unwrap();
        assert_eq!(follow.clone().begun_with.get(), Some(&Ok(6881)), "6882 is still to be done");
    }

    #[test]
    fn a_file_with_a_number_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let follow = Follow { port_file: Some(file.path().to_owned()), ..Follow::default() };
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
