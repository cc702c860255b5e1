//! Connections that were made before there was a torrent (`magnet/handover.rs`): they become its own.

use std::rc::Rc;

use swarm::Refusal;

use super::Torrent;
use crate::magnet::{Handed, Standing};

/// Pieces that peers are told of one by one, who heard that there are none. With more, a new handshake
/// and a bitfield cost less.
const TOLD_MAX: u32 = 1000;

impl Torrent {
    /// Goes on with them where the search was.
    pub(crate) fn take_over(self: &Rc<Self>, handed: Vec<Handed>) {
        let is_lost = self.context.session.network.is_lost();
        for Handed { hello, standing, line, slot } in handed {
            let addr = hello.addr;
            let added = match line.attach() {
                Err(error) => {
                    tracing::debug!(%addr, %error, "peer of the search lost");
                    continue;
                }
                Ok(line) => self.join(line, |swarm, now| {
                    if let Standing::New(Some(source)) = standing {
                        swarm.add_candidates(now, source, &[addr]);
                    }
                    match standing {
                        _ if is_lost => Err(Refusal::Full),
                        Standing::New(_) => swarm.add_peer(now, hello),
                        Standing::Greeted(_) if swarm.have().count() > TOLD_MAX => {
                            Err(Refusal::Full)
                        }
                        Standing::Greeted(listens_at) => swarm.take_over(now, hello, listens_at),
                    }
                }),
            };
            match added {
                Ok(joined) => {
                    let torrent = Rc::clone(self);
                    tokio::task::spawn_local(async move {
                        torrent.attend(addr, joined).await;
                        drop(slot);
                        torrent.wake();
                    });
                }
                Err(refusal) => tracing::debug!(%addr, %refusal, "peer of the search refused"),
            }
        }
    }
}
