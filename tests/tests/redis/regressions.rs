//! Bugs of the port that were found, each by its name.

use allocation_counter::measure;
use cli::admin::Event;
use cli::reply::{Code, Failure};
use net::ClientId;

use super::parts::Parts;
use crate::requests;

const MIB: u64 = 1024 * 1024;

/// Ten minutes and a bit: longer than a client may be idle.
const LONG_MS: u64 = 11 * 60 * 1000;

/// As long as values may be.
const LONGEST: usize = 64 * 1024;

/// Words behind a command.
fn words(command: &str, words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().fold(command.to_string(), |line, word| line + " " + &word)
}

/// Keys that have the longest values, as many as are asked for.
fn with_long_values(parts: &mut Parts, id: ClientId, count: usize) -> Vec<String> {
    let keys: Vec<String> = (0..count).map(|number| format!("long{number}")).collect();
    let value = "v".repeat(LONGEST);
    for some in keys.chunks(3) {
        let line =
            some.iter().fold("MSET".to_string(), |line, key| format!("{line} {key} {value}"));
        assert_eq!(parts.ask(id, &line), "+OK\r\n");
    }
    parts.block();
    keys
}

/// The answer was taken for one of the line port, and stopped the node.
#[test]
fn the_answer_to_a_client_that_is_gone_is_dropped() {
    let mut parts = Parts::new();
    let (one, other) = (parts.connect(), parts.connect());
    parts.send(one, &requests(&["GET a", "GET b", "GET c"]));
    parts.send(other, b"RETRIEVE a\n");
    parts.hang_up(one);
    parts.hang_up(other);
    let jobs = parts.questions();
    assert_eq!(jobs.len(), 4);
    for job in jobs {
        let event = parts.read(&job);
        parts.port_is_told(event);
    }
    let next = parts.connect();
    assert_eq!(parts.ask(next, "GET a"), "$-1\r\n");
}

/// Values in memory, and those of `EXEC`, were copied as often as they were named.
#[test]
fn a_reply_has_at_most_8_mib_of_values_however_they_are_named() {
    let mut parts = Parts::new();
    let id = parts.connect();
    with_long_values(&mut parts, id, 1);
    let many = |count: usize| words("MGET", vec!["long0".to_string(); count]);
    assert!(parts.ask(id, &many(1)).starts_with("*1\r\n$65536\r\n"));
    assert!(parts.ask(id, &many(128)).starts_with("*128\r\n"));
    let refused = "-REFUSED the values are too long for one answer; name fewer keys\r\n";
    assert_eq!(parts.ask(id, &many(129)), refused);
    assert_eq!(parts.ask(id, "MULTI"), "+OK\r\n");
    for _ in 0..500 {
        assert_eq!(parts.ask(id, &many(9)), "+QUEUED\r\n");
    }
    assert_eq!(parts.ask(id, "SET other 1"), "+QUEUED\r\n");
    let mut answer = String::new();
    let memory = measure(|| answer = parts.ask(id, "EXEC"));
    assert_eq!(answer, refused);
    assert!(memory.bytes_max < 16 * MIB, "{memory:?}");
    assert_eq!(parts.ask(id, "EXISTS other"), ":0\r\n", "nothing of it is written");
}

/// Every pattern that matches told every event, in memory, before anybody could read.
#[test]
fn a_subscriber_that_does_not_read_is_ended_and_patterns_are_few() {
    let mut parts = Parts::new();
    let (writer, greedy, modest) = (parts.connect(), parts.connect(), parts.connect());
    let patterns = |count: usize| words("PSUBSCRIBE", (1..=count).map(|stars| "*".repeat(stars)));
    parts.send(greedy, &requests(&[&patterns(80)]));
    parts.send(modest, &requests(&["PSUBSCRIBE __keyspace@0__:*"]));
    parts.said(modest);
    parts.send(writer, &requests(&[&words("MSET", (0..1000).map(|n| format!("{n:0>200} 1")))]));
    parts.ledger_works();
    parts.port_hears();
    assert!(parts.said(greedy).len() < 20 * 1024 * 1024);
    assert!(parts.is_closed(greedy) && !parts.is_closed(modest));
    assert_eq!(parts.said(modest).matches("pending").count(), 1000);
    let other = parts.connect();
    let answer = parts.ask(other, &patterns(200));
    let refused = "-ERR the patterns of a connection have at most 4096 bytes\r\n";
    assert!(answer.ends_with(refused), "{answer}");
}

/// What followed a line was copied for each.
#[test]
fn many_lines_at_once_are_not_copied_for_each() {
    let mut parts = Parts::new();
    let id = parts.connect();
    let lines = b"\n".repeat(20_000);
    let memory = measure(|| parts.send(id, &lines));
    assert!(memory.bytes_total < 4 * MIB, "{memory:?}");
    parts.send(id, b"PING\n");
    assert_eq!(parts.said(id), "+PONG\r\n");
}

/// The number of a version that was expected of a write that failed went to another's.
#[test]
fn exec_sees_that_another_version_has_the_number_that_was_watched() {
    let mut parts = Parts::new();
    let (one, other) = (parts.connect(), parts.connect());
    assert_eq!(parts.ask(other, "SET n b"), "+OK\r\n");
    assert_eq!(parts.ask(one, "SET n a NX"), "+OK\r\n");
    assert_eq!(parts.ask(one, "WATCH n"), "+OK\r\n");
    assert_eq!(parts.ask(one, "GET n"), "$1\r\na\r\n");
    parts.block();
    assert_eq!(parts.ask(one, "GET n"), "$1\r\nb\r\n", "it was faster");
    parts.send(one, &requests(&["MULTI", "SET n c", "EXEC"]));
    parts.settle();
    assert_eq!(parts.said(one), "+OK\r\n+QUEUED\r\n*-1\r\n");
}

/// A block that is undone gives its versions' numbers back, too.
#[test]
fn exec_sees_that_a_watched_version_was_undone() {
    let mut parts = Parts::new();
    let (one, other) = (parts.connect(), parts.connect());
    assert_eq!(parts.ask(other, "SET n a"), "+OK\r\n");
    parts.block();
    assert_eq!(parts.ask(one, "WATCH n"), "+OK\r\n");
    parts.reorganise();
    parts.block(); // the write is in a block again
    assert_eq!(parts.ask(one, "GET n"), "$1\r\na\r\n");
    parts.send(one, &requests(&["MULTI", "SET n c", "EXEC"]));
    parts.settle();
    assert_eq!(parts.said(one), "+OK\r\n+QUEUED\r\n*-1\r\n");
}

/// A block that the reader had seen and the port had not was counted twice.
#[test]
fn watch_counts_a_write_once_while_the_news_of_its_block_is_on_the_way() {
    let mut parts = Parts::new();
    let (one, other) = (parts.connect(), parts.connect());
    assert_eq!(parts.ask(one, "SET n a"), "+OK\r\n");
    parts.mine();
    parts.send(one, &requests(&["WATCH n"]));
    parts.readers_answer();
    parts.port_hears();
    parts.settle();
    assert_eq!(parts.said(one), "+OK\r\n");
    assert_eq!(parts.ask(other, "SET n b"), "+OK\r\n");
    parts.block();
    parts.send(one, &requests(&["MULTI", "SET n c", "EXEC"]));
    parts.settle();
    assert_eq!(parts.said(one), "+OK\r\n+QUEUED\r\n*-1\r\n");
}

/// What was read before the block was answered after the port had forgotten the write for it.
#[test]
fn a_connection_reads_its_write_although_the_reader_is_late() {
    let mut parts = Parts::new();
    let id = parts.connect();
    assert_eq!(parts.ask(id, "SET n a"), "+OK\r\n");
    parts.send(id, &requests(&["MGET n other"]));
    let job = parts.questions().remove(0);
    let late = parts.read(&job);
    parts.mine();
    parts.port_hears();
    parts.port_is_told(late);
    parts.settle();
    assert_eq!(parts.said(id), "*2\r\n$1\r\na\r\n$-1\r\n");
}

/// It was taken for idle while its question was asked again, and after its answer.
#[test]
fn who_waits_in_xread_for_longer_than_one_may_be_idle_is_answered() {
    let mut parts = Parts::new();
    let (reader, writer) = (parts.connect(), parts.connect());
    parts.send(reader, &requests(&["XREAD BLOCK 0 STREAMS n $"]));
    parts.settle();
    for key in ["other", "n"] {
        parts.pass(LONG_MS);
        assert_eq!(parts.ask(writer, &format!("SET {key} 1")), "+OK\r\n");
        parts.mine();
        parts.port_hears();
        assert!(!parts.is_closed(reader), "it waits");
        parts.settle();
    }
    let answer = parts.said(reader);
    assert!(answer.starts_with("*1\r\n*2\r\n$1\r\nn\r\n"), "{answer}");
    parts.pass(1000);
    parts.port_hears();
    assert!(!parts.is_closed(reader), "it was just answered");
    parts.pass(LONG_MS);
    parts.port_hears();
    assert!(parts.is_closed(reader), "it is idle");
}

/// Each of 64 requests could have an answer of 8 MiB under way.
#[test]
fn large_reads_of_a_connection_are_worked_on_one_by_one() {
    let mut parts = Parts::new();
    let (small, large) = (parts.connect(), parts.connect());
    let gets: Vec<String> = (0..100).map(|number| format!("GET a{number}")).collect();
    parts.send(small, &requests(&gets.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(parts.questions().len(), 64);
    // Of other keys each: what was read is in memory.
    let mgets: Vec<String> = (0..5)
        .map(|round| words("MGET", (0..200).map(|number| format!("b{round}-{number}"))))
        .collect();
    parts.send(large, &requests(&mgets.iter().map(String::as_str).collect::<Vec<_>>()));
    for _ in 0..5 {
        let jobs = parts.questions();
        assert_eq!(jobs.len(), 1);
        let event = parts.read(&jobs[0]);
        parts.port_is_told(event);
    }
    assert_eq!(parts.said(large), format!("*200\r\n{}", "$-1\r\n".repeat(200)).repeat(5));
}

/// Replies from memory piled up behind one that was read.
#[test]
fn replies_that_wait_for_a_reader_are_bounded() {
    let mut parts = Parts::new();
    let id = parts.connect();
    with_long_values(&mut parts, id, 1);
    parts.ask(id, "GET long0");
    let mget = words("MGET", vec!["long0".to_string(); 60]);
    let lines = [&["GET unknown"][..], &[mget.as_str(); 20]].concat();
    let memory = measure(|| parts.send(id, &requests(&lines)));
    assert!(memory.bytes_max < 40 * MIB, "{memory:?}");
    let mut bytes = 0;
    while bytes < 20 * 60 * LONGEST {
        parts.settle();
        let said = parts.said(id).len();
        assert!(said > 0, "{bytes} bytes, and no more");
        bytes += said;
    }
}

/// A block brings thousands of them, and what a reader had found came after all of it.
#[test]
fn an_answer_does_not_wait_for_all_news() {
    let mut parts = Parts::new();
    let id = parts.connect();
    let all = parts.much_happens(2000);
    for number in 0..10 {
        parts.send(id, &requests(&[&format!("GET key{number}")]));
        let jobs = parts.questions();
        let event = parts.read(&jobs[0]);
        parts.port_is_told(event);
        if parts.said(id).is_empty() {
            parts.port_hears(); // it was the turn of the news
            assert_eq!(parts.said(id), "$-1\r\n");
        }
    }
    let left = parts.much_happens(0);
    assert!((1..all).contains(&left), "{left} of {all}: both have their turns");
}

/// They are more than are answered in one turn, and readers fail meanwhile: the failure was a
/// second answer, which the client took for that to its next line.
#[test]
fn all_who_wait_for_a_block_are_answered_once() {
    let mut parts = Parts::new();
    let mut ids: Vec<ClientId> = (0..20).map(|_| parts.connect()).collect();
    for (number, id) in ids.iter().enumerate() {
        parts.send(*id, format!("PUT key{number} v WAIT 1\nPING\n").as_bytes());
    }
    parts.mine();
    for txid in parts.mined() {
        let id = parts.connect();
        parts.send(id, format!("WAIT {txid}\nPING\n").as_bytes());
        ids.push(id);
    }
    let jobs = parts.questions();
    assert_eq!(jobs.len(), 20);
    parts.port_hears();
    for job in jobs {
        let answer = Err(Failure::new(Code::Internal, "the disk is gone"));
        parts.port_is_told(Event::Read { request: job.request, tip: None, answer });
    }
    while parts.is_due() {
        parts.port_hears();
    }
    for id in ids {
        let said = parts.said(id);
        let lines: Vec<&str> = said.lines().collect();
        let [answer, pong] = lines[..] else { panic!("{said}") };
        assert!(answer.starts_with("+OK {\"txid\"") && pong == "+PONG", "{said}");
    }
}

/// Their values were read, and were too long for an answer that has none.
#[test]
fn values_that_nobody_asks_for_are_not_read() {
    let mut parts = Parts::new();
    let id = parts.connect();
    let keys = with_long_values(&mut parts, id, 129);
    let about = |command: &str| words(command, keys.iter().cloned());
    let pairs = words("MSETNX", keys.iter().map(|key| format!("{key} 1")));
    assert!(parts.ask(id, &about("MGET")).starts_with("-REFUSED"));
    assert_eq!(parts.ask(id, &about("EXISTS")), ":129\r\n");
    assert_eq!(parts.ask(id, &pairs), ":0\r\n");
    assert_eq!(parts.ask(id, &about("WATCH")), "+OK\r\n");
    parts.send(id, &requests(&["MULTI", "TYPE long7", "STRLEN long8", "EXEC"]));
    parts.settle();
    let answer = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+string\r\n:65536\r\n";
    assert_eq!(parts.said(id), answer);
    assert_eq!(parts.ask(id, &about("DEL")), ":129\r\n");
}
