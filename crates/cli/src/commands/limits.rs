//! `--download-limit`, `--upload-limit`, and `--limit-at`: others for times of the week.

use std::str::FromStr;

use engine::{RateLimits, ScheduledLimits, Times};

use crate::format;

/// How fast payload may come and go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// At most so many bytes a second from peers, as in 500K or 2M; 0, the default: no limit.
    #[arg(long, value_name = "RATE", value_parser = format::parse_bytes, default_value = "0",
        hide_default_value = true)]
    download_limit: u64,
    /// The same for what is sent to peers.
    #[arg(long, value_name = "RATE", value_parser = format::parse_bytes, default_value = "0",
        hide_default_value = true)]
    upload_limit: u64,
    /// Other limits at times of the week, by local time, as in 'mon-fri 08:00-18:00 down=500K up=100K';
    /// again for more, of which the first that holds counts. Without days: all of them. A direction
    /// that is left out keeps its limit; 0: no limit. '22:00-06:00' ends on the next day.
    #[arg(long, value_name = "TIMES LIMITS")]
    limit_at: Vec<At>,
}

/// One `--limit-at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    times: Times,
    /// `Some(0)` is no limit, `None` the usual one.
    download: Option<u64>,
    upload: Option<u64>,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut download, mut upload, mut times) = (None, None, Vec::new());
        for word in text.split_whitespace() {
            let (limit, rate) = match word.split_once('=') {
                Some(("down", rate)) => (&mut download, rate),
                Some(("up", rate)) => (&mut upload, rate),
                _ => {
                    times.push(word);
                    continue;
                }
            };
            if limit.replace(format::parse_bytes(rate)?).is_some() {
                return Err(format!("`{word}`: there is one already"));
            }
        }
        if download.is_none() && upload.is_none() {
            return Err("no limit: add down=RATE, up=RATE or both".into());
        }
        let times =
            times.join(" ").parse().map_err(|error: engine::TimesError| error.to_string())?;
        Ok(Self { times, download, upload })
    }
}

fn limit(rate: u64) -> Option<u64> {
    (rate > 0).then_some(rate)
}

impl Limits {
    /// What holds when no time of the schedule does.
    pub(crate) fn usual(&self) -> RateLimits {
        RateLimits { download: limit(self.download_limit), upload: limit(self.upload_limit) }
    }

    /// What holds at times.
    pub(crate) fn scheduled(&self) -> Vec<ScheduledLimits> {
        let usual = self.usual();
        let rule = |at: &At| ScheduledLimits {
            times: at.times,
            limits: RateLimits {
                download: at.download.map_or(usual.download, limit),
                upload: at.upload.map_or(usual.upload, limit),
            },
        };
        self.limit_at.iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_limits_in_any_order() {
        let at: At = "mon-fri 08:00-18:00 down=500K up=0".parse().unwrap();
        assert_eq!((at.download, at.upload), (Some(512_000), Some(0)));
        assert_eq!("up=0 mon-fri down=500K 08:00-18:00".parse::<At>(), Ok(at));
        for (text, says) in [
            ("08:00-18:00", "no limit"),
            ("08:00-18:00 down=1 down=2", "one already"),
            ("08:00-18:00 down=x", "no unit"),
            ("08:00-18:00 left=1", "no limit"),
            ("down=1", "HH:MM-HH:MM"),
            ("08:00-18:00 left=1 up=1", "is no day"),
        ] {
            let error = text.parse::<At>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_direction_that_is_left_out_keeps_its_limit() {
        let at = |text: &str| text.parse().unwrap();
        let limits = Limits {
            download_limit: 7,
            upload_limit: 0,
            limit_at: vec![at("00:00-06:00 down=0"), at("sat 06:00-24:00 up=9")],
        };
        let scheduled: Vec<_> = limits.scheduled().iter().map(|rule| rule.limits).collect();
        let rate = |download, upload| RateLimits { download, upload };
        assert_eq!(scheduled, [rate(None, None), rate(Some(7), Some(9))]);
    }
}
