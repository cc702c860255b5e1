//! Sockets that begin at one of our addresses: a gateway lets in only to who asks for it.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use socket2::Type;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::{Held, Network, Purpose};

impl Network {
    /// Connects by TCP from this address of ours.
    pub(crate) async fn connect_from(
        &self,
        local: Ipv6Addr,
        addr: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<TcpStream>> {
        let socket = self.bound(local, addr, Type::STREAM)?;
        let stream = TcpSocket::from_std_stream(socket.into()).connect(addr).await?;
        Ok(self.hold(stream, purpose))
    }

    /// A UDP socket from this address of ours, for datagrams with `remote` alone.
    pub(crate) async fn udp_from(
        &self,
        local: Ipv6Addr,
        remote: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<UdpSocket>> {
        let socket = UdpSocket::from_std(self.bound(local, remote, Type::DGRAM)?.into())?;
        socket.connect(remote).await?;
        Ok(self.hold(socket, purpose))
    }

    fn bound(&self, local: Ipv6Addr, to: SocketAddr, kind: Type) -> io::Result<socket2::Socket> {
        self.must_not_pass_proxy("what begins at one address")?;
        self.must_reach(to)?;
        if self.binding().address().is_some_and(|ip| ip != local) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let socket = self.socket(to, kind)?;
        socket.bind(&SocketAddr::new(local.into(), 0).into())?;
        Ok(socket)
    }
}
