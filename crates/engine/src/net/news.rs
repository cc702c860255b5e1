//! Tells when the system's interfaces or their addresses change. What changed is not read: whoever hears
//! of it looks. Linux tells by a netlink socket; elsewhere nothing is ever heard, and looking now and then
//! has to do.

use std::time::Duration;

/// An interface that comes and goes all the time is looked at no more often than this.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the system tells.
pub(super) struct News(Option<system::Source>);

impl News {
    /// Listens, if the system lets us.
    pub(super) fn listen() -> Self {
        let source = system::Source::open();
        if let Err(error) = &source {
            tracing::info!(%error, "changes of interfaces are noticed a second late");
        }
        Self(source.ok())
    }

    /// Whether anything will be heard.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until something may have changed, or nothing more will be heard.
    pub(super) async fn next(&mut self) {
        let Some(source) = &self.0 else { return std::future::pending().await };
        match source.heard().await {
            Ok(()) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                tracing::info!(%error, "no more news of interfaces");
                self.0 = None;
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use tokio::net::UdpSocket;

    /// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
    const GROUPS: u32 = 0x1 | 0x10 | 0x100;

    /// What the kernel sends to whoever asks for it; nothing leaves the machine by it. It is no UDP
    /// socket, but one that takes datagrams, and of those tokio knows no other.
    pub(super) struct Source(UdpSocket);

    impl Source {
        pub(super) fn open() -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let family = AddressFamily::NETLINK;
            let socket = socket_with(family, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(Self(UdpSocket::from_std(socket.into())?))
        }

        /// Waits for the next messages, and reads all there are.
        pub(super) async fn heard(&self) -> io::Result<()> {
            self.0.readable().await?;
            loop {
                // Of a message that is longer the rest is lost, which does not matter.
                match self.0.try_recv(&mut [0; 64]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub(super) struct Source(std::convert::Infallible);

    impl Source {
        pub(super) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn heard(&self) -> io::Result<()> {
            match self.0 {}
        }
    }
}
