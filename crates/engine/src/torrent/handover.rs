//! Connections that were made before there was a torrent (`magnet/handover.rs`): they become its own.

use std::rc::Rc;

use super::Torrent;
use crate::magnet::Handed;

/// Pieces that peers are told of one by one, who heard that there are none. With more, a new handshake
/// and a bitfield cost less.
const TOLD_MAX: u32 = 1000;

impl Torrent {
    /// Goes on with them where the search was.
    pub(crate) fn take_over(self: &Rc<Self>, handed: Vec<Handed>) {
        let told = self.state.borrow().swarm.have().count();
        if told > TOLD_MAX || self.context.session.network.is_lost() {
            return;
        }
        for Handed { hello, listens_at, line, slot } in handed {
            let addr = hello.addr;
            let line = match line.attach() {
                Ok(line) => line,
                Err(error) => {
                    tracing::debug!(%addr, %error, "peer of the search lost");
                    continue;
                }
            };
            let added = self.join(line, |swarm, now| swarm.take_over(now, hello, listens_at));
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
