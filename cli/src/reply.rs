//! Replies of the admin port: `+OK {json}`, `+EVENT {json}` or `-CODE message`, one line each.

use data_encoding::BASE64;
use serde_json::{Map, Value};

/// The codes of error replies: a word for programs, each with its exit code on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request's words are wrong.
    Usage,
    /// There is no such command.
    Unknown,
    /// The key, block or transaction is not there.
    NotFound,
    /// The block's body is damaged here and is fetched from peers again.
    Missing,
    /// The block's body was removed here, because it lies deep.
    Pruned,
    /// The command needs `AUTH` first.
    NoAuth,
    /// A rule of the network or the pool forbids it.
    Refused,
    /// The transaction is in a block, and its operations were not applied.
    Failed,
    /// The awaited state was not reached in time.
    Timeout,
    /// The transaction expired before a block included it.
    Expired,
    /// The transaction left the pool other than by a block.
    Dropped,
    /// The node has more to do than it can take.
    Busy,
    /// The node has no key to sign with.
    Locked,
    /// A line is longer than allowed.
    TooLong,
    /// The Redis protocol is not spoken here.
    NoProto,
    /// The client was silent for too long.
    Idle,
    /// Something is wrong with the node itself.
    Internal,
}

impl Code {
    const ALL: [(Code, &'static str, u8); 17] = [
        (Code::Usage, "USAGE", 2),
        (Code::Unknown, "UNKNOWN", 2),
        (Code::NotFound, "NOTFOUND", 3),
        (Code::Missing, "MISSING", 1),
        (Code::Pruned, "PRUNED", 3),
        (Code::NoAuth, "NOAUTH", 1),
        (Code::Refused, "REFUSED", 1),
        (Code::Failed, "FAILED", 1),
        (Code::Timeout, "TIMEOUT", 4),
        (Code::Expired, "EXPIRED", 1),
        (Code::Dropped, "DROPPED", 1),
        (Code::Busy, "BUSY", 1),
        (Code::Locked, "LOCKED", 1),
        (Code::TooLong, "TOOLONG", 2),
        (Code::NoProto, "NOPROTO", 2),
        (Code::Idle, "IDLE", 1),
        (Code::Internal, "INTERNAL", 1),
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        Code::ALL.iter().find(|(code, ..)| *code == self).expect("every code is listed").1
    }

    /// The code of a word; unknown words are [`Code::Internal`].
    pub fn from_word(word: &str) -> Code {
        Code::ALL.iter().find(|(_, other, _)| *other == word).map_or(Code::Internal, |row| row.0)
    }

    /// The terminal's exit code.
    pub fn exit(self) -> u8 {
        Code::ALL.iter().find(|(code, ..)| *code == self).expect("every code is listed").2
    }
}

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people; one line.
    pub message: String,
}

impl Failure {
    /// A failure with this message; line breaks and other control characters become blanks.
    pub fn new(code: Code, message: impl std::fmt::Display) -> Failure {
        Failure { code, message: one_line(&message.to_string()) }
    }

    /// What is said when a queue is full.
    pub fn busy() -> Failure {
        Failure::new(Code::Busy, "the node has more to do than it can take; try again")
    }
}

/// A text of others without what ends a line or plays tricks on a terminal.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A reply line, CRLF included, so that it is also a simple string or an error of the Redis
/// protocol.
pub fn line(result: &Result<Value, Failure>) -> Vec<u8> {
    match result {
        Ok(value) => format!("+OK {value}\r\n"),
        Err(failure) => format!("-{} {}\r\n", failure.code.word(), failure.message),
    }
    .into_bytes()
}

/// An event line.
pub fn event(value: &Value) -> Vec<u8> {
    format!("+EVENT {value}\r\n").into_bytes()
}

/// Puts bytes under `name` if they are UTF-8, else under `name_base64`.
pub fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_string(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), BASE64.encode(bytes).into()),
    };
}

/// Takes back what [`put_bytes`] put.
pub fn get_bytes(object: &Value, name: &str) -> Option<Vec<u8>> {
    if let Some(text) = object.get(name).and_then(Value::as_str) {
        return Some(text.as_bytes().to_vec());
    }
    let text = object.get(format!("{name}_base64"))?.as_str()?;
    BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replies_are_single_lines() {
        assert_eq!(line(&Ok(json!({"a": "x\ny"}))), b"+OK {\"a\":\"x\\ny\"}\r\n");
        let failure = Failure::new(Code::NotFound, "no\r\nkey");
        assert_eq!(line(&Err(failure)), b"-NOTFOUND no  key\r\n");
    }

    #[test]
    fn a_node_cannot_write_escape_sequences_to_the_terminal() {
        let failure = Failure::new(Code::Internal, "\x1b[31mred\x07 \u{9b}2J\x7f\tend");
        assert_eq!(failure.message, " [31mred   2J  end");
    }

    #[test]
    fn every_code_has_its_word_back() {
        for (code, word, exit) in Code::ALL {
            assert_eq!(Code::from_word(word), code);
            assert_eq!((code.word(), code.exit()), (word, exit));
        }
    }

    #[test]
    fn bytes_survive_json() {
        for bytes in [&b"text"[..], b"\xff\x00"] {
            let mut object = Map::new();
            put_bytes(&mut object, "value", bytes);
            assert_eq!(get_bytes(&Value::Object(object), "value").unwrap(), bytes);
        }
    }
}
