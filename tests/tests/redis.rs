//! The Redis protocol on the admin port of real nodes: bytes that Redis servers are tested with,
//! the first words of stock clients, and stock clients themselves.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod redis {
    mod bytes;
    mod chain;
    mod differential;
    mod handshakes;
    mod library;
    mod parts;
    mod programs;
    mod regressions;
    mod server;
}

use tests::node::{Client, Node, Setup, easy_network};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// A node that mines what is written, and trusts loopback.
fn start(temp: &tempfile::TempDir) -> Node {
    Setup::new(PROGRAM, temp.path().join("data")).start()
}

/// A node that wants to see its cookie, and the cookie.
fn start_strict(temp: &tempfile::TempDir) -> (Node, String) {
    let network = easy_network(temp.path()).to_str().unwrap().to_string();
    let node = Setup { network, ..Setup::new(PROGRAM, temp.path().join("data")) }.start();
    let cookie = std::fs::read_to_string(node.setup.data.join("admin.cookie")).unwrap();
    (node, cookie.trim().to_string())
}

/// What a node answers to bytes, until it hangs up at their end.
fn answers(node: &Node, bytes: &[u8]) -> String {
    let mut client = Client::connect(node.admin);
    client.send(bytes).unwrap();
    client.finish();
    String::from_utf8_lossy(&client.rest()).into_owned()
}

/// The bytes of requests, one a line of words; `""` is an empty word.
fn requests(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        bytes.extend(format!("*{}\r\n", words.len()).into_bytes());
        for word in words {
            let word = if word == "\"\"" { "" } else { word };
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
        }
    }
    bytes
}
