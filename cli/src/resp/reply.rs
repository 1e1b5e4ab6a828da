//! Replies -> bytes, in RESP2 or RESP3.

use crate::reply::{Code, Failure};

/// Which protocol a connection has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What every connection starts with.
    #[default]
    Two,
    /// After `HELLO 3`: maps, nulls and pushes have types of their own.
    Three,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A word that needs no escaping.
    Simple(&'static str),
    /// A code, a blank and a sentence.
    Error(String),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(Vec<u8>),
    /// No value.
    Null,
    /// No list: the same as [`Reply::Null`] in RESP3.
    NullArray,
    /// A list.
    Array(Vec<Reply>),
    /// Names and values; a flat list in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Names and lists, as `XREAD` answers: a list of pairs in RESP2, a map in RESP3.
    Streams(Vec<(Reply, Reply)>),
    /// What nobody has asked for just now; a list in RESP2.
    Push(Vec<Reply>),
}

impl Reply {
    /// `+OK`.
    pub const OK: Reply = Reply::Simple("OK");

    /// Text as bytes.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::Bulk(text.into().into_bytes())
    }

    /// An error of the common kind.
    pub fn error(message: impl std::fmt::Display) -> Reply {
        Reply::Error(format!("ERR {message}"))
    }

    /// A number of things.
    pub fn count(count: usize) -> Reply {
        Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A list of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Reply {
        Reply::Array(texts.into_iter().map(Reply::text).collect())
    }

    /// A value, or none.
    pub fn value(value: Option<Vec<u8>>) -> Reply {
        value.map_or(Reply::Null, Reply::Bulk)
    }

    /// The reply as bytes.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(version, &mut out);
        out
    }

    /// Appends the reply. Recursion is as deep as the reply, which is ours: at most four levels.
    pub fn write(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Reply::Simple(word) => line(out, b'+', word.as_bytes()),
            Reply::Error(text) => line(out, b'-', text.replace(['\r', '\n'], " ").as_bytes()),
            Reply::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Reply::Bulk(bytes) => bulk(out, bytes),
            Reply::Null => null(out, version),
            Reply::NullArray if version == Version::Two => out.extend_from_slice(b"*-1\r\n"),
            Reply::NullArray => null(out, version),
            Reply::Array(list) => all(list, b'*', version, out),
            Reply::Push(list) if version == Version::Two => all(list, b'*', version, out),
            Reply::Push(list) => all(list, b'>', version, out),
            Reply::Streams(pairs) if version == Version::Two => {
                length(out, b'*', pairs.len());
                for (name, list) in pairs {
                    length(out, b'*', 2);
                    name.write(version, out);
                    list.write(version, out);
                }
            }
            Reply::Map(fields) | Reply::Streams(fields) => {
                match version {
                    Version::Two => length(out, b'*', 2 * fields.len()),
                    Version::Three => length(out, b'%', fields.len()),
                }
                for (name, value) in fields {
                    name.write(version, out);
                    value.write(version, out);
                }
            }
        }
    }
}

impl From<&Failure> for Reply {
    fn from(failure: &Failure) -> Reply {
        let word = match failure.code {
            Code::Usage | Code::Unknown => "ERR",
            code => code.word(),
        };
        Reply::Error(format!("{word} {}", failure.message))
    }
}

/// Appends bytes as a bulk string.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends that there is no value.
pub fn null(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(match version {
        Version::Two => b"$-1\r\n",
        Version::Three => b"_\r\n",
    });
}

fn all(list: &[Reply], kind: u8, version: Version, out: &mut Vec<u8>) {
    length(out, kind, list.len());
    for reply in list {
        reply.write(version, out);
    }
}

fn length(out: &mut Vec<u8>, kind: u8, length: usize) {
    // Most values are short, and this is on the way of every GET.
    if length < 10 {
        let digit = b"0123456789"[length];
        out.extend_from_slice(&[kind, digit, b'\r', b'\n']);
    } else {
        line(out, kind, length.to_string().as_bytes());
    }
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_reply_has_its_bytes_in_both_versions() {
        let pair = || vec![Reply::text("a"), Reply::Integer(-1)];
        let map = Reply::Map(vec![(Reply::text("a"), Reply::Null)]);
        for (reply, two, three) in [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::error("no\r\nway"), "-ERR no  way\r\n", "-ERR no  way\r\n"),
            (Reply::Integer(-42), ":-42\r\n", ":-42\r\n"),
            (Reply::text(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Reply::text("0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Array(vec![]), "*0\r\n", "*0\r\n"),
            (Reply::Array(pair()), "*2\r\n$1\r\na\r\n:-1\r\n", "*2\r\n$1\r\na\r\n:-1\r\n"),
            (Reply::Push(pair()), "*2\r\n$1\r\na\r\n:-1\r\n", ">2\r\n$1\r\na\r\n:-1\r\n"),
            (
                Reply::Streams(vec![(Reply::text("a"), Reply::Array(vec![]))]),
                "*1\r\n*2\r\n$1\r\na\r\n*0\r\n",
                "%1\r\n$1\r\na\r\n*0\r\n",
            ),
            (map, "*2\r\n$1\r\na\r\n$-1\r\n", "%1\r\n$1\r\na\r\n_\r\n"),
        ] {
            assert_eq!(reply.encode(Version::Two), two.as_bytes(), "{reply:?}");
            assert_eq!(reply.encode(Version::Three), three.as_bytes(), "{reply:?}");
        }
    }

    #[test]
    fn failures_keep_their_code_but_for_those_of_words() {
        for (code, start) in [(Code::Usage, "ERR x"), (Code::NoAuth, "NOAUTH x")] {
            let reply = Reply::from(&Failure::new(code, "x"));
            assert_eq!(reply, Reply::Error(start.to_string()));
        }
    }
}
