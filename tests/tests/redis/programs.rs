//! Programs of others, where they are installed; where not, that is printed.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::node::Node;

use crate::{requests, start};

/// The output of a program that was given this; `None`, printed, when it is not there.
fn run(program: &str, words: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: {program} is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn port(node: &Node) -> String {
    node.admin.port().to_string()
}

#[test]
fn redis_cli_works() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let port = port(&node);
    let lines = "SET a 1\nGET a\nWAIT 1 60000\nMGET a b\nDEL a\nINCR a\n";
    for flag in ["-2", "-3"] {
        let Some(output) = run("redis-cli", &["-p", &port, flag], lines) else { return };
        let lines: Vec<String> = text(&output).lines().map(str::to_string).collect();
        assert_eq!(lines[..2], ["OK", "1"], "{lines:?}");
        assert!(lines[2].parse::<u32>().unwrap() >= 1, "{lines:?}");
        assert_eq!(lines[3..6], ["1", "", "1"], "{lines:?}");
        assert!(lines[6].starts_with("ERR INCR is not offered"), "{lines:?}");
    }
    run("redis-cli", &["-p", &port], "MSET s:1 x s:2 y\nWAIT 1 60000\n").unwrap();
    let scan = run("redis-cli", &["-p", &port, "--scan", "--pattern", "s:*"], "").unwrap();
    assert_eq!(text(&scan), "s:1\ns:2\n");
    let bytes = String::from_utf8(requests(&["SET p 1", "SET q 2"])).unwrap();
    let piped = run("redis-cli", &["-p", &port, "--pipe"], &bytes).unwrap();
    assert!(text(&piped).contains("errors: 0, replies: 2"), "{}", text(&piped));
}

#[test]
fn redis_benchmark_works() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let port = port(&node);
    let words = ["-p", &port, "-t", "ping,set,get,mset", "-n", "500", "-c", "10", "-q", "--csv"];
    for pipeline in ["1", "16"] {
        let words = [&words[..], &["-P", pipeline]].concat();
        let Some(output) = run("redis-benchmark", &words, "") else { return };
        let text = text(&output);
        for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "MSET (10 keys)"] {
            assert!(text.contains(&format!("\"{test}\",")), "{test}: {text}");
        }
        assert!(output.status.success() && !text.contains("rror"), "{text}");
    }
}

#[test]
fn redis_py_works() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    match run("python3", &["-c", "import redis"], "") {
        Some(output) if output.status.success() => {}
        Some(_) => return println!("skipped: python3 has no module redis"),
        None => return,
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/client.py");
    let output = run("python3", &[script.to_str().unwrap(), &port(&node)], "").unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output).trim(), "done");
}
