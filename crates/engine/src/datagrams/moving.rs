//! Another port for the same protocols. uTP connections stay on the socket that they began on, as the
//! other side knows them by its port; it lets nobody in any more, and goes with the last of them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use super::socket::Socket;
use super::{Datagrams, Open};

impl Datagrams {
    /// Receives at these addresses instead of the ones before.
    ///
    /// # Errors
    /// When one of them can't be had: nothing has changed then.
    pub(crate) fn move_to(self: &Arc<Self>, addrs: &[SocketAddr]) -> io::Result<()> {
        let mut left = self.left.write().unwrap_or_else(PoisonError::into_inner);
        let (mut new, mut returning) = (Vec::new(), Vec::new());
        for addr in addrs {
            // A port that we left not long ago may still be ours.
            if left.iter().any(|open| open.socket.local_addr() == *addr) {
                returning.push(*addr);
            } else {
                new.push(self.open_one(*addr)?);
            }
        }
        for open in left.extract_if(.., |open| returning.contains(&open.socket.local_addr())) {
            open.socket.lets_in(true);
            new.push(open);
        }
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        for old in std::mem::replace(&mut *sockets, new) {
            old.socket.lets_in(false);
            left.push(old);
        }
        Ok(())
    }

    /// Gives a port back that was left.
    pub(crate) fn let_go(&self, port: u16) {
        let mut left = self.left.write().unwrap_or_else(PoisonError::into_inner);
        left.retain(|open| open.socket.local_addr().port() != port);
    }

    /// The socket of a port that was left.
    pub(super) fn left_by(&self, remote: SocketAddr, port: u16) -> Option<Arc<Socket>> {
        let left = self.left.read().unwrap_or_else(PoisonError::into_inner);
        let same = |open: &&Open| {
            let local = open.socket.local_addr();
            local.is_ipv4() == remote.is_ipv4() && local.port() == port
        };
        left.iter().find(same).map(|open| Arc::clone(&open.socket))
    }
}
