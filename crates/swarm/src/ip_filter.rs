//! Addresses that nobody here talks to: ranges that a person's lists name.
//!
//! [`IpFilter`] is what is asked, for every address that comes up, so it is two sorted lists of merged
//! ranges and a binary search. [`IpFilterBuilder`] makes it of lists, whose formats are in [`line`].

mod line;

use std::net::IpAddr;

use line::Entry;

use crate::stand_in::is_named_peer;

/// Ranges that a filter holds, merged: several times the longest lists in use. 64 MiB of IPv6.
const RANGES_MAX: usize = 2_000_000;
/// Lines that a report quotes.
const QUOTED_MAX: usize = 5;

/// A set of addresses. The default one is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpFilter {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl IpFilter {
    /// Whether the address is in it. An IPv4 address in IPv6 clothes is what it is. One that stands in
    /// for a peer's name is in every filter but the empty one: nobody here can tell whom it leads to.
    pub fn contains(&self, ip: IpAddr) -> bool {
        if is_named_peer(ip) {
            return !self.is_empty();
        }
        match ip.to_canonical() {
            IpAddr::V4(ip) => holds(&self.v4, u32::from(ip)),
            IpAddr::V6(ip) => holds(&self.v6, u128::from(ip)),
        }
    }

    /// Whether no address is.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many ranges it has. Neighbours are one.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], ip: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= ip);
    let before = after.checked_sub(1).and_then(|index| ranges.get(index));
    before.is_some_and(|(_, last)| ip <= *last)
}

/// What became of the lines of one list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListReport {
    /// Lines that name addresses to be kept away.
    pub ranges: u64,
    /// Lines of an eMule list whose level lets their addresses in.
    pub allowed: u64,
    /// Lines that say nothing that is understood.
    pub bad: u64,
    /// The first of them: each line's number, from 1, and what is wrong with it.
    pub first_bad: Vec<(u64, BadLine)>,
}

/// Why a line of a list is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLine {
    /// No address, no range.
    #[error("no address or range in it")]
    NoRange,
    /// Its end is before its beginning.
    #[error("the range ends before it begins")]
    Reversed,
    /// An IPv4 and an IPv6 address.
    #[error("the range begins with one kind of address and ends with another")]
    Mixed,
    /// More bits than an address has.
    #[error("the prefix is longer than an address")]
    Prefix,
    /// What follows an eMule range is no number.
    #[error("the access level is no number")]
    Level,
    /// Longer than any line of a list.
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    Long,
}

/// Why a file is no list that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Not one line of it is of a format that is known.
    #[error("not a list of addresses: line {line}: {reason}")]
    NotAList {
        /// The first line.
        line: u64,
        /// What is wrong with it.
        reason: BadLine,
    },
    /// `PeerGuardian`'s binary format.
    #[error("a binary P2B list; convert it to the text format, .p2p")]
    Binary,
    /// The lists together have more ranges than fit.
    #[error("more than {RANGES_MAX} ranges")]
    TooMany,
}

/// Bytes of the longest line that is looked at.
pub const LINE_BYTES_MAX: usize = 4096;

/// How the binary format begins.
const BINARY: &[u8] = b"\xff\xff\xff\xffP2B";
/// What some editors put before a text in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lists, line by line, into a filter.
#[derive(Debug, Default)]
pub struct IpFilterBuilder {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    line: u64,
    report: ListReport,
}

impl IpFilterBuilder {
    /// Takes one line of the list that is being read, with or without its end.
    ///
    /// # Errors
    /// [`ListError`] when nothing can be made of this list. A bad line is none: it is reported.
    pub fn line(&mut self, line: &[u8]) -> Result<(), ListError> {
        self.line += 1;
        let mut line = line;
        if self.line == 1 {
            if line.starts_with(BINARY) {
                return Err(ListError::Binary);
            }
            line = line.strip_prefix(MARK).unwrap_or(line);
        }
        let entry = match line.len() {
            ..=LINE_BYTES_MAX => line::parse(line),
            _ => Err(BadLine::Long),
        };
        match entry {
            Ok(Some(Entry::V4(first, last))) => self.v4.push((first, last)),
            Ok(Some(Entry::V6(first, last))) => self.v6.push((first, last)),
            Ok(Some(Entry::Allowed)) => {
                self.report.allowed += 1;
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(reason) => {
                self.report.bad += 1;
                if self.report.first_bad.len() < QUOTED_MAX {
                    self.report.first_bad.push((self.line, reason));
                }
                return Ok(());
            }
        }
        self.report.ranges += 1;
        // What merging leaves room for is worth its time: half of all there is, at least.
        if self.v4.len() + self.v6.len() >= 2 * RANGES_MAX {
            self.merge();
            if self.v4.len() + self.v6.len() > RANGES_MAX {
                return Err(ListError::TooMany);
            }
        }
        Ok(())
    }

    /// The list is over: what became of it. The next line begins another.
    ///
    /// # Errors
    /// [`ListError::NotAList`] when no line was understood.
    pub fn end_of_list(&mut self) -> Result<ListReport, ListError> {
        self.line = 0;
        let report = std::mem::take(&mut self.report);
        match report.first_bad.first() {
            Some((line, reason)) if report.ranges + report.allowed == 0 => {
                Err(ListError::NotAList { line: *line, reason: *reason })
            }
            _ => Ok(report),
        }
    }

    /// The filter of all lists that were read.
    ///
    /// # Errors
    /// [`ListError::TooMany`].
    pub fn build(mut self) -> Result<IpFilter, ListError> {
        self.merge();
        let (mut v4, mut v6) = (self.v4, self.v6);
        if v4.len() + v6.len() > RANGES_MAX {
            return Err(ListError::TooMany);
        }
        v4.shrink_to_fit();
        v6.shrink_to_fit();
        Ok(IpFilter { v4, v6 })
    }

    fn merge(&mut self) {
        merge(&mut self.v4, |last| last.checked_add(1));
        merge(&mut self.v6, |last| last.checked_add(1));
    }
}

/// Sorts ranges and makes one of those that overlap or touch. `next` is the number after one.
fn merge<T: Ord + Copy>(ranges: &mut Vec<(T, T)>, next: impl Fn(T) -> Option<T>) {
    ranges.sort_unstable();
    ranges.dedup_by(|later, kept| {
        let joined = next(kept.1).is_none_or(|next| later.0 <= next);
        if joined {
            kept.1 = kept.1.max(later.1);
        }
        joined
    });
}

#[cfg(test)]
mod tests;
