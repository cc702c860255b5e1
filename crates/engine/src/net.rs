//! The one socket factory: every peer socket of a session is made here, so that a bind address
//! holds for all of them. MSE, uTP and proxies slot in between here and `peer`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// Inbound connections the kernel may hold for us.
const BACKLOG: i32 = 256;

/// Connects to a peer, from `bind` when one is given.
pub(crate) async fn connect(addr: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = bind {
        if ip.is_ipv4() != addr.is_ipv4() {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("{addr} can't be reached from the bind address {ip}"),
            ));
        }
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    let stream = socket.connect(addr).await?;
    tune(&stream)?;
    Ok(stream)
}

/// What every peer connection wants of its socket.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    // We batch messages ourselves: one write a batch, which must not wait for the last one's ack.
    stream.set_nodelay(true)
}

/// Bytes that a UDP socket may hold, if the system allows: bursts come faster than threads wake.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A UDP socket on this address, which may be a TCP listener's.
pub(crate) fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as may be had is good: Linux gives less than asked for, other systems refuse.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Listens on `bind`, or on every address of both families on one port.
pub(crate) fn listen(bind: Option<IpAddr>, port: u16) -> io::Result<Vec<TcpListener>> {
    if let Some(ip) = bind {
        return Ok(vec![listen_on(SocketAddr::new(ip, port))?]);
    }
    let v4 = listen_on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
    let port = v4.local_addr()?.port();
    let mut listeners = vec![v4];
    // A machine without IPv6 still has a working IPv4.
    match listen_on(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        Ok(v6) => listeners.push(v6),
        Err(error) => tracing::info!(%error, "not listening on IPv6"),
    }
    Ok(listeners)
}

fn listen_on(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that a restart finds its port again while old connections linger.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
