//! Lines that make no sense.

use tests::node::wait_until;

use super::support::{assert_refused, assert_well, start, stranger};

/// Longest line on the built-in networks: the largest transaction in hex, and 4096.
const MAX_LINE_BYTES: usize = 2 * 256 * 1024 + 4096;

#[test]
fn a_line_that_is_too_long_is_answered_and_ends_the_connection() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    client.send(&vec![b'x'; 1024 * 1024]).unwrap();
    let answer = client.line().unwrap();
    assert_eq!(answer, format!("-TOOLONG a line has at most {MAX_LINE_BYTES} bytes"));
    assert_eq!(client.line(), None, "the connection is closed");
    assert_well(&mut node);
}

#[test]
fn every_line_of_rubbish_is_answered_with_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let rubbish = rubbish(256 * 1024);
    let lines = rubbish.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let lines = lines.count();
    client.send(&rubbish).unwrap();
    client.finish();
    let answers = String::from_utf8(client.rest()).unwrap();
    assert_eq!(answers.lines().count(), lines);
    for answer in answers.lines() {
        assert!(answer.starts_with("-USAGE ") || answer.starts_with("-UNKNOWN "), "{answer}");
    }
    assert_well(&mut node);
}

/// Bytes that look random and are the same in every run, without the Redis protocol's `*`.
fn rubbish(count: usize) -> Vec<u8> {
    let mut state: u32 = 7;
    let next = || {
        // Xorshift of 32 bits, as Marsaglia has it.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).filter(|byte| *byte != b'*').take(count).collect()
}

#[test]
fn a_line_that_is_not_utf8_is_refused_and_the_next_one_served() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    client.send(b"PUT key \xff\xfe\nRETRIEVE key\n").unwrap();
    assert_refused(client.answer(), "-USAGE", &["UTF-8", "base64:"]);
    assert_refused(client.answer(), "-NOTFOUND", &["key"]);
    assert_well(&mut node);
}

#[test]
fn words_that_make_no_sense_are_refused_with_what_to_write_instead() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let cases: [(&str, &str, &[&str]); 11] = [
        ("FROBNICATE key", "-UNKNOWN", &["FROBNICATE", "HELP"]),
        ("PUT key 'open", "-USAGE", &["quote is not closed"]),
        ("PUT key \"open", "-USAGE", &["quote is not closed"]),
        ("PUT key value\\", "-USAGE", &["backslash"]),
        ("PUT key base64:!", "-USAGE", &["base64"]),
        ("PUT key hex:0", "-USAGE", &["hex"]),
        ("PUT key", "-USAGE", &["value is missing", "usage: PUT key value"]),
        ("PUT key value more", "-USAGE", &["more", "usage: PUT"]),
        ("PUT key value IF old", "-USAGE", &["ABSENT", "old"]),
        ("PUT key value WAIT 0", "-USAGE", &["WAIT"]),
        ("TX 1234", "-USAGE", &["transaction id", "1234"]),
    ];
    for (line, code, what) in cases {
        assert_refused(client.ask(line), code, what);
    }
    assert_refused(client.ask("RETRIEVE key"), "-NOTFOUND", &["key"]);
    assert_well(&mut node);
}

#[test]
fn keys_have_1_to_255_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    for key in ["''".to_string(), "base64:".to_string(), "k".repeat(256)] {
        for line in [format!("PUT {key} value"), format!("RETRIEVE {key}"), format!("DEL {key}")] {
            assert_refused(client.ask(&line), "-USAGE", &["1 to 255 bytes"]);
        }
    }
    let longest = "k".repeat(255);
    client.ask(&format!("PUT {longest} value WAIT 1")).unwrap();
    assert_eq!(client.ask(&format!("RETRIEVE {longest}")).unwrap()["value"], "value");
    assert_well(&mut node);
}

#[test]
fn a_value_above_the_limit_is_refused_with_the_limit() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let limit = 64 * 1024;
    let answer = client.ask(&format!("PUT key {}", "v".repeat(limit + 1)));
    assert_refused(answer, "-REFUSED", &["65537", "at most 65536"]);
    let longest = "v".repeat(limit);
    client.ask(&format!("PUT key {longest} WAIT 1")).unwrap();
    assert_eq!(client.ask("RETRIEVE key").unwrap()["value"], *longest);
    assert_well(&mut node);
}

#[test]
fn a_write_on_another_version_fails_and_names_both() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    client.ask("PUT key first WAIT 1").unwrap();
    let answer = client.ask("PUT key second IF 7 WAIT 1");
    assert_refused(answer, "-FAILED", &["version-mismatch", "7", "1"]);
    let answer = client.ask("PUT key second IF ABSENT WAIT 1");
    assert_refused(answer, "-FAILED", &["not-absent", "version 1"]);
    assert_eq!(client.ask("RETRIEVE key").unwrap()["value"], "first");
    client.ask("PUT key second IF 1 WAIT 1").unwrap();
    assert_eq!(client.ask("RETRIEVE key").unwrap()["version"], 2);
    assert_well(&mut node);
}

#[test]
fn requests_of_the_redis_protocol_may_follow_lines() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    client.send(b"PING\n*1\r\n$4\r\nPING\r\n*x\r\n").unwrap();
    assert_eq!(client.line().unwrap(), "+PONG");
    assert_eq!(client.line().unwrap(), "+PONG");
    assert!(client.line().unwrap().starts_with("-ERR Protocol error"));
    assert_eq!(client.line(), None, "the connection is closed");
    assert_well(&mut node);
}

#[test]
fn half_a_line_and_a_hang_up_leave_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    client.send(b"PUT torn 'half a val").unwrap();
    client.finish();
    assert_refused(client.answer(), "-USAGE", &["quote is not closed"]);
    assert_eq!(client.line(), None, "the connection is closed");
    for _ in 0..300 {
        // More than may be connected at a time: each must make room for the next.
        let mut client = stranger(&node);
        client.send(b"RETRIEVE to").unwrap();
    }
    wait_until("room for a client", || {
        let answer = stranger(&node).try_ask("RETRIEVE torn");
        matches!(answer, Some(Err(line)) if line.starts_with("-NOTFOUND"))
    });
    assert_well(&mut node);
}
