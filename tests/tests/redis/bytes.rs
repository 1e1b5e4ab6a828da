//! Bytes, good and bad, and the bytes that come back.

use crate::{answers, requests, start, start_strict};

const PING: &str = "*1\r\n$4\r\nPING\r\n";
const PONG: &str = "+PONG\r\n";

#[test]
fn requests_that_are_none_end_the_connection_with_a_word() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    for (bytes, error) in [
        ("*3000000000\r\n", "invalid multibulk length"),
        ("*3\n$3\r\nSET\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", "invalid bulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "invalid bulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", "invalid bulk length"),
    ] {
        // What follows is not served.
        let answer = answers(&node, format!("{PING}{bytes}{PING}").as_bytes());
        assert_eq!(answer, format!("{PONG}-ERR Protocol error: {error}\r\n"), "{bytes:?}");
    }
}

#[test]
fn empty_requests_are_ignored_and_inline_ones_served() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    for (bytes, answer) in [
        (format!("*0\r\n{PING}"), PONG.to_string()),
        (format!("*-1\r\n{PING}"), PONG.to_string()),
        (format!("{PING}\r\n{PING}"), PONG.repeat(2)),
        (format!("{PING}ECHO \"a b\"\nPING\r\n"), format!("{PONG}$3\r\na b\r\n{PONG}")),
        // A line port until the first `*`.
        ("PING\r\nPING\n".to_string(), PONG.repeat(2)),
        (format!("PING\r\nECHO a\n{PING}"), {
            format!("{PONG}-UNKNOWN no command \"ECHO\"; HELP lists them\r\n{PONG}")
        }),
    ] {
        assert_eq!(answers(&node, bytes.as_bytes()), answer, "{bytes:?}");
    }
    let quotes = answers(&node, format!("{PING}SET a \"b\r\n").as_bytes());
    assert_eq!(quotes, format!("{PONG}-ERR Protocol error: unbalanced quotes in request\r\n"));
}

#[test]
fn a_request_of_a_web_browser_ends_the_connection() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    for bytes in [
        format!("*1\r\n$4\r\nPOST\r\n{PING}"),
        format!("*0\r\nPOST / HTTP/1.1\r\n{PING}"),
        format!("*0\r\nHost: localhost\r\n{PING}"),
    ] {
        let answer = answers(&node, bytes.as_bytes());
        assert_eq!(answer, "-NOPROTO this is no web server\r\n", "{bytes:?}");
    }
}

#[test]
fn little_is_taken_without_the_cookie_and_nothing_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let (node, cookie) = start_strict(&temp);
    for (bytes, error) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        let answer = answers(&node, bytes.as_bytes());
        assert_eq!(answer, format!("-ERR Protocol error: {error}\r\n"));
    }
    let answer = answers(&node, &requests(&["SET a 1", "GET a", "AUTH wrong", "PUT a 1"]));
    let lines: Vec<&str> = answer.split_terminator("\r\n").collect();
    assert!(lines[0].starts_with("-NOAUTH SET needs AUTH"), "{answer}");
    assert_eq!(lines[1], "$-1");
    assert!(lines[2].starts_with("-WRONGPASS "), "{answer}");
    assert!(lines[3].starts_with("-NOAUTH PUT needs AUTH"), "{answer}");
    let (plain, named) = (format!("AUTH {cookie}"), format!("AUTH default {cookie}"));
    let many = format!("MGET{}", " k".repeat(11));
    for auth in [plain, named] {
        let answer = answers(&node, &requests(&[&auth, "SET a 1", &many, "RESET", "SET a 1"]));
        let expected = format!("+OK\r\n+OK\r\n*11\r\n{}+RESET\r\n-NOAUTH ", "$-1\r\n".repeat(11));
        assert!(answer.starts_with(&expected), "{answer}");
    }
}

#[test]
fn commands_answer_with_these_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    for (line, answer) in [
        ("PING hello", "$5\r\nhello\r\n"),
        ("ECHO \"\"", "$0\r\n\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("SELECT 1", "-ERR DB index is out of range: there is only 0\r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("GET nothing", "$-1\r\n"),
        ("MGET nothing no", "*2\r\n$-1\r\n$-1\r\n"),
        ("EXISTS nothing", ":0\r\n"),
        ("DEL nothing", ":0\r\n"),
        ("TYPE nothing", "+none\r\n"),
        ("STRLEN nothing", ":0\r\n"),
        ("XLEN nothing", ":0\r\n"),
        ("XRANGE nothing - +", "*0\r\n"),
        ("XREAD STREAMS nothing 0", "*-1\r\n"),
        ("XREAD BLOCK 1 STREAMS nothing $", "*-1\r\n"),
        ("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("SCAN 7", "-ERR the cursor is not remembered any more: start again at 0\r\n"),
        ("SCAN x", "-ERR invalid cursor\r\n"),
        ("DBSIZE", ":0\r\n"),
        ("KEYS *", "*0\r\n"),
        ("WAIT 1 100", ":0\r\n"),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("CONFIG GET databases", "*2\r\n$9\r\ndatabases\r\n$1\r\n1\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT SETINFO lib-name x", "+OK\r\n"),
        ("CLIENT TRACKING on", "-ERR TRACKING is not offered: SUBSCRIBE to keys\r\n"),
        ("CLIENT REPLY off", "-ERR REPLY is not offered: every request is answered here\r\n"),
        ("CLIENT MAINT_NOTIFICATIONS on", {
            "-ERR unknown subcommand 'MAINT_NOTIFICATIONS' of CLIENT\r\n"
        }),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 3 FROB", "-ERR Syntax error in HELLO option 'FROB'\r\n"),
        ("COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("SET a 1 EX 5", "-ERR values do not expire here: SET takes no expiry\r\n"),
        ("FOO bar", "-ERR unknown command 'FOO', with args beginning with: 'bar'\r\n"),
        ("RETRIEVE nothing", "-NOTFOUND key \"nothing\" was never written\r\n"),
        ("HELP PING", {
            "$55\r\n{\"command\":\"PING\",\"about\":\"Answers +PONG\",\"auth\":false}\r\n"
        }),
        ("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
        ("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
        ("QUIT", "+OK\r\n"),
    ] {
        // A subscription keeps the connection open, so that it is closed by a word.
        let got = answers(&node, &requests(&[line, "QUIT"]));
        let answer = if line == "QUIT" { answer.to_string() } else { format!("{answer}+OK\r\n") };
        assert_eq!(got, answer, "{line}");
    }
}

#[test]
fn resp3_has_nulls_maps_and_pushes_of_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let lines = [
        "HELLO 3",
        "GET a",
        "CONFIG GET save",
        "SUBSCRIBE c",
        "GET a",
        "XREAD STREAMS a 0",
        "QUIT",
    ];
    let answer = answers(&node, &requests(&lines));
    let rest = answer.split_once("modules\r\n*0\r\n").unwrap().1;
    let expected = "_\r\n%1\r\n$4\r\nsave\r\n$0\r\n\r\n\
                    >3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n_\r\n_\r\n+OK\r\n";
    assert_eq!(rest, expected);
    // Before, only some commands could come while events might.
    let answer = answers(&node, &requests(&["SUBSCRIBE c", "GET a", "PING", "RESET", "GET a"]));
    let rest = answer.split_once(":1\r\n").unwrap().1;
    let expected = "-ERR Can't execute 'get': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / \
                    RESET are allowed in this context\r\n\
                    *2\r\n$4\r\npong\r\n$0\r\n\r\n+RESET\r\n$-1\r\n";
    assert_eq!(rest, expected);
}

#[test]
fn a_long_pipeline_is_answered_in_order() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let (mut lines, mut expected) = (Vec::new(), String::new());
    for number in 0..300 {
        lines.push(format!("SET k{number} v{number}"));
        lines.push(format!("GET k{number}"));
        lines.push("GET nothing".to_string());
        let value = format!("v{number}");
        expected += &format!("+OK\r\n${}\r\n{value}\r\n$-1\r\n", value.len());
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(answers(&node, &requests(&lines)), expected);
}
