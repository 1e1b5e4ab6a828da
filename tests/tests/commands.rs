//! Runs the transcripts of `docs/commands/*.md` against real nodes, so that the pages stay true.
//!
//! A fenced block marked `console` is a transcript: lines that begin with `$ ` are run, the lines
//! below each are what it must print. `[..]` stands for anything within a line, a line `[...]` for
//! any lines, `[exit 3]` as the last line for an exit code other than 0. Every page has a fresh
//! node on `dev`, whose folder `GRAVEN_DATA` names. `| nc ..` goes to that node's admin port,
//! whatever address the page shows. What a command prints on standard error comes after what it
//! prints on standard output. After `graven shutdown` the next command waits for the node's end.

mod commands {
    pub(crate) mod transcript;
}

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use commands::transcript::{Step, difference, steps};
use tests::node::{Client, Node, Setup, graven};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// Pages with a test below.
const PAGES: [&str; 14] = [
    "admin-port",
    "bench",
    "headers",
    "history-scan",
    "import-export",
    "mine",
    "node",
    "prove",
    "put-get",
    "redis",
    "upkeep",
    "verify",
    "wallet",
    "watch-wait",
];

#[test]
fn admin_port_page_is_true() {
    run_page("admin-port");
}

#[test]
fn bench_page_is_true() {
    run_page("bench");
}

#[test]
fn headers_page_is_true() {
    run_page("headers");
}

#[test]
fn history_scan_page_is_true() {
    run_page("history-scan");
}

#[test]
fn import_export_page_is_true() {
    run_page("import-export");
}

#[test]
fn mine_page_is_true() {
    run_page("mine");
}

#[test]
fn node_page_is_true() {
    run_page("node");
}

#[test]
fn prove_page_is_true() {
    run_page("prove");
}

#[test]
fn put_get_page_is_true() {
    run_page("put-get");
}

#[test]
fn redis_page_is_true() {
    run_page("redis");
}

#[test]
fn upkeep_page_is_true() {
    run_page("upkeep");
}

#[test]
fn verify_page_is_true() {
    run_page("verify");
}

#[test]
fn wallet_page_is_true() {
    run_page("wallet");
}

#[test]
fn watch_wait_page_is_true() {
    run_page("watch-wait");
}

#[test]
fn every_page_has_a_test() {
    let mut found: Vec<String> = std::fs::read_dir(pages_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_string))
        .collect();
    found.sort();
    assert_eq!(found, PAGES);
}

#[test]
fn every_command_of_the_port_is_on_its_page() {
    let page = read_page("admin-port");
    for command in cli::command::COMMANDS {
        let usage = format!("{} {}", command.name, command.usage);
        let usage = usage.trim_end();
        assert!(page.lines().any(|line| line == usage), "no line {usage:?}");
        let alias = command.alias.map(|alias| format!("`{alias}`"));
        assert!(alias.is_none_or(|alias| page.contains(&alias)), "no alias of {usage:?}");
    }
}

#[test]
fn every_command_of_the_terminal_is_on_a_page() {
    let pages: String = PAGES.iter().map(|name| read_page(name)).collect();
    let help = graven(Path::new(PROGRAM)).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    for line in list.lines() {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || pages.contains(&format!("graven {name}")), "nothing on {name}");
    }
}

/// A fresh node and the folders of a page.
struct Stage {
    temp: tempfile::TempDir,
    node: Node,
    path: OsString,
}

impl Stage {
    fn new() -> Stage {
        let temp = tempfile::tempdir().expect("a temporary folder can be made");
        let (programs, work) = (temp.path().join("bin"), temp.path().join("work"));
        for folder in [&programs, &work] {
            std::fs::create_dir(folder).expect("it is a new folder");
        }
        std::os::unix::fs::symlink(PROGRAM, programs.join("graven")).expect("it is a new link");
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(programs).chain(std::env::split_paths(&inherited));
        let path = std::env::join_paths(folders).expect("they were split or have plain names");
        let node = Setup::new(PROGRAM, temp.path().join("data")).start();
        Stage { temp, node, path }
    }

    /// Runs a command line; what it printed and its exit code.
    fn run(&mut self, line: &str) -> (String, i32) {
        let Some((left, _)) = line.split_once("| nc ") else {
            let done = self.shell(line);
            if line == "graven shutdown" {
                self.node.wait();
            }
            return done;
        };
        let (request, exit) = self.shell(left);
        assert_eq!(exit, 0, "{left}: {request}");
        let mut client = Client::connect(self.node.admin);
        client.send(request.as_bytes()).expect("the node takes requests");
        client.finish();
        (String::from_utf8_lossy(&client.rest()).replace('\r', ""), 0)
    }

    fn shell(&self, line: &str) -> (String, i32) {
        let output = graven(Path::new("sh"))
            .args(["-c", line])
            .env("PATH", &self.path)
            .env("GRAVEN_DATA", &self.node.setup.data)
            .env("GRAVEN_LOG", "error")
            .current_dir(self.temp.path().join("work"))
            .stdin(Stdio::null())
            .output()
            .expect("there is a shell");
        let text = [&output.stdout[..], &output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
    }
}

fn run_page(name: &str) {
    let steps = steps(&read_page(name));
    assert!(!steps.is_empty(), "{name}.md has no transcript");
    let mut stage = Stage::new();
    for Step { line, command, expected, exit } in steps {
        let (printed, code) = stage.run(&command);
        if let Some(difference) = difference(&expected, &printed) {
            panic!("docs/commands/{name}.md:{line}: $ {command}\n{difference}[exit {code}]");
        }
        assert_eq!(code, exit, "exit code of docs/commands/{name}.md:{line}: $ {command}");
    }
}

fn pages_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands")
}

fn read_page(name: &str) -> String {
    let path = pages_folder().join(format!("{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
