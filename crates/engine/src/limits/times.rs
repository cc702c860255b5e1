//! Times of the week, such as `mon-fri 08:00-18:00`: pure, and of whatever clock is asked.

use std::fmt;
use std::str::FromStr;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// A time of the day on some days of the week. What goes over midnight belongs to the day on which it
/// begins. Written as `[DAYS] HH:MM-HH:MM`, where days are `mon-fri`, `sat,sun`, or left out for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A bit for each day, Monday first.
    days: u8,
    /// Minutes of the day, from 0.
    from: u16,
    /// Up to this one, without it; not after `from`: on the next day.
    to: u16,
}

/// Why a text names no times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimesError {
    /// Too few or too many words.
    #[error("`{0}` is not `[DAYS] HH:MM-HH:MM`, as in `mon-fri 08:00-18:00`")]
    Form(String),
    /// No day of the week.
    #[error(
        "`{0}` is no day; days are mon, tue, wed, thu, fri, sat, sun, as in mon-fri or sat,sun"
    )]
    Day(String),
    /// No time of the day.
    #[error("`{0}` is no time of the day, as in 08:00")]
    Time(String),
}

/// What a local clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local {
    /// From 0, Monday.
    pub(super) weekday: u8,
    /// Of the day, from 0.
    pub(super) minute: u16,
}

impl Times {
    /// Whether the time is one of these.
    pub(super) fn hold(self, now: Local) -> bool {
        let on = |weekday: u8| self.days & 1 << (weekday % 7) != 0;
        if self.from < self.to {
            return on(now.weekday) && (self.from..self.to).contains(&now.minute);
        }
        let yesterday = now.weekday + 6;
        on(now.weekday) && now.minute >= self.from || on(yesterday) && now.minute < self.to
    }
}

impl FromStr for Times {
    type Err = TimesError;

    fn from_str(text: &str) -> Result<Self, TimesError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, span) = match words[..] {
            [span] => (0x7f, span),
            [days, span] => (days_of(days)?, span),
            _ => return Err(TimesError::Form(text.into())),
        };
        let (from, to) = span.split_once('-').ok_or_else(|| TimesError::Form(text.into()))?;
        let (from, to) = (minute_of(from)?, minute_of(to)?);
        if from == DAY_MINUTES {
            return Err(TimesError::Time(span.into()));
        }
        Ok(Self { days, from, to })
    }
}

fn days_of(text: &str) -> Result<u8, TimesError> {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        let number = DAYS.iter().position(|day| *day == name);
        number.ok_or(TimesError::Day(name))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // From Friday to Monday is over the week's end.
        let count = (last + 7 - first) % 7;
        days |= (0..=count).fold(0, |days, next| days | 1 << ((first + next) % 7));
    }
    Ok(days)
}

fn minute_of(text: &str) -> Result<u16, TimesError> {
    let two = |digits: &str| {
        let good = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| good)
    };
    let time = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute) = (two(hour)?, two(minute)?);
        let whole = hour * 60 + minute;
        (minute < 60 && whole <= DAY_MINUTES).then_some(whole)
    });
    time.ok_or_else(|| TimesError::Time(text.into()))
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |day: &usize| self.days & 1 << day != 0;
        let days: Vec<&str> = (0..7).filter(on).map(|day| DAYS[day]).collect();
        let at = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(formatter, "{} {}-{}", days.join(","), at(self.from), at(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(times: &str, day: &str, time: &str) -> bool {
        let weekday = DAYS.iter().position(|name| *name == day).unwrap() as u8;
        let now = Local { weekday, minute: minute_of(time).unwrap() };
        times.parse::<Times>().unwrap().hold(now)
    }

    #[test]
    fn within_a_day() {
        let times = "mon-fri 08:00-18:00";
        for (day, time) in [("mon", "08:00"), ("fri", "17:59"), ("wed", "12:00")] {
            assert!(holds(times, day, time), "{day} {time}");
        }
        for (day, time) in [("mon", "07:59"), ("fri", "18:00"), ("sat", "12:00"), ("sun", "08:00")]
        {
            assert!(!holds(times, day, time), "{day} {time}");
        }
    }

    #[test]
    fn over_midnight_and_the_end_of_the_week() {
        let times = "sun,fri 22:00-06:00";
        for (day, time) in [("sun", "22:00"), ("mon", "05:59"), ("fri", "23:00"), ("sat", "00:00")]
        {
            assert!(holds(times, day, time), "{day} {time}");
        }
        for (day, time) in [("sun", "05:00"), ("mon", "06:00"), ("mon", "22:00"), ("fri", "03:00")]
        {
            assert!(!holds(times, day, time), "{day} {time}");
        }
        assert!(holds("fri-mon 10:00-11:00", "sun", "10:00"));
        assert!(!holds("fri-mon 10:00-11:00", "tue", "10:00"));
    }

    #[test]
    fn whole_days() {
        for times in ["sat 00:00-24:00", "sat 00:00-00:00"] {
            assert!(holds(times, "sat", "00:00") && holds(times, "sat", "23:59"));
            assert!(!holds(times, "fri", "23:59") && !holds(times, "sun", "00:00"), "{times}");
        }
        assert!(holds("09:30-09:31", "tue", "09:30"));
        assert!(holds("MON 12:00-12:00", "tue", "11:59"), "a day from noon");
    }

    #[test]
    fn what_names_no_times() {
        for (text, error) in [
            ("", TimesError::Form(String::new())),
            ("mon", TimesError::Form("mon".into())),
            ("mon fri 08:00-18:00", TimesError::Form("mon fri 08:00-18:00".into())),
            ("monday 08:00-18:00", TimesError::Day("monday".into())),
            ("mon- 08:00-18:00", TimesError::Day(String::new())),
            ("8:00-18:00", TimesError::Time("8:00".into())),
            ("08:60-18:00", TimesError::Time("08:60".into())),
            ("08:00-24:01", TimesError::Time("24:01".into())),
            ("24:00-08:00", TimesError::Time("24:00-08:00".into())),
            ("+8:00-18:00", TimesError::Time("+8:00".into())),
        ] {
            assert_eq!(text.parse::<Times>(), Err(error), "{text}");
        }
        assert_eq!(
            "mon-wed 08:00-24:00".parse::<Times>().unwrap().to_string(),
            "mon,tue,wed 08:00-24:00"
        );
    }
}
