//! More than a node can take: clients, requests, and answers that nobody fetches.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::node::{Client, PATIENCE, wait_until};

use super::support::{assert_well, start, stranger};

/// Clients that a node takes at a time.
const MAX_CLIENTS: usize = 256;

/// A client whose requests are not taken for so long is paused.
const PAUSE: Duration = Duration::from_secs(2);

/// What a node may hold for one client, in bytes, with what the system's buffers hold.
const HELD_BYTES: usize = 48 * 1024 * 1024;

#[test]
fn one_client_too_many_is_told_so_and_disconnected() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = stranger(&node);
        client.ask("STATUS").unwrap();
        clients.push(client);
    }
    let mut refused = stranger(&node);
    assert_eq!(refused.line().unwrap(), "-BUSY too many clients");
    assert_eq!(refused.line(), None, "the connection is closed");
    for client in &mut clients {
        client.ask("STATUS").expect("those that are in stay in");
    }
    clients.pop();
    wait_until("the free place being given to the next", || {
        matches!(stranger(&node).try_ask("STATUS"), Some(Ok(_)))
    });
    drop(clients);
    wait_until("places for all", || matches!(stranger(&node).try_ask("STATUS"), Some(Ok(_))));
    assert_well(&mut node);
}

/// Requests that are answered at once (`HELP`) and later (`TX`), each named by its number.
fn requests(count: usize) -> String {
    (0..count).map(|number| format!("TX {number:064x}\nHELP\n")).collect()
}

/// Asserts that these are the answers to [`requests`].
fn assert_answers(mut line: impl FnMut() -> String, count: usize) {
    for number in 0..count {
        let looked_up = line();
        let wanted = format!("-NOTFOUND transaction {number:064x} ");
        assert!(looked_up.starts_with(&wanted), "answer {number} is {looked_up:?}");
        let help = line();
        assert!(help.starts_with("+OK [{"), "answer {number} is {help:?}");
    }
}

#[test]
fn thousands_of_requests_at_once_are_answered_in_order_however_slowly_they_are_read() {
    const COUNT: usize = 4000;
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let stream = TcpStream::connect(node.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for request in requests(COUNT).as_bytes().chunks(100) {
                (&stream).write_all(request).unwrap();
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        let all = requests(COUNT).len().div_ceil(100);
        // Answers pile up first: nothing is read before all is sent or the node takes no more.
        wait_until_still(&taken, all);
        let mut reader = BufReader::with_capacity(100, &stream);
        assert_answers(
            || {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                line
            },
            COUNT,
        );
    });
    assert_well(&mut node);
}

/// Waits until a counter has reached `all` or stays the same.
fn wait_until_still(counter: &AtomicUsize, all: usize) {
    let (mut last, mut since) = (0, tests::node::now());
    wait_until("the requests being sent or held back", || {
        let now = counter.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, tests::node::now());
        }
        now == all || since.elapsed() > PAUSE
    });
}

#[test]
fn a_client_that_has_ended_its_side_still_gets_all_of_its_answers() {
    const COUNT: usize = 60_000;
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    // All of it is there when the first is answered: 27 MB, more than the system's buffers take.
    client.send(format!("MINE 40\n{}", "STATUS\n".repeat(COUNT)).as_bytes()).unwrap();
    client.finish();
    client.answer().expect("blocks are mined");
    for number in 0..COUNT {
        let line = client.line();
        let line = line.unwrap_or_else(|| panic!("closed before answer {number}"));
        let json = line.strip_prefix("+OK ").and_then(|json| Value::from_str(json).ok());
        assert!(json.is_some_and(|status| status["height"] == 40), "answer {number} is {line:?}");
    }
    assert_eq!(client.line(), None, "the connection is closed");
    assert_well(&mut node);
}

#[test]
fn requests_that_wait_behind_a_slow_one_do_not_overflow_their_answers() {
    const COUNT: usize = 20_000;
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    // All of it is there when the first is answered: requests of 100 kB, answers of 60 MB.
    client.send(format!("MINE 40\n{}", "HELP\n".repeat(COUNT)).as_bytes()).unwrap();
    client.answer().expect("blocks are mined");
    for number in 0..COUNT {
        let line = client.line();
        let line = line.unwrap_or_else(|| panic!("closed before answer {number}"));
        assert!(line.starts_with("+OK [") && line.ends_with(']'), "answer {number} is {line:?}");
    }
    client.ask("STATUS").expect("the connection lasts");
    assert_well(&mut node);
}

#[test]
fn a_client_that_never_reads_is_held_back_while_others_are_served() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let stream = TcpStream::connect(node.admin).unwrap();
    stream.set_write_timeout(Some(PAUSE)).unwrap();
    let (request, answer_bytes) = (b"HELP\n".repeat(2000), help_bytes(&mut stranger(&node)));
    let mut sent = 0;
    while let Ok(count) = (&stream).write(&request) {
        sent += count;
        // What the system's buffers hold of requests is not answered yet.
        assert!(sent < HELD_BYTES, "{sent} bytes of requests were taken");
    }
    let mut others: Vec<Client> = (0..8).map(|_| stranger(&node)).collect();
    for (number, client) in others.iter_mut().enumerate() {
        client.ask(&format!("PUT other/{number} served WAIT 1")).expect("others are served");
    }
    assert_well(&mut node);
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    let mut held = 0;
    let mut buffer = vec![0; 1024 * 1024];
    while let Ok(count @ 1..) = (&stream).read(&mut buffer) {
        held += count;
        assert!(held <= sent / 5 * answer_bytes, "more answers than requests");
    }
    drop(stream);
    assert_well(&mut node);
}

fn help_bytes(client: &mut Client) -> usize {
    client.send(b"HELP\n").expect("the node is there");
    client.line().expect("the node answers").len() + "\r\n".len()
}
