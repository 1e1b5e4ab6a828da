//! The files of the repository, and what they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders of the workspace.
pub(crate) const CRATES: [&str; 7] = ["miner", "chain", "net", "kv", "cli", "benches", "tests"];

/// A file of Rust.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Tests from the first line to the last.
    pub(crate) is_test: bool,
}

impl Source {
    /// Numbered lines without comments, and whether each is part of a test.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let mut was_attribute = false;
        let mut is_test = self.is_test;
        (1..).zip(self.text.lines()).map(move |(number, line)| {
            let code = line.split("//").next().unwrap_or_default();
            is_test |= was_attribute && code.starts_with("mod ") && code.ends_with('{');
            was_attribute = code.trim() == "#[cfg(test)]";
            (number, code, is_test)
        })
    }

    /// Whether it is in one of these places: files, folders or the beginnings of their names.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("tests has a parent")
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder, relative to the repository.
pub(crate) fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_string()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root().join(&folder)).expect("the folder can be read");
        for entry in entries {
            let entry = entry.expect("the folder can be listed");
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("it has a type").is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All Rust of the project.
pub(crate) fn sources() -> Vec<Source> {
    let paths = CRATES.iter().flat_map(|name| files_below(name));
    let mut sources: Vec<Source> = paths
        .filter(|path| path.ends_with(".rs"))
        .map(|path| {
            let is_test = path.starts_with("tests/")
                || path.ends_with("/tests.rs")
                || path.contains("/tests/");
            Source { text: read(&path), path, is_test }
        })
        .collect();
    assert!(sources.len() > 100, "the tree was not found");
    let test_modules: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        source.is_test |= test_modules.contains(&source.path);
    }
    sources
}

/// Files that a file declares as modules for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let folder = stem.strip_suffix("/lib").unwrap_or(stem);
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    pairs
        .filter_map(|pair| pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(|name| format!("{folder}/{name}.rs"))
        .collect()
}

/// Whether code names something: the word, not a part of another.
pub(crate) fn names(code: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word)
    })
}
