//! The kept inputs: for each target one for each end that an input can come to, the shortest of
//! those that were found. A file is named for the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::target::Runner;

/// Longest input that is kept, in bytes.
const MAX_BYTES: usize = 6_000;
/// Most inputs of a target.
const MAX_INPUTS: usize = 80;

/// Where the engine looks.
fn folder(runner: &Runner) -> PathBuf {
    let name = runner.target.name;
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/__fuzz__").join(name).join("corpus")
}

/// Makes the kept inputs of a target anew, of its samples and of random inputs.
pub(super) fn grow(runner: &Runner, count: u64) {
    let mut kept: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut greatest = (0, 0);
    let random = (0..count).map(|number| {
        let seed = number.to_le_bytes();
        let mode = u8::try_from(number % 3).expect("below 3") + 1;
        let script = super::draw::stretched(&seed);
        let length = script.len() % 48;
        runner.material(&[&[mode], &script[..length]].concat())
    });
    for material in runner.samples.iter().cloned().chain(random) {
        let (word, most) = runner.run(&material);
        greatest = greatest.max((most, material.len()));
        if material.len() > MAX_BYTES {
            continue;
        }
        let word = file_name(&word);
        let is_shorter = |old: &Vec<u8>| material.len() < old.len();
        if kept.get(&word).map_or(kept.len() < MAX_INPUTS, is_shorter) {
            kept.insert(word, material);
        }
    }
    let folder = folder(runner);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    for (word, material) in &kept {
        std::fs::write(folder.join(word), [&[0][..], material].concat()).unwrap();
    }
    let (most, length) = greatest;
    let name = runner.target.name;
    println!("{name}: {} ends; {most} bytes at once for {length} of input", kept.len());
}

/// Checks that the kept inputs of a target still come to the ends they are named for.
pub(super) fn check(runner: &Runner) {
    let name = runner.target.name;
    let files = std::fs::read_dir(folder(runner)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut ends = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        let word = file_name(&runner.feed(&std::fs::read(&path).unwrap()));
        let again = "cargo test -p tests --test fuzz kept, with GRAVEN_FUZZ_GROW=20000";
        assert_eq!(path.file_name().unwrap(), &*word, "{}: make it anew: {again}", path.display());
        ends.push(word);
    }
    assert!(ends.len() > 1, "{name}: {ends:?}");
}

/// What was said, as a file's name.
fn file_name(word: &str) -> String {
    let parts = word.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}
