//! What went wrong with a web seed, and when it is asked again: each failure in a row doubles the
//! wait, a served part ends it, and what no waiting mends ends the seed.

use std::time::Duration;

/// The first wait, and the doublings of it: 5 seconds to 43 minutes.
const REST_FIRST: Duration = Duration::from_secs(5);
const DOUBLINGS_MAX: u32 = 9;
/// The shortest that a server can ask for.
const REST_MIN: Duration = Duration::from_secs(1);

/// Why a web seed gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A file is not there.
    #[error("it does not have a file (status {status})")]
    Missing {
        /// 404 or 410.
        status: u16,
    },
    /// Its file ends before the range (416).
    #[error("its file is shorter than the torrent's (status 416)")]
    TooShort,
    /// It does not let us.
    #[error("it refuses access to a file (status {status})")]
    Denied {
        /// 401 or 403.
        status: u16,
    },
    /// Too much to do (429, 503).
    #[error("it is busy")]
    Busy {
        /// How long it wants to be left alone, if it said so.
        wait: Option<Duration>,
    },
    /// Another status.
    #[error("it answered with status {status}")]
    Status {
        /// Which.
        status: u16,
    },
    /// The whole file, when a part far from its start was asked for.
    #[error("it sends whole files and knows no ranges")]
    NoRanges,
    /// A file or body of another length.
    #[error("it has {given} bytes where the torrent has {wanted}")]
    WrongLength {
        /// Bytes there should be.
        wanted: u64,
        /// Bytes it says there are.
        given: u64,
    },
    /// A range that was not asked for, or none.
    #[error("it sends another range than it was asked for")]
    WrongRange,
    /// A compressed body, which was not asked for.
    #[error("it compresses what it sends")]
    Encoded,
    /// No connection; in words.
    #[error("{0}")]
    Unreachable(String),
    /// No secure connection: its certificate is not believed; in words.
    #[error("{0}")]
    Untrusted(String),
    /// The answer broke off, or was none.
    #[error("{0}")]
    Broken(String),
    /// Next to nothing came.
    #[error("it sends next to nothing")]
    TooSlow,
    /// The URL, or what it redirects to, can't be used or may not be.
    #[error("{0}")]
    BadUrl(String),
    /// None of its files can be had.
    #[error("it has none of the torrent's files")]
    HasNothing,
    /// A piece from it failed its hash.
    #[error("it sent bad data")]
    SentBadData,
}

impl Failure {
    /// Whether it is about one file: the server may have the others.
    pub fn is_of_one_file(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::TooShort | Self::Denied { .. } | Self::WrongLength { .. }
        )
    }

    /// Whether no waiting mends it.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoRanges | Self::Encoded | Self::BadUrl(_) | Self::HasNothing | Self::SentBadData
        )
    }

    /// Whether a network of ours that leads nowhere looks like this too.
    fn may_be_our_own(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Broken(_) | Self::TooSlow)
    }

    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::TooShort | Self::WrongLength { .. } | Self::HasNothing => {
                "check that the url leads to exactly this torrent's files"
            }
            Self::Denied { .. } => "check what the server lets strangers read",
            Self::Busy { .. } | Self::Status { .. } => "wait: it is asked again",
            Self::NoRanges | Self::WrongRange => "have the server serve byte ranges",
            Self::Encoded => "have the server send files as they are, without compression",
            Self::Unreachable(_) | Self::Broken(_) => {
                "check the server and your network; it is asked again"
            }
            Self::Untrusted(_) => {
                "have the server's certificate put right; one that you trust all the same goes into the \
                 system's store, or the file that SSL_CERT_FILE names"
            }
            Self::TooSlow => "find a faster server; it is asked again",
            Self::BadUrl(_) => {
                "check the url; for a server on your own network give --allow-private"
            }
            Self::SentBadData => {
                "its files are not those of the torrent: replace them, or leave it out"
            }
        }
    }
}

/// Whether a web seed may be asked.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    failures: u32,
    rests_until: Option<Duration>,
    /// For what the server did, or asked for.
    has_earned_rest: bool,
    is_out: bool,
}

impl Standing {
    /// It served what it was asked for.
    pub fn served(&mut self) {
        self.failures = 0;
    }

    /// It did not.
    pub fn failed(&mut self, now: Duration, failure: &Failure, rng: &mut fastrand::Rng) {
        if failure.is_final() {
            self.is_out = true;
            return;
        }
        let doubled =
            REST_FIRST.saturating_mul(2u32.saturating_pow(self.failures.min(DOUBLINGS_MAX)));
        self.failures = self.failures.saturating_add(1);
        // Many clients failed at the same moment; they should not come back at the same moment.
        let rest = doubled.mul_f64(0.75 + rng.f64() / 2.0);
        let rest = match failure {
            // It knows best, the first time.
            Failure::Busy { wait: Some(asked) } if self.failures == 1 => (*asked).max(REST_MIN),
            Failure::Busy { wait: Some(asked) } => rest.max(*asked),
            _ => rest,
        };
        self.rests_until = Some(now.saturating_add(rest));
        self.has_earned_rest = !failure.may_be_our_own();
    }

    /// Our network was away and is back: what may have failed for that says nothing of the server. A rest
    /// that the server asked for, or earned, goes on.
    pub fn network_back(&mut self) {
        if !self.has_earned_rest {
            (self.failures, self.rests_until) = (0, None);
        }
    }

    /// Whether it is never asked again.
    pub fn is_out(&self) -> bool {
        self.is_out
    }

    /// When it may be asked: `None` for never, a time in the past for now.
    pub fn ready_at(&self) -> Option<Duration> {
        (!self.is_out).then(|| self.rests_until.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BROKEN: fn() -> Failure = || Failure::Broken(String::new());

    fn rest(standing: &mut Standing, failure: &Failure, seed: u64) -> Duration {
        let now = Duration::from_secs(1000);
        standing.failed(now, failure, &mut fastrand::Rng::with_seed(seed));
        standing.ready_at().unwrap().saturating_sub(now)
    }

    #[test]
    fn the_wait_doubles_until_something_is_served() {
        let mut standing = Standing::default();
        let rests: Vec<_> = (0..20).map(|seed| rest(&mut standing, &BROKEN(), seed)).collect();
        for (doublings, rest) in (0..).zip(&rests) {
            let middle = REST_FIRST * 2u32.pow(doublings.min(DOUBLINGS_MAX));
            assert!((middle.mul_f64(0.75)..=middle.mul_f64(1.25)).contains(rest), "{rests:?}");
        }
        standing.served();
        assert!(rest(&mut standing, &BROKEN(), 1) < Duration::from_secs(7));
    }

    #[test]
    fn what_no_waiting_mends_ends_it_and_all_else_has_it_asked_again() {
        let text = || "why".to_owned();
        for (failure, is_final) in [
            (Failure::NoRanges, true),
            (Failure::Encoded, true),
            (Failure::BadUrl(text()), true),
            (Failure::HasNothing, true),
            (Failure::SentBadData, true),
            (Failure::WrongRange, false),
            (Failure::TooSlow, false),
            (Failure::Unreachable(text()), false),
            (Failure::Untrusted(text()), false),
            (Failure::Status { status: 500 }, false),
        ] {
            let mut standing = Standing::default();
            standing.failed(Duration::ZERO, &failure, &mut fastrand::Rng::with_seed(1));
            assert_eq!(standing.is_out(), is_final, "{failure}");
            assert_eq!(standing.ready_at().is_none(), is_final, "{failure}");
            assert!(!failure.is_of_one_file() && !failure.next_step().is_empty());
        }
    }

    #[test]
    fn a_busy_server_says_how_long() {
        let busy = |seconds| Failure::Busy { wait: Some(Duration::from_secs(seconds)) };
        let mut standing = Standing::default();
        assert_eq!(rest(&mut standing, &busy(0), 1), REST_MIN);
        assert!(rest(&mut standing, &busy(0), 1) >= Duration::from_secs(7), "not again and again");
        assert_eq!(rest(&mut standing, &busy(3600), 1), Duration::from_hours(1));
    }

    #[test]
    fn a_network_that_is_back_ends_what_its_absence_may_have_caused_and_nothing_else() {
        let wait = Some(Duration::from_hours(1));
        let text = String::new;
        for (failure, ends) in [
            (Failure::Unreachable(text()), true),
            (Failure::Broken(text()), true),
            (Failure::TooSlow, true),
            (Failure::Busy { wait }, false),
            (Failure::Status { status: 500 }, false),
            (Failure::Untrusted(text()), false),
            (Failure::WrongRange, false),
        ] {
            let mut standing = Standing::default();
            rest(&mut standing, &BROKEN(), 1);
            let before = rest(&mut standing, &failure, 1);
            standing.network_back();
            let at = standing.ready_at().unwrap();
            assert_eq!(at, if ends { Duration::ZERO } else { Duration::from_secs(1000) + before });
            // As if none of them had been.
            let next = rest(&mut standing, &BROKEN(), 1);
            assert_eq!(next < Duration::from_secs(7), ends, "{failure}: {next:?}");
        }
        let mut standing = Standing::default();
        rest(&mut standing, &BROKEN(), 1);
        standing.failed(Duration::ZERO, &Failure::SentBadData, &mut fastrand::Rng::with_seed(1));
        standing.network_back();
        assert_eq!(standing.ready_at(), None, "wrong data is wrong by any network");
    }

    #[test]
    fn what_no_waiting_mends_is_the_end() {
        let mut standing = Standing::default();
        assert_eq!(standing.ready_at(), Some(Duration::ZERO));
        standing.failed(Duration::ZERO, &Failure::SentBadData, &mut fastrand::Rng::with_seed(1));
        assert!(standing.is_out());
        assert_eq!(standing.ready_at(), None);
    }

    proptest! {
        #[test]
        fn nobody_is_asked_at_once_after_a_failure_or_never_again_without_reason(
            course in proptest::collection::vec((any::<bool>(), 0..5000u64, any::<u64>()), 1..60),
        ) {
            let mut standing = Standing::default();
            let mut now = Duration::ZERO;
            for (served, wait, seed) in course {
                if served {
                    standing.served();
                    continue;
                }
                let failure = Failure::Busy { wait: (wait % 2 == 0).then(|| Duration::from_secs(wait)) };
                standing.failed(now, &failure, &mut fastrand::Rng::with_seed(seed));
                let at = standing.ready_at().unwrap();
                prop_assert!(at >= now + REST_MIN);
                prop_assert!(at <= now + Duration::from_secs(5000));
                now = at;
            }
        }
    }
}
