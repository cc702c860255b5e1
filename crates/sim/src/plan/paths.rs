//! What lies between a peer and everybody else: firewalls and middleboxes, and what it uses itself.

/// What a peer's network lets through, out and in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paths {
    /// Of TCP.
    pub tcp: TcpPath,
    /// uTP does not pass: its packets vanish.
    pub no_utp: bool,
}

/// What becomes of a TCP connection. The worse of two networks decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TcpPath {
    /// It is made.
    #[default]
    Through,
    /// It is taken by a middlebox, and closed.
    Closed,
    /// The same, and nothing is ever said.
    Silent,
    /// It is refused.
    Refused,
    /// The first packet vanishes, and every other.
    Vanishes,
}

/// The transports that a peer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// TCP and uTP.
    Both,
    /// It resets uTP, and punches no holes.
    Tcp,
    /// It closes what comes by TCP.
    Utp,
}

impl Speaks {
    /// Whether it dials by TCP.
    pub fn tcp(self) -> bool {
        self != Self::Utp
    }

    /// Whether it dials by uTP.
    pub fn utp(self) -> bool {
        self != Self::Tcp
    }
}
