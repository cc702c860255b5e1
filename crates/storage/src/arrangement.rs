//! What the owner of a torrent arranged: which files are wanted and how much, and under which names
//! they are. It is part of the record, as bencode.

use std::collections::{BTreeMap, BTreeSet};

use metainfo::bencode::{self, Encoder, Limits, Node};
use metainfo::{FilePriority, PathRules, SafePath};

/// What differs from a torrent whose files are all wanted alike, under their own names. The default
/// is such a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrangement {
    /// One for each file; those past its end are [`FilePriority::Normal`].
    pub priorities: Vec<FilePriority>,
    /// Pieces in the order of the torrent, not the rarest first.
    pub sequential: bool,
    /// The first and the last piece of each file before all others.
    pub first_last: bool,
    /// Files whose shares of the pieces that they have in common with others are in the part store,
    /// and not under the file's name.
    pub apart: BTreeSet<usize>,
    /// Files that are not under the torrent's name for them.
    pub names: BTreeMap<usize, SafePath>,
}

impl Arrangement {
    /// How much a file is wanted.
    pub fn priority(&self, file: usize) -> FilePriority {
        self.priorities.get(file).copied().unwrap_or_default()
    }

    /// Whether a file is wanted at all.
    pub fn is_wanted(&self, file: usize) -> bool {
        self.priority(file) > FilePriority::Skip
    }

    /// Wants exactly the files that are chosen.
    pub fn choose(&mut self, chosen: &[bool]) {
        let priority = |chosen: &bool| {
            if *chosen { FilePriority::Normal } else { FilePriority::Skip }
        };
        self.priorities = chosen.iter().map(priority).collect();
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict().key(b"apart").begin_list();
        self.apart.iter().for_each(|file| _ = out.int(integer(*file)));
        out.end().key(b"first last").int(self.first_last.into());
        out.key(b"names").begin_list();
        for (file, path) in &self.names {
            out.begin_list().int(integer(*file));
            path.components().for_each(|name| _ = out.bytes(name));
            out.end();
        }
        let priorities: Vec<u8> = self.priorities.iter().map(|it| *it as u8).collect();
        out.end().key(b"priorities").bytes(&priorities);
        out.key(b"sequential").int(self.sequential.into()).end().finish()
    }

    /// `None` when it is not what [`Self::encode`] writes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let tape = bencode::parse(bytes, Limits::default()).ok()?;
        let root = tape.root();
        let flag = |key| Some(root.get(key)?.as_int()? != 0);
        let apart: Option<BTreeSet<usize>> = root.get(b"apart")?.list()?.map(number).collect();
        let names: Option<BTreeMap<usize, SafePath>> =
            root.get(b"names")?.list()?.map(name).collect();
        let priorities = root.get(b"priorities")?.as_bytes()?.iter().map(|byte| match byte {
            0 => Some(FilePriority::Skip),
            1 => Some(FilePriority::Low),
            2 => Some(FilePriority::Normal),
            3 => Some(FilePriority::High),
            _ => None,
        });
        Some(Self {
            priorities: priorities.collect::<Option<_>>()?,
            sequential: flag(b"sequential")?,
            first_last: flag(b"first last")?,
            apart: apart?,
            names: names?,
        })
    }
}

fn integer(file: usize) -> i64 {
    i64::try_from(file).unwrap_or(i64::MAX)
}

fn number(node: Node<'_, '_>) -> Option<usize> {
    usize::try_from(node.as_int()?).ok()
}

/// A path from a state that somebody may have written to is made safe like any other: one that
/// would be another then is not believed.
fn name(node: Node<'_, '_>) -> Option<(usize, SafePath)> {
    let mut parts = node.list()?;
    let file = number(parts.next()?)?;
    let names: Vec<&[u8]> = parts.map(|part| part.as_bytes()).collect::<Option<_>>()?;
    let path = SafePath::new(&names, PathRules::NATIVE)?;
    path.components().eq(names.iter().copied()).then_some((file, path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> SafePath {
        SafePath::new(text.split('/'), PathRules::NATIVE).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(
            priorities in proptest::collection::vec(0..4usize, 0..9),
            apart in proptest::collection::btree_set(0..9usize, 0..9),
            named in proptest::collection::btree_map(0..9usize, "[a-z]{1,3}(/[a-z]{1,3}){0,2}", 0..4),
            (sequential, first_last) in any::<(bool, bool)>(),
        ) {
            let all = [
                FilePriority::Skip, FilePriority::Low, FilePriority::Normal, FilePriority::High,
            ];
            let arrangement = Arrangement {
                priorities: priorities.iter().map(|it| all[*it]).collect(),
                sequential,
                first_last,
                apart,
                names: named.iter().map(|(file, name)| (*file, path(name))).collect(),
            };
            prop_assert_eq!(Arrangement::decode(&arrangement.encode()), Some(arrangement));
        }

        #[test]
        fn any_bytes_are_one_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Arrangement::decode(&bytes);
        }
    }

    #[test]
    fn a_name_that_leads_out_is_not_believed() {
        let mut arrangement = Arrangement::default();
        arrangement.names.insert(0, path("aa/bb"));
        let good = arrangement.encode();
        let bad = String::from_utf8(good).unwrap().replace("2:aa", "2:..");
        assert_eq!(Arrangement::decode(bad.as_bytes()), None);
    }
}
