//! Bugs of the admin port that were found, each by its name.

use std::io::{Read, Write};
use std::net::TcpStream;

use tests::node::Setup;

use super::support::{PROGRAM, assert_well, start, stranger};

const UNKNOWN: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A browser sends whatever a page asks it to, line by line.
#[test]
fn a_web_page_cannot_write_through_a_browser() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    for head in ["POST / HTTP/1.1", "PUT /key HTTP/1.1", "Host: 127.0.0.1:7401"] {
        let mut client = stranger(&node);
        client.send(format!("{head}\r\nPUT pwned yes WAIT 1\r\n").as_bytes()).unwrap();
        assert_eq!(client.line().unwrap(), "-NOPROTO this is no web server");
        assert_eq!(client.line(), None, "the connection is closed");
    }
    assert!(node.ask("RETRIEVE pwned").unwrap_err().starts_with("-NOTFOUND"));
    assert_well(&mut node);
}

/// The wait's time ended while its transaction was still looked up, and both answered.
#[test]
fn a_request_has_one_reply_even_if_its_time_ends_early() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let mut client = node.client();
    for _ in 0..50 {
        client.send(format!("WAIT {UNKNOWN} 1 TIMEOUT 0\nHELP QUIT\n").as_bytes()).unwrap();
        let refused = client.answer().unwrap_err();
        assert!(refused.starts_with("-NOTFOUND") || refused.starts_with("-TIMEOUT"), "{refused}");
        assert_eq!(client.answer().unwrap()["command"], "QUIT");
    }
}

/// What a reader found for it was taken for something else.
#[test]
fn a_client_that_hangs_up_during_its_reads_does_not_stop_the_node() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let pings = b"*1\r\n$4\r\nPING\r\n".repeat(2);
    for round in 0..100_usize {
        let mut stream = TcpStream::connect(node.admin).unwrap();
        stream.write_all(&pings).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let get =
            |number: usize| format!("*2\r\n$3\r\nGET\r\n$6\r\n{:06}\r\n", round * 64 + number);
        stream.write_all((0..64).map(get).collect::<String>().as_bytes()).unwrap();
        drop(stream); // what is not read makes this a reset
    }
    assert_well(&mut node);
}

/// `MINE` with a height beyond 32 bits stopped the node.
#[test]
fn mining_more_blocks_than_there_are_heights_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    node.ask("MINE 1").unwrap();
    assert!(node.ask("MINE 4294967295").unwrap_err().starts_with("-USAGE"));
    assert_well(&mut node);
}

/// Watchers were told that a write which failed had been confirmed.
#[test]
fn a_failed_write_is_never_confirmed() {
    let temp = tempfile::tempdir().unwrap();
    let node = Setup::new(PROGRAM, temp.path().join("node")).start();
    let mut watcher = node.client();
    watcher.ask("WATCH key CONFIRMATIONS 1").unwrap();
    node.ask("PUT key value IF 7 WAIT 1").unwrap_err();
    node.ask("PUT key value WAIT 1").unwrap();
    let events: Vec<String> = std::iter::from_fn(|| watcher.line())
        .map(|line| line.split('"').nth(3).unwrap_or_default().to_string())
        .take(5)
        .collect();
    assert_eq!(events, ["pending", "failed", "pending", "included", "confirmed"]);
}
