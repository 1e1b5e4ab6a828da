//! The lines of a file, as operations. A line is held at a time, and none that is longer than the
//! longest that can be of use.

use std::io::{self, BufRead};

use chain::params::{KeyPolicy, Limits};
use clap::ValueEnum;
use data_encoding::BASE64;
use kv::{Expect, Operation};
use serde::Deserialize;

use crate::command::Line;

/// Bytes of a transaction besides its operations: at most 127 are in use.
const TRANSACTION_OVERHEAD: usize = 128;

/// Bytes that say how long an operation is, at most.
const LENGTH_BYTES: usize = 5;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An object of JSON a line
    Jsonl,
    /// A key, a tab, and a value a line
    Tsv,
}

impl Format {
    /// The format that a file's name tells.
    pub fn of_name(name: &std::path::Path) -> Option<Format> {
        match name.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            "tsv" | "tab" => Some(Format::Tsv),
            _ => None,
        }
    }
}

/// An operation of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number of its line, from 1.
    pub line: u64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its words in a line of the admin port, quoted.
    pub words: String,
    /// Bytes that it takes in a transaction.
    pub bytes: usize,
}

/// A line that is no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// Reads a file line by line.
pub struct Rows<R> {
    input: R,
    format: Format,
    limits: Limits,
    /// Lines that were read.
    line: u64,
    /// Bytes that were read.
    bytes: u64,
    buffer: Vec<u8>,
    /// Whether the end was seen: a terminal would be asked for more.
    ended: bool,
}

impl<R: BufRead> Rows<R> {
    /// Starts at the line with this number; those before it are passed over.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new(mut input: R, format: Format, limits: Limits, from: u64) -> io::Result<Rows<R>> {
        let (mut line, mut bytes) = (0, 0);
        while line + 1 < from {
            let skipped = input.skip_until(b'\n')?;
            if skipped == 0 {
                break;
            }
            (line, bytes) = (line + 1, bytes + skipped as u64);
        }
        Ok(Rows { input, format, limits, line, bytes, buffer: Vec::new(), ended: false })
    }

    /// The number of the line that is read next.
    pub fn next_line(&self) -> u64 {
        self.line + 1
    }

    /// Bytes of the file that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not blank (of TSV: not empty); `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Result<Row, Wrong>>> {
        while !self.ended {
            let is_whole = self.read_line()?;
            if self.buffer.is_empty() {
                self.ended = true;
                break;
            }
            let line = self.line;
            if !is_whole {
                let what = format!("the line has more than {} bytes", self.longest());
                return Ok(Some(Err(Wrong { line, what })));
            }
            let text = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            // Some editors write this mark in front of UTF-8.
            let text = text.strip_prefix(b"\xef\xbb\xbf").filter(|_| line == 1).unwrap_or(text);
            let write = match self.format {
                Format::Jsonl if text.iter().all(u8::is_ascii_whitespace) => continue,
                Format::Jsonl => from_json(text),
                Format::Tsv if text.is_empty() => continue,
                Format::Tsv => from_tsv(text),
            };
            let row = write.and_then(|write| write.row(line, &self.limits));
            return Ok(Some(row.map_err(|what| Wrong { line, what })));
        }
        Ok(None)
    }

    /// Reads a line with its end into the buffer; of one that is too long only a part, `false`.
    fn read_line(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let most = self.longest();
        let mut part = io::Read::take(&mut self.input, most as u64 + 1);
        self.bytes += part.read_until(b'\n', &mut self.buffer)? as u64;
        self.line += u64::from(!self.buffer.is_empty());
        if self.buffer.len() <= most || self.buffer.ends_with(b"\n") {
            return Ok(true);
        }
        self.bytes += self.input.skip_until(b'\n')? as u64;
        Ok(false)
    }

    /// Most bytes of a line: JSON may write each as `\u0000`.
    fn longest(&self) -> usize {
        6 * (self.limits.value_bytes as usize + kv::MAX_KEY_BYTES) + 1024
    }
}

/// A line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    delete: bool,
    if_version: Option<u64>,
    #[serde(default)]
    if_absent: bool,
    policy: Option<KeyPolicy>,
}

/// What a line asks for.
struct Write {
    key: Vec<u8>,
    /// `None` = a deletion.
    value: Option<Vec<u8>>,
    expect: Expect,
    policy: Option<KeyPolicy>,
}

fn from_json(text: &[u8]) -> Result<Write, String> {
    let object: Object = serde_json::from_slice(text).map_err(|error| {
        // The place is of this line alone.
        let (text, column) = (error.to_string(), error.column());
        let what = text.split(" at line ").next().unwrap_or_default();
        format!("{what} (column {column})")
    })?;
    let key = either("key", object.key, object.key_base64)?.ok_or("there is no key")?;
    let value = either("value", object.value, object.value_base64)?;
    let expect = match (object.if_version, object.if_absent) {
        (Some(_), true) => return Err("it has both if_version and if_absent".to_string()),
        (Some(version), false) => Expect::Version(version),
        (None, true) => Expect::Absent,
        (None, false) => Expect::Any,
    };
    match (&value, object.delete) {
        (None, false) => return Err("there is neither a value nor \"delete\":true".to_string()),
        (Some(_), true) => return Err("a deletion has no value".to_string()),
        (None, true) if object.policy.is_some() => {
            return Err("a deletion has no policy".to_string());
        }
        _ => {}
    }
    Ok(Write { key, value, expect, policy: object.policy })
}

/// Bytes that are given as text or in base64.
fn either(
    name: &str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("it has both {name} and {name}_base64")),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => BASE64
            .decode(base64.as_bytes())
            .map(Some)
            .map_err(|_| format!("{name}_base64 is not valid base64")),
        (None, None) => Ok(None),
    }
}

fn from_tsv(text: &[u8]) -> Result<Write, String> {
    let mut columns = text.split(|byte| *byte == b'\t');
    let (key, value) = (columns.next(), columns.next());
    match (key, value, columns.next()) {
        (Some(key), Some(value), None) => {
            let (key, value) = (unescaped(key)?, Some(unescaped(value)?));
            Ok(Write { key, value, expect: Expect::Any, policy: None })
        }
        (_, None, _) => Err("there is no tab between key and value".to_string()),
        _ => Err("there is more than one tab; write \\t for those in keys and values".to_string()),
    }
}

fn unescaped(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'\\') => b'\\',
                _ => return Err(r"after a backslash come t, n, r or a backslash".to_string()),
            },
            byte => *byte,
        });
    }
    Ok(bytes)
}

impl Write {
    fn row(self, line: u64, limits: &Limits) -> Result<Row, String> {
        let Write { key, value, expect, policy } = self;
        let operation = match &value {
            Some(value) => Operation::Put { key: &key, value, expect, policy },
            None => Operation::Delete { key: &key, expect },
        };
        operation.check(limits).map_err(|error| error.to_string())?;
        let bytes = operation.encode().len() + LENGTH_BYTES;
        let most = limits.transaction_bytes as usize;
        if TRANSACTION_OVERHEAD + bytes > most {
            return Err(format!("it does not fit into a transaction of {most} bytes"));
        }
        let words = match &value {
            Some(value) => Line::new("PUT").bytes(&key).bytes(value),
            None => Line::new("DELETE").bytes(&key),
        };
        let expect = match expect {
            Expect::Any => None,
            Expect::Absent => Some("ABSENT".to_string()),
            Expect::Version(version) => Some(version.to_string()),
        };
        let words = words
            .option("IF", expect)
            .when(policy == Some(KeyPolicy::Owned), "OWNED")
            .when(policy == Some(KeyPolicy::Open), "OPEN")
            .build();
        Ok(Row { line, key, words, bytes })
    }
}

/// Rows that go into one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    rows: Vec<Row>,
    bytes: usize,
    line_bytes: usize,
}

impl Batch {
    /// Adds a row, or gives it back when the network's limits leave no room for it.
    ///
    /// # Errors
    /// The row.
    pub fn push(&mut self, row: Row, limits: &Limits, most: usize) -> Result<(), Row> {
        let bytes = self.bytes + row.bytes;
        let line_bytes = self.line_bytes + row.words.len() + 1;
        let is_full = self.rows.len() >= most.min(limits.operations as usize)
            || TRANSACTION_OVERHEAD + bytes > limits.transaction_bytes as usize
            || line_bytes > 2 * limits.transaction_bytes as usize;
        // What is alone fits, or it would be no row.
        if is_full && !self.rows.is_empty() {
            return Err(row);
        }
        (self.bytes, self.line_bytes) = (bytes, line_bytes);
        self.rows.push(row);
        Ok(())
    }

    /// The rows.
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

#[cfg(test)]
mod tests;
