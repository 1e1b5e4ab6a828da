//! Files of operations: what `graven import` writes, what it says, and what it does about a node
//! that is busy or goes away.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::node::{Client, Node, Setup, graven, run};

use crate::PROGRAM;

fn start(folder: PathBuf) -> Node {
    Setup::new(PROGRAM, folder).start()
}

/// The report of an import, and its exit code.
fn import(node: &Node, words: &[&str]) -> (Value, i32) {
    let output = run(PROGRAM, &node.setup.data, &[&["import", "--json"], words].concat());
    (report(&output), output.status.code().unwrap())
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn export(node: &Node) -> String {
    let output = run(PROGRAM, &node.setup.data, &["export"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_line_is_written_in_its_order_or_named() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path().join("data"));
    node.ask("PUT taken x WAIT 1").unwrap();
    // One line in ten writes the same key, with its number; some of those after them fail.
    let (mut text, mut order, mut wrong) = (String::new(), Vec::new(), Vec::new());
    for line in 1..=600 {
        let row = if line % 100 == 54 {
            wrong.push(line);
            r#"{"key":"taken","value":"y","if_absent":true}"#.to_string()
        } else if line % 100 == 77 {
            wrong.push(line);
            r#"{"key":"taken"}"#.to_string()
        } else if line % 10 == 3 {
            order.push(line.to_string());
            json!({ "key": "same", "value": line.to_string() }).to_string()
        } else {
            json!({ "key": format!("k{line}"), "value": "v" }).to_string()
        };
        writeln!(text, "{row}").unwrap();
    }
    let file = temp.path().join("rows.jsonl");
    std::fs::write(&file, text).unwrap();
    let (report, exit) = import(&node, &[file.to_str().unwrap(), "--operations", "4"]);
    assert_eq!((exit, &report["complete"]), (1, &json!(true)), "{report}");
    assert_eq!((&report["confirmed"], &report["failed"]), (&json!(588), &json!(12)));
    let mut named: Vec<i64> = report["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| {
            let line = failure["line"].as_i64().unwrap();
            let reason = if line % 100 == 54 { "not-absent" } else { "malformed" };
            assert_eq!(failure["reason"], reason);
            line
        })
        .collect();
    named.sort_unstable();
    assert_eq!(named, wrong);
    let written = versions(&node, "same");
    assert_eq!(written, order, "the lines of a key in their order, each once");
    assert_eq!(versions(&node, "taken"), ["x"]);
    let singles = export(&node).lines().filter(|line| line.contains("\"key\":\"k")).count();
    assert_eq!(singles, 600 - 12 - order.len());
}

/// The values of a key's versions, oldest first.
fn versions(node: &Node, key: &str) -> Vec<String> {
    let output = run(PROGRAM, &node.setup.data, &["history", key, "--json"]);
    let page: Value = serde_json::from_slice(&output.stdout).unwrap();
    let versions = page["versions"].as_array().unwrap().iter();
    versions.map(|version| version["value"].as_str().unwrap().to_string()).collect()
}

/// Carries lines between clients and a node, and does something else at some of those that write.
struct Line {
    address: SocketAddr,
}

/// What is done at the n-th line that writes, from 1.
type Deed = fn(usize) -> &'static str;

impl Line {
    fn new(node: &Node, deed: Deed) -> Line {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, node) = (listener.local_addr().unwrap(), node.admin);
        let listen = move || {
            for stream in listener.incoming() {
                carry(stream.unwrap(), node, deed);
            }
        };
        std::thread::Builder::new().name("line".to_string()).spawn(listen).unwrap();
        Line { address }
    }
}

fn carry(stream: TcpStream, node: SocketAddr, deed: Deed) {
    let mut node = Client::connect(node);
    let mut out = stream.try_clone().unwrap();
    let mut writes = 0;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        writes += usize::from(line.starts_with("BATCH"));
        let done = if line.starts_with("BATCH") { deed(writes) } else { "carry" };
        let answer = match done {
            "carry" => {
                node.send(format!("{line}\n").as_bytes()).unwrap();
                node.line().unwrap()
            }
            "break" => return,
            answer => answer.to_string(),
        };
        if out.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_busy_node_is_asked_again_and_a_lost_one_is_no_loss() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path().join("data"));
    let rows: String = (0..900).map(|n| format!("key{n:03}\tvalue {n}\n")).collect();
    let file = temp.path().join("rows.tsv");
    std::fs::write(&file, rows).unwrap();
    let file = file.to_str().unwrap();
    let busy = Line::new(&node, |number| match number {
        1 | 2 | 5 | 9 => "-BUSY the node has more to do than it can take; try again",
        40.. => "break",
        _ => "carry",
    });
    let admin = busy.address.to_string();
    let words = [file, "--operations", "10", "--admin", &admin];
    let (report, exit) = import(&node, &words);
    assert_eq!((exit, &report["complete"], &report["failed"]), (1, &json!(false), &json!(0)));
    let [confirmed, under_way, next] =
        ["confirmed", "under_way", "next_line"].map(|name| report[name].as_u64().unwrap());
    assert!(next > confirmed && next <= confirmed + under_way + 1, "{report}");
    assert_eq!(confirmed + under_way, 350, "39 lines less the 4 at which it was busy: {report}");
    // Going on where it says leaves nothing out.
    let (report, exit) = import(&node, &[file, "--from", &next.to_string()]);
    assert_eq!((exit, &report["confirmed"]), (0, &json!(901 - next)), "{report}");
    let expected: String =
        (0..900).map(|n| format!("{{\"key\":\"key{n:03}\",\"value\":\"value {n}\"}}\n")).collect();
    assert_eq!(export(&node), expected);
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (start(temp.path().join("one")), start(temp.path().join("other")));
    let mut client = one.client();
    for words in [
        "hex:00 hex:ff0a",
        "'a key' 'it''s \\ \"quoted\"'",
        "base64:Y3IKbGY= ''",
        "gr\u{fc}n \u{1f331}",
        "gone x",
    ] {
        client.ask(&format!("PUT {words}")).unwrap();
    }
    // More than a page has, by count and by bytes.
    let long = "x".repeat(40_000);
    for number in 0..1100 {
        let value = if number % 25 == 0 { long.as_str() } else { "v" };
        client.send(format!("PUT n{number} {value}\n").as_bytes()).unwrap();
    }
    for _ in 0..1100 {
        client.answer().unwrap();
    }
    client.ask("DELETE gone WAIT 1").unwrap();
    let exported = export(&one);
    assert_eq!(exported.lines().count(), 1104);
    let mut import = graven(Path::new(PROGRAM))
        .args(["import", "-", "--json", "--data"])
        .arg(&other.setup.data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(exported.as_bytes()).unwrap();
    let output = import.wait_with_output().unwrap();
    assert_eq!(report(&output)["confirmed"], 1104);
    assert_eq!(export(&other), exported);
}
