//! Requests of the Redis protocol: however bytes are cut, the same requests come of them, and the
//! commands among them take any words.

use cli::resp::data::{self, Known, Write};
use cli::resp::glob;
use cli::resp::parser::{Limits, Parser, ProtocolError};
use cli::resp::reply::Version;
use cli::resp::table;

use super::draw::Draw;
use super::target::{Memory, Target};

/// A parser, and what the commands decide.
pub(super) const TARGET: Target =
    Target { name: "requests", samples, run, memory: Memory { per_byte: 256, fixed: 64 * 1024 } };

const SAMPLES: &[&[u8]] = &[
    b"*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhe\0\xff\n\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    b"*5\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n$2\r\nNX\r\n$3\r\nGET\r\n",
    b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
    b"*4\r\n$8\r\nGETRANGE\r\n$1\r\na\r\n$2\r\n-3\r\n$20\r\n-9223372036854775808\r\n",
    b"*4\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\na\r\n",
    b"*3\r\n$6\r\nMSETNX\r\n$1\r\nc\r\n$1\r\n1\r\n",
    b"*2\r\n$4\r\nKEYS\r\n$9\r\na*[^b-c]?\\\r\n",
    b"*0\r\n*-1\r\n\r\nSET \"a b\\x00\" 'it\\'s'\nPING\r\n",
    b"*3000000000\r\n",
    b"*2\r\n$2000000000\r\n",
    b"*1\r\n$-1\r\n",
    b"INCR a\r\nPOST / HTTP/1.1\r\n",
];

fn samples() -> Vec<Vec<u8>> {
    SAMPLES.iter().map(|sample| [&[0x25, 0x83][..], sample].concat()).collect()
}

/// Keys with short names have values.
struct Short;

impl Known for Short {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        (key.len() < 2).then_some(b"value")
    }
}

type Requests = Vec<Vec<Vec<u8>>>;

/// The requests in bytes that come in parts, and how they end.
fn parsed<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Requests, Option<ProtocolError>) {
    let limits = Limits { inline_bytes: 2048, ..Limits::authenticated(4096) };
    let (mut parser, mut found) = (Parser::default(), Vec::new());
    for part in parts {
        parser.feed(part);
        loop {
            match parser.next(&limits) {
                Ok(None) => break,
                Ok(Some(words)) => found.push(words),
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let size = usize::from(draw.byte() % 64) + 1;
    let bytes = draw.rest();
    let whole = parsed(std::iter::once(bytes));
    assert_eq!(parsed(bytes.chunks(size)), whole, "where bytes are cut means nothing");
    let (requests, end) = whole;
    let ends: Vec<&str> = requests.iter().map(|words| of_request(words)).collect();
    let first = ends.first().copied().unwrap_or("nothing");
    let end = end.map_or("open".to_string(), |error| error.to_string());
    format!("{first} {}", end.split('\'').next().unwrap_or_default().trim())
}

/// What becomes of a request.
fn of_request(words: &[Vec<u8>]) -> &'static str {
    assert!(!words.is_empty());
    let name = words[0].to_ascii_uppercase();
    for word in words {
        let prefix = glob::literal_prefix(word);
        assert!(!glob::matches(word, b"text") || b"text".starts_with(&prefix));
    }
    let Some(command) = table::find(&name).filter(|command| command.takes(words.len())) else {
        table::refusal(&name, words).encode(Version::Three);
        return "refused";
    };
    assert!(command.keys_of(words).len() < words.len());
    match data::parse(&name, words[1..].to_vec()) {
        None => "other",
        Some(Err(reply)) => {
            reply.encode(Version::Two);
            "wrong"
        }
        Some(Ok(data)) => {
            let (mut writes, may_write) = (Vec::<Write>::new(), data.writes());
            let reply = data.decide(&Short, &mut writes);
            assert!(may_write || writes.is_empty());
            assert!(writes.iter().all(|write| (1..=255).contains(&write.key.len())));
            reply.encode(Version::Three);
            if writes.is_empty() { "read" } else { "written" }
        }
    }
}
