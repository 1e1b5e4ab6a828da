//! Bytes of a client -> requests: arrays of bulk strings, and inline commands.
//!
//! Where the bytes are cut means nothing. No length that a client names is believed before it is
//! held against [`Limits`], and memory grows only with bytes that have come.

use super::inline::{self, UnbalancedQuotes};

/// Longest line of a length, in bytes: a sign, the digits of any 64-bit number, and its end.
const MAX_LENGTH_LINE: usize = 32;

/// Bounds of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most words.
    pub words: usize,
    /// Longest word, in bytes.
    pub word_bytes: usize,
    /// Most bytes of all words.
    pub request_bytes: usize,
    /// Longest inline command, in bytes.
    pub inline_bytes: usize,
    /// Whether the connection has shown no right to more: only the messages differ.
    pub unauthenticated: bool,
}

impl Limits {
    /// Longest inline command of anybody, in bytes, as in Redis.
    pub const INLINE_BYTES: usize = 64 * 1024;

    /// What a connection may ask before it has shown its right to write, as in Redis.
    pub const UNAUTHENTICATED: Limits = Limits {
        words: 10,
        word_bytes: 16 * 1024,
        request_bytes: 10 * 16 * 1024,
        inline_bytes: Limits::INLINE_BYTES,
        unauthenticated: true,
    };

    /// What the others may, when no request needs more than so many bytes.
    pub fn authenticated(request_bytes: usize) -> Limits {
        Limits {
            words: 4 * super::MAX_KEYS,
            word_bytes: request_bytes,
            request_bytes,
            inline_bytes: Limits::INLINE_BYTES,
            unauthenticated: false,
        }
    }
}

/// Why bytes are no request. The connection cannot go on: where the next one starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number of words is none, or above the limit.
    #[error("invalid multibulk length")]
    Words,
    /// It is above the limit of clients without `AUTH`.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedWords,
    /// The length of a word is none, negative, or above the limit.
    #[error("invalid bulk length")]
    Length,
    /// It is above the limit of clients without `AUTH`.
    #[error("unauthenticated bulk length")]
    UnauthenticatedLength,
    /// A word starts with another byte than `$`.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    NotBulk(u8),
    /// A word is not followed by CR and LF.
    #[error("expected CRLF after a bulk string")]
    NoEnd,
    /// All words together are too long.
    #[error("too big request")]
    TooBig,
    /// The line of a length has no end.
    #[error("too big length line")]
    TooBigLength,
    /// An inline command has no end.
    #[error("too big inline request")]
    TooBigInline,
    /// A quote in an inline command is not closed.
    #[error("unbalanced quotes in request")]
    Quotes,
}

/// A connection's bytes that are not yet requests.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    at: usize,
    /// Bytes after `at` known to hold no line end.
    searched: usize,
    array: Option<Array>,
}

/// An array of which a part has come.
#[derive(Debug)]
struct Array {
    /// Words that are still to come, the begun one included.
    left: usize,
    /// Length of the begun one, when it is known.
    length: Option<usize>,
    words: Vec<Vec<u8>>,
    /// Bytes of all words whose length is known.
    bytes: usize,
}

impl Parser {
    /// Takes what a client sent.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait to be read as requests.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Forgets everything that has come.
    pub fn discard(&mut self) {
        *self = Parser::default();
    }

    /// The next request, at least one word; `None` = more bytes must come.
    ///
    /// # Errors
    /// When what has come is no request.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Vec<Vec<u8>>>, ProtocolError> {
        loop {
            if self.array.is_some() {
                return self.words(limits);
            }
            let Some(first) = self.buffer.get(self.at) else { return Ok(None) };
            if *first != b'*' {
                match self.inline(limits)? {
                    Some(words) if words.is_empty() => {}
                    found => return Ok(found),
                }
                continue;
            }
            let Some(count) = self.length(ProtocolError::Words)? else { return Ok(None) };
            if count <= 0 {
                continue; // an empty request is no request, as in Redis
            }
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count > limits.words {
                return Err(match limits.unauthenticated {
                    true => ProtocolError::UnauthenticatedWords,
                    false => ProtocolError::Words,
                });
            }
            let words = Vec::with_capacity(count.min(8));
            self.array = Some(Array { left: count, length: None, words, bytes: 0 });
        }
    }

    /// Goes on with the words of the array.
    fn words(&mut self, limits: &Limits) -> Result<Option<Vec<Vec<u8>>>, ProtocolError> {
        loop {
            let array = self.array.as_mut().expect("only called for one");
            let Some(length) = array.length else {
                match self.buffer.get(self.at) {
                    None => return Ok(None),
                    Some(b'$') => {}
                    Some(other) => return Err(ProtocolError::NotBulk(*other)),
                }
                let Some(length) = self.length(ProtocolError::Length)? else { return Ok(None) };
                let length = usize::try_from(length).map_err(|_| ProtocolError::Length)?;
                if length > limits.word_bytes {
                    return Err(match limits.unauthenticated {
                        true => ProtocolError::UnauthenticatedLength,
                        false => ProtocolError::Length,
                    });
                }
                let array = self.array.as_mut().expect("as above");
                array.bytes += length;
                if array.bytes > limits.request_bytes {
                    return Err(ProtocolError::TooBig);
                }
                array.length = Some(length);
                continue;
            };
            let rest = &self.buffer[self.at..];
            let Some(end) = rest.get(length..length + 2) else { return Ok(None) };
            if end != b"\r\n" {
                return Err(ProtocolError::NoEnd);
            }
            array.words.push(rest[..length].to_vec());
            (array.left, array.length) = (array.left - 1, None);
            let is_last = array.left == 0;
            self.at += length + 2;
            if is_last {
                return Ok(self.array.take().map(|array| array.words));
            }
        }
    }

    /// Takes a line of a type byte and a number.
    fn length(&mut self, wrong: ProtocolError) -> Result<Option<i64>, ProtocolError> {
        let rest = &self.buffer[self.at..];
        let head = &rest[..rest.len().min(MAX_LENGTH_LINE)];
        let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
            return match head.len() {
                MAX_LENGTH_LINE => Err(ProtocolError::TooBigLength),
                _ => Ok(None),
            };
        };
        let digits = head[1..end].strip_suffix(b"\r").ok_or(wrong)?;
        let number = number(digits).ok_or(wrong)?;
        self.at += end + 1;
        Ok(Some(number))
    }

    fn inline(&mut self, limits: &Limits) -> Result<Option<Vec<Vec<u8>>>, ProtocolError> {
        let rest = &self.buffer[self.at..];
        let end = rest[self.searched..].iter().position(|byte| *byte == b'\n');
        let length = end.map_or(rest.len(), |end| self.searched + end);
        if length > limits.inline_bytes {
            return Err(ProtocolError::TooBigInline);
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        let line = &rest[..length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let words = inline::split(line).map_err(|UnbalancedQuotes| ProtocolError::Quotes)?;
        if words.len() > limits.words {
            return Err(ProtocolError::Words);
        }
        self.at += length + 1;
        self.searched = 0;
        Ok(Some(words))
    }
}

/// A decimal number as the protocol writes it: a minus or none, then digits.
pub fn number(digits: &[u8]) -> Option<i64> {
    let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
