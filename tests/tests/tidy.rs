//! Properties of the tree itself: who may name what, which crate knows which, how long a file
//! is, and that the documentation speaks of commands that exist.
//!
//! What a failure names is to be moved to where it belongs. The lists of exceptions are short,
//! and every entry has its reason.

mod tidy {
    pub(crate) mod tree;
}

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::{Command, Output};

use tidy::tree::{CRATES, files_below, names, read, root, sources};

/// This file, which names what it forbids.
const OWN: &str = "tests/tests/tidy.rs";

/// Most characters of a line, as in rustfmt.toml.
const MAX_COLUMNS: usize = 100;
/// Most lines of a file, as a rule.
const MAX_LINES: usize = 400;
/// Most lines of any file.
const MAX_LINES_EVER: usize = 700;

/// Files that are longer than the rule, and why.
const LONGER: &[(&str, &str)] = &[
    ("chain/src/store/sqlite.rs", "no other file may name SQL, and the statements belong together"),
    ("chain/src/mempool.rs", "one structure with several orders that change together"),
    ("chain/src/params.rs", "every consensus number with its reason, to be read in one go"),
];

/// Names that only some places may use outside of tests.
struct Row {
    names: &'static [&'static str],
    only_in: &'static [&'static str],
    instead: &'static str,
}

const WHO_MAY_NAME_WHAT: &[Row] = &[
    Row {
        names: &["mio", "TcpStream", "TcpListener", "UdpSocket", "UnixStream"],
        only_in: &["net/src/reactor", "cli/src/client.rs", "cli/src/mine/connection.rs"],
        instead: "give bytes to the reactor as a net::Service, or ask with cli::client",
    },
    Row {
        names: &["rusqlite"],
        only_in: &["chain/src/store/sqlite.rs", "chain/src/store/sqlite/"],
        instead: "say it in the words of chain::store::Store or Archive",
    },
    Row {
        names: &["Instant::now", "SystemTime::now"],
        only_in: &[
            "net/src/reactor",
            "cli/src/node",
            "cli/src/demo",
            "cli/src/bench",
            "cli/src/light.rs",
            "cli/src/import.rs",
            "cli/src/mine.rs",
            "miner/src/search",
            "miner/src/bench",
            "benches/",
        ],
        instead: "take the time as an argument",
    },
    Row {
        names: &["getrandom", "thread_rng", "OsRng"],
        only_in: &["net/src/reactor", "cli/src/node", "cli/src/folder.rs", "cli/src/demo"],
        instead: "take a seed or cli::folder::random's bytes as an argument",
    },
    Row {
        names: &[
            "thread::spawn",
            "thread::Builder",
            "thread::scope",
            "rayon::spawn",
            "crossbeam::channel",
            "mpsc",
        ],
        only_in: &[
            "net/src/reactor",
            "cli/src/node",
            "cli/src/admin",
            "cli/src/stratum.rs",
            "cli/src/bench",
            "cli/src/demo",
            "cli/src/mine.rs",
            "cli/src/mine/connection.rs",
            "miner/src/search",
            "miner/src/bench",
            "chain/src/store/sqlite/writer.rs",
        ],
        instead: "own the state by &mut and let cli/src/node.rs make the thread and its queue",
    },
    Row {
        names: &["thread::sleep", "park_timeout"],
        only_in: MAY_PAUSE,
        instead: "wait for a condition or a timer",
    },
];

/// Code that shows a person what happens, or asks another program again and again, and is no test.
const MAY_PAUSE: &[&str] =
    &["cli/src/demo", "cli/src/bench/sync.rs", "cli/src/light.rs", "cli/src/import.rs"];

/// Code whose results all nodes must agree on.
const CONSENSUS: &[&str] =
    &["chain/src/", "kv/src/", "miner/src/pow.rs", "miner/src/job.rs", "miner/src/kernel"];

/// Names whose results differ between machines or runs.
const NOT_IN_CONSENSUS: &[&str] = &["f32", "f64", "HashMap", "HashSet", "rand"];

/// Files of [`CONSENSUS`] that may use one of [`NOT_IN_CONSENSUS`], and why.
const NO_CONSENSUS: &[(&str, &str, &str)] = &[
    ("chain/src/verify.rs", "rand", "the weights of a batch of signatures, from a given seed"),
    ("chain/src/ledger/open.rs", "f64", "the share that is indexed, for a progress bar"),
    ("chain/src/store.rs", "f64", "the share that is indexed, for a progress bar"),
    ("chain/src/store/sqlite.rs", "f64", "the share that is indexed, for a progress bar"),
    ("chain/src/store/memory.rs", "f64", "the share that is indexed, for a progress bar"),
    ("chain/src/store/sqlite/unwritten.rs", "HashMap", "rows are sorted before they are written"),
    ("miner/src/pow.rs", "f64", "difficulty as people know it"),
];

/// Fails with all that was found.
fn assert_none(found: &[String]) {
    let list = found.iter().fold(String::new(), |mut list, line| {
        writeln!(list, "  {line}").expect("strings take everything");
        list
    });
    assert!(found.is_empty(), "{} in the tree:\n{list}", found.len());
}

#[test]
fn everything_is_named_only_where_it_belongs() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        for row in WHO_MAY_NAME_WHAT.iter().filter(|row| !source.is_in(row.only_in)) {
            for (number, code, _) in source.code().filter(|(_, _, is_test)| !is_test) {
                for name in row.names.iter().filter(|name| names(code, name)) {
                    let Row { only_in, instead, .. } = row;
                    let place = format!("{}:{number}", source.path);
                    let only = only_in.join(", ");
                    found.push(format!("{place}: {name} is for {only} only: {instead}"));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn exceptions_are_for_files_that_exist() {
    let sources = sources();
    let exists = |place: &&str| sources.iter().any(|source| source.path.starts_with(*place));
    let places = WHO_MAY_NAME_WHAT.iter().flat_map(|row| row.only_in.iter().copied());
    let places = places.chain(LONGER.iter().map(|(path, _)| *path));
    let places = places.chain(NO_CONSENSUS.iter().map(|(path, ..)| *path));
    let places = places.chain(CONSENSUS.iter().copied());
    let gone = places.filter(|place| !exists(place));
    let gone: Vec<String> =
        gone.map(|place| format!("tests/tests/tidy.rs: {place} is gone: strike it out")).collect();
    assert_none(&gone);
}

#[test]
fn unsafe_code_is_in_kernels_only() {
    // The second stands in the place of functions of the C library, in one test.
    let places = ["miner/src/kernel/", "tests/tests/durability/hooks.rs", OWN];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_in(&places)) {
        for (number, ..) in source.code().filter(|(_, code, _)| names(code, "unsafe")) {
            let place = format!("{}:{number}", source.path);
            found.push(format!("{place}: only miner/src/kernel/ has unsafe code: do without"));
        }
    }
    assert_none(&found);
}

#[test]
fn consensus_has_no_floats_no_unordered_collections_and_no_chance() {
    let mut found = Vec::new();
    let sources = sources();
    for source in sources.iter().filter(|source| source.is_in(CONSENSUS) && !source.is_test) {
        for (number, code, _) in source.code().filter(|(_, _, is_test)| !is_test) {
            for name in NOT_IN_CONSENSUS.iter().filter(|name| names(code, name)) {
                let excepted = |(path, allowed, _): &(&str, &str, &str)| {
                    *path == source.path && allowed == name
                };
                if !NO_CONSENSUS.iter().any(excepted) {
                    let place = format!("{}:{number}", source.path);
                    let instead = "use integers, BTreeMap, BTreeSet, and arguments";
                    found.push(format!("{place}: {name} is not the same everywhere: {instead}"));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn crates_know_only_those_below_them() {
    let mut found = Vec::new();
    let below: [(&str, &[&str]); 5] = [
        ("miner", &[]),
        ("chain", &["miner"]),
        ("kv", &["chain"]),
        ("net", &["chain"]),
        ("cli", &["miner", "chain", "kv", "net"]),
    ];
    for (name, allowed) in below {
        let path = format!("{name}/Cargo.toml");
        let mut is_list = false;
        for (number, line) in (1..).zip(read(&path).lines()) {
            if line.starts_with('[') {
                is_list = line.contains("dependencies") && !line.contains("dev-dependencies");
            }
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if is_list && CRATES.contains(&dependency) && !allowed.contains(&dependency) {
                let place = format!("{path}:{number}");
                let instead = "state what is needed as a trait and give it at assembly";
                found.push(format!("{place}: {name} must not know {dependency}: {instead}"));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn lines_and_files_are_short() {
    let mut found = Vec::new();
    for source in sources() {
        let path = &source.path;
        let lines = source.text.lines().count();
        let is_longer = LONGER.iter().any(|(longer, _)| longer == path);
        let most = if is_longer { MAX_LINES_EVER } else { MAX_LINES };
        if lines > most {
            found.push(format!("{path}:{lines}: more than {most} lines: split it"));
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                let place = format!("{path}:{number}");
                found.push(format!("{place}: {columns} columns: break it at {MAX_COLUMNS}"));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn nothing_is_left_for_later() {
    // These words are what is looked for, and no marks: nothing here is unfinished, ignored or
    // asleep. It is the one file where they may stand, and so is not searched itself.
    let words: [(&str, &str); 9] = [
        ("TODO", "do it, or say in docs/decisions why not"),
        ("FIXME", "fix it"),
        ("XXX", "write a sentence that says why"),
        ("todo!", "write it"),
        ("unimplemented!", "write it"),
        ("dbg!", "take it out, or trace"),
        ("#[ignore", "make it run, or take it out"),
        ("thread::sleep(", "wait for a condition or a timer"),
        ("target-cpu=native", "choose among kernels when the program starts"),
    ];
    let settings = ["Cargo.toml", "clippy.toml", ".cargo/config.toml", ".ci/run"];
    let settings = settings.iter().map(ToString::to_string).filter(|p| root().join(p).exists());
    let manifests = CRATES.iter().map(|name| format!("{name}/Cargo.toml"));
    let mut texts: Vec<(String, String)> =
        settings.chain(manifests).map(|path| (path.clone(), read(&path))).collect();
    texts.extend(sources().into_iter().map(|source| (source.path, source.text)));
    let mut found = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| path != OWN) {
        for (number, line) in (1..).zip(text.lines()) {
            for (word, instead) in words.iter().filter(|(word, _)| line.contains(word)) {
                let may_pause = MAY_PAUSE.iter().any(|place| path.starts_with(place));
                if !(may_pause && *word == "thread::sleep(") {
                    found.push(format!("{path}:{number}: {word}: {instead}"));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn every_module_says_what_it_is_for() {
    // Unit tests say it with their names.
    let modules = sources().into_iter().filter(|source| {
        !source.path.ends_with("/tests.rs") && !source.path.contains("src/") || !source.is_test
    });
    let found = modules
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("{}:1: begin with `//!` and what the module promises", source.path));
    assert_none(&found.collect::<Vec<String>>());
}

/// Asks the binary under test for help.
fn help_of(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-under-test"));
    command.env("RUST_BACKTRACE", "0").args(words).arg("--help");
    command.output().expect("the binary starts")
}

#[test]
fn documented_commands_exist() {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for path in files_below("docs/commands").iter().filter(|path| path.ends_with(".md")) {
        for (number, line) in (1..).zip(read(path).lines()) {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let Some(words) = line.strip_prefix("graven ") else { continue };
            let name = words.split(' ').next().unwrap_or_default();
            if !seen.insert(name.to_string()) {
                continue;
            }
            let help = help_of(&[name]);
            if !help.status.success() {
                let why = String::from_utf8_lossy(&help.stderr).trim().replace('\n', " ");
                found.push(format!("{path}:{number}: `graven {name} --help` must work: {why}"));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn all_commands_are_documented() {
    let pages = files_below("docs/commands").into_iter().filter(|path| path.ends_with(".md"));
    let pages: String = pages.map(|path| read(&path)).collect();
    let help = String::from_utf8(help_of(&[]).stdout).expect("help is text");
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = list.take_while(|line| !line.is_empty());
    let mut commands: BTreeSet<String> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(|name| format!("graven {name}"))
        .collect();
    assert!(commands.contains("graven put"), "the list of commands was not found:\n{help}");
    commands.extend(cli::command::COMMANDS.iter().map(|command| command.name.to_string()));
    let missing = commands.iter().filter(|name| !names(&pages, name));
    let missing = missing.map(|name| format!("docs/commands: `{name}` is missing: describe it"));
    assert_none(&missing.collect::<Vec<String>>());
}
