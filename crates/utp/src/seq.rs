//! Packet numbers and timestamps, both of which wrap (BEP 29).

/// The number of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seq(pub u16);

impl Seq {
    /// So many after this one.
    #[must_use]
    pub fn plus(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The one before.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// How far this is ahead of `other`; a negative number when it is behind.
    pub fn since(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// Microseconds since some start of the caller's.
pub(crate) type Micros = u64;

pub(crate) const MILLISECOND: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// What goes into a packet: microseconds that wrap after 71 minutes.
pub(crate) fn stamp(now: Micros) -> u32 {
    (now & u64::from(u32::MAX)) as u32
}

/// How far a wrapping microsecond count is ahead of another; negative when it is behind.
pub(crate) fn stamp_since(this: u32, other: u32) -> i32 {
    this.wrapping_sub(other).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_stamps_wrap() {
        assert_eq!(Seq(0xffff).plus(1), Seq(0));
        assert_eq!(Seq(0).before(), Seq(0xffff));
        assert_eq!(Seq(2).since(Seq(0xfffe)), 4);
        assert_eq!(Seq(0xfffe).since(Seq(2)), -4);
        assert_eq!(stamp(0x1_0000_0005), 5);
        assert_eq!(stamp_since(5, u32::MAX - 4), 10);
        assert_eq!(stamp_since(u32::MAX - 4, 5), -10);
    }
}
