//! Names given out inside one torrent, so that two files are never one and a file is never a
//! folder.
//!
//! The file list is walked once, each component costs a look-up or two, and nothing here grows
//! with more than the bytes of the list: names are an attacker's choice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::path::{self, PathRules, SafePath};

/// A folder's number; the download folder is 0.
type Folder = u32;

/// Every name in use.
pub(super) struct Names {
    rules: PathRules,
    /// By folder and name, see [`Names::key`].
    taken: HashMap<Box<[u8]>, Taken>,
    /// Where folders went that have the name of a file.
    displaced: HashMap<Box<[u8]>, Displaced>,
    /// The last number that was tried, by folder and what numbered names have in common.
    numbers: HashMap<Box<[u8]>, u32>,
    folders: Folder,
    /// The folder of the last file, as files of one folder come together; none of it was renamed.
    last: (Box<[u8]>, Folder),
}

#[derive(Clone, Copy)]
enum Taken {
    Folder(Folder),
    File,
}

struct Displaced {
    folder: Folder,
    name: Box<[u8]>,
}

impl Names {
    pub(super) fn new(rules: PathRules) -> Self {
        Self {
            rules,
            taken: HashMap::new(),
            displaced: HashMap::new(),
            numbers: HashMap::new(),
            folders: 0,
            last: (Box::default(), 0),
        }
    }

    /// The path, with ` (2)`, ` (3)`… in every name that was taken: for a file by anything, for a
    /// folder by a file. The same list always gives the same names.
    pub(super) fn unique(&mut self, path: SafePath) -> Option<SafePath> {
        let (folders, file) = path.split_last();
        let mut renamed: Vec<(usize, Box<[u8]>)> = Vec::new();
        let depth = path.components().count().saturating_sub(1);
        let mut folder = 0;
        if *folders == *self.last.0 {
            folder = self.last.1;
        } else {
            for (depth, name) in path.components().take(depth).enumerate() {
                let (inner, other) = self.folder(folder, name);
                folder = inner;
                renamed.extend(other.map(|other| (depth, other)));
            }
            if renamed.is_empty() {
                self.last = (folders.into(), folder);
            }
        }
        renamed.extend(self.file(folder, file).map(|other| (depth, other)));
        if renamed.is_empty() {
            return Some(path);
        }
        let mut components: Vec<&[u8]> = path.components().collect();
        for (depth, other) in &renamed {
            if let Some(component) = components.get_mut(*depth) {
                *component = other;
            }
        }
        SafePath::new(components, self.rules)
    }

    /// The folder of that name, and the name it has instead if that is a file's.
    fn folder(&mut self, parent: Folder, name: &[u8]) -> (Folder, Option<Box<[u8]>>) {
        let key = self.key(parent, name);
        match self.taken.get(&key) {
            Some(Taken::Folder(folder)) => (*folder, None),
            None => (self.new_folder(key), None),
            Some(Taken::File) => {
                if let Some(other) = self.displaced.get(&key) {
                    return (other.folder, Some(other.name.clone()));
                }
                let name = self.free(parent, name);
                let folder = self.new_folder(self.key(parent, &name));
                self.displaced.insert(key, Displaced { folder, name: name.clone() });
                (folder, Some(name))
            }
        }
    }

    /// The name a file has instead, if its own is taken.
    fn file(&mut self, parent: Folder, name: &[u8]) -> Option<Box<[u8]>> {
        if let Entry::Vacant(own) = self.taken.entry(self.key(parent, name)) {
            own.insert(Taken::File);
            return None;
        }
        let other = self.free(parent, name);
        self.taken.insert(self.key(parent, &other), Taken::File);
        Some(other)
    }

    fn new_folder(&mut self, key: Box<[u8]>) -> Folder {
        self.folders = self.folders.saturating_add(1);
        self.taken.insert(key, Taken::Folder(self.folders));
        self.folders
    }

    /// The first numbered name that is not taken. Counting goes on where it stopped, so a million
    /// copies of one name cost a million steps, not their square.
    fn free(&mut self, parent: Folder, name: &[u8]) -> Box<[u8]> {
        let (common, with) = path::numbered(name);
        let counter = self.key(parent, &common);
        let mut number = self.numbers.get(&counter).copied().unwrap_or(1);
        loop {
            number = number.saturating_add(1);
            let candidate = with(number);
            if !self.taken.contains_key(&self.key(parent, &candidate)) {
                self.numbers.insert(counter, number);
                return candidate.into_boxed_slice();
            }
        }
    }

    fn key(&self, parent: Folder, name: &[u8]) -> Box<[u8]> {
        let name = path::folded(name, self.rules);
        [&parent.to_be_bytes()[..], &name].concat().into_boxed_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unique(paths: &[&str], rules: PathRules) -> Vec<String> {
        let mut names = Names::new(rules);
        let given = |path: &&str| {
            let path = SafePath::new(path.split('/'), rules).unwrap();
            names.unique(path).unwrap().display()
        };
        paths.iter().map(given).collect()
    }

    #[test]
    fn equal_paths_are_numbered() {
        let paths = ["t/a.txt", "t/a.txt", "t/a (2).txt", "t/a.txt", "u/a.txt"];
        assert_eq!(
            unique(&paths, PathRules::Posix),
            ["t/a.txt", "t/a (2).txt", "t/a (2) (2).txt", "t/a (3).txt", "u/a.txt"]
        );
    }

    #[test]
    fn numbers_that_are_taken_are_skipped() {
        assert_eq!(unique(&["a (2)", "a", "a"], PathRules::Posix), ["a (2)", "a", "a (3)"]);
    }

    #[test]
    fn a_file_is_not_a_folder() {
        assert_eq!(
            unique(&["a", "a/x", "a/y", "a/x"], PathRules::Posix),
            ["a", "a (2)/x", "a (2)/y", "a (2)/x (2)"]
        );
        assert_eq!(unique(&["a/x", "a"], PathRules::Posix), ["a/x", "a (2)"]);
    }

    #[test]
    fn case_matters_but_on_windows() {
        let paths = ["Dir/A", "dir/a", "DIR/É", "dir/é"];
        assert_eq!(unique(&paths, PathRules::Posix), paths);
        assert_eq!(
            unique(&paths, PathRules::Windows),
            ["Dir/A", "dir/a (2)", "DIR/É", "dir/é (2)"]
        );
    }

    #[test]
    fn long_names_with_one_beginning_share_a_count() {
        let mut names = Names::new(PathRules::Posix);
        let mut all = std::collections::HashSet::new();
        for index in 0..20_000 {
            // Each twice: with a count of its own for each, the second ones would cost a square.
            let name = format!("{}{index:05}", "x".repeat(250));
            for _ in 0..2 {
                let path = SafePath::new([&name], PathRules::Posix).unwrap();
                assert!(all.insert(names.unique(path).unwrap()), "{index}");
            }
        }
    }
}
