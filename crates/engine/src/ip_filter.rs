//! The user's IP filter: lists from files, and the gate that keeps to them.
//!
//! Whom the lists name is not talked to as a peer: connections from there end before a byte is read,
//! none is made to there, and datagrams from and to there are dropped, those of the DHT too, whose
//! nodes are strangers as much as peers are. The brain ([`swarm`]) forgets such addresses, whoever
//! named them. Trackers are not asked about: a person or a torrent named them, and they are not peers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use flate2::bufread::MultiGzDecoder;
use swarm::{IpFilter, IpFilterBuilder, LINE_BYTES_MAX, ListError, ListReport};

/// Bytes of a list, inflated: ten times the longest in use.
const LIST_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How a file begins that gzip wrote.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why there is no filter of the files that were named.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpFilterError {
    /// A file can't be read, or inflated.
    #[error("can't read the IP filter {path}: {error}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is no list.
    #[error("can't use the IP filter {path}: {error}", path = path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ListError,
    },
    /// It has no end.
    #[error("can't use the IP filter {path}: more than {LIST_BYTES_MAX} bytes", path = path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
}

/// Reads lists of addresses to keep away from: CIDR, `PeerGuardian` text, eMule `.dat`; each may be
/// packed with gzip. The reports say, file by file, what became of their lines. May wait for a disk.
///
/// # Errors
/// [`IpFilterError`]. A line that is not understood is none: it is reported.
pub fn read_ip_filter<P: AsRef<Path>>(
    files: impl IntoIterator<Item = P>,
) -> Result<(IpFilter, Vec<ListReport>), IpFilterError> {
    let mut builder = IpFilterBuilder::default();
    let mut reports = Vec::new();
    let mut last = PathBuf::new();
    for file in files {
        last = file.as_ref().to_path_buf();
        reports.push(read_list(&mut builder, &last, LIST_BYTES_MAX)?);
    }
    let filter = builder.build().map_err(|error| IpFilterError::List { path: last, error })?;
    Ok((filter, reports))
}

fn read_list(
    builder: &mut IpFilterBuilder,
    path: &Path,
    bytes_max: u64,
) -> Result<ListReport, IpFilterError> {
    let failed = |error| IpFilterError::Read { path: path.to_path_buf(), error };
    let useless = |error| IpFilterError::List { path: path.to_path_buf(), error };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let packed = file.fill_buf().map_err(failed)?.starts_with(&GZIP);
    let inflated: Box<dyn Read> =
        if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = BufReader::new(inflated.take(bytes_max.saturating_add(1)));
    let mut line = Vec::new();
    let mut bytes = 0;
    loop {
        line.clear();
        // One byte more than is looked at shows that a line is too long.
        let part = (&mut text).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        let mut length = part.map_err(failed)?;
        if length == 0 {
            return builder.end_of_list().map_err(useless);
        }
        if length > LINE_BYTES_MAX && !line.ends_with(b"\n") {
            length += text.skip_until(b'\n').map_err(failed)?;
        }
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(IpFilterError::TooLong { path: path.to_path_buf() });
        }
        builder.line(&line).map_err(useless)?;
    }
}

/// The filter in force, and how often it refused somebody.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    filter: RwLock<Arc<IpFilter>>,
    /// Most sessions have no filter, and their datagrams need no lock.
    some: AtomicBool,
    refused: AtomicU64,
}

impl Gate {
    pub(crate) fn set(&self, filter: Arc<IpFilter>) {
        let some = !filter.is_empty();
        *self.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
        self.some.store(some, Ordering::Release);
    }

    pub(crate) fn filter(&self) -> Arc<IpFilter> {
        Arc::clone(&self.filter.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the filter has it.
    pub(crate) fn holds(&self, ip: IpAddr) -> bool {
        self.some.load(Ordering::Acquire)
            && self.filter.read().unwrap_or_else(PoisonError::into_inner).contains(ip)
    }

    /// Whether somebody is to be refused; counts if so.
    pub(crate) fn refuses(&self, ip: IpAddr) -> bool {
        let refuses = self.holds(ip);
        if refuses {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        refuses
    }

    /// Connections that were refused, both ways.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What an attempt to reach a refused address ends with.
    pub(crate) fn error(ip: IpAddr) -> io::Error {
        let text = if swarm::is_named_peer(ip) {
            "with an IP filter no peer is reached by its name through a proxy, since nobody here knows its \
             address; give the address"
                .into()
        } else {
            format!("the IP filter refuses {ip}; take it off the list to reach it")
        };
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn files(contents: &[Vec<u8>]) -> Result<(IpFilter, Vec<ListReport>), IpFilterError> {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..contents.len()).map(|n| dir.path().join(n.to_string())).collect();
        for (path, bytes) in paths.iter().zip(contents) {
            std::fs::write(path, bytes).unwrap();
        }
        read_ip_filter(paths)
    }

    fn holds(filter: &IpFilter, ip: &str) -> bool {
        filter.contains(ip.parse().unwrap())
    }

    #[test]
    fn several_files_plain_and_packed_even_in_members() {
        let members = [packed(b"a:10.0.0.0-10.0.0.9\nb:10.1"), packed(b".0.0-10.1.0.1\n")].concat();
        let (filter, reports) = files(&[b"192.0.2.0/24\nnonsense".to_vec(), members]).unwrap();
        assert_eq!((reports[0].ranges, reports[0].bad), (1, 1));
        assert_eq!((reports[1].ranges, reports[1].bad), (2, 0));
        assert!(holds(&filter, "192.0.2.255") && holds(&filter, "10.1.0.1"));
        assert!(!holds(&filter, "10.0.0.10"));
    }

    #[test]
    fn long_lines_are_one_bad_line_each() {
        let long = vec![b'x'; 3 * LINE_BYTES_MAX];
        let text = [&b"1.1.1.1\n"[..], &long, b"\n2.2.2.2\n", &long].concat();
        let (filter, reports) = files(&[text]).unwrap();
        assert_eq!((reports[0].ranges, reports[0].bad, reports[0].first_bad[0].0), (2, 2, 2));
        assert!(holds(&filter, "2.2.2.2"));
    }

    #[test]
    fn errors_name_the_file() {
        let error = read_ip_filter(["/nowhere/list"]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/list"), "{error}");
        let page = files(&[b"<html><body>".to_vec()]).unwrap_err();
        assert!(matches!(page, IpFilterError::List { error: ListError::NotAList { .. }, .. }));
        let mut broken = packed(&b"1.1.1.1\n".repeat(1000));
        broken.truncate(broken.len() / 2);
        assert!(matches!(files(&[broken]), Err(IpFilterError::Read { .. })));
    }

    #[test]
    fn a_list_without_end_is_not_read_to_its_end() {
        // A thousandth of it is in the file.
        let bomb = packed(&b"#\n".repeat(500_000));
        assert!(bomb.len() < 10_000);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, bomb).unwrap();
        let read = |bytes_max| read_list(&mut IpFilterBuilder::default(), &path, bytes_max);
        assert!(matches!(read(999_999), Err(IpFilterError::TooLong { .. })));
        assert_eq!(read(1_000_000).unwrap(), ListReport::default());
    }

    #[test]
    fn the_gate_counts_whom_it_refuses() {
        let gate = Gate::default();
        let ip = "192.0.2.1".parse().unwrap();
        assert!(!gate.refuses(ip));
        let (filter, _) = files(&[b"192.0.2.1".to_vec()]).unwrap();
        gate.set(Arc::new(filter));
        assert!(gate.refuses(ip) && gate.holds(ip) && !gate.refuses("192.0.2.2".parse().unwrap()));
        assert_eq!(gate.refused(), 1);
        gate.set(Arc::default());
        assert!(!gate.refuses(ip));
    }
}
