//! `PUT`, `DELETE` and `HANDOVER`: the writes to keys, and the words that all writes know.

use std::path::PathBuf;

use chain::ledger::Draft;
use chain::params::KeyPolicy;
use chain::tx::{OperationBytes, PublicKey};
use clap::Args;
use kv::{Expect, Operation};

use super::{Command, Line, UsageError, WaitWords, Words, unexpected};
use crate::request::Request;

pub(super) const PUT: Command = Command {
    name: "PUT",
    alias: None,
    usage: "key value [IF n|ABSENT] [OWNED|OPEN] [EXPIRES height] [WAIT confirmations] [TIMEOUT s]",
    about: "Writes the next version of a key",
    needs_auth: true,
    parse: |rest| parse_one("PUT", rest),
};

pub(super) const DELETE: Command = Command {
    name: "DELETE",
    alias: Some("DEL"),
    usage: "key [IF n] [EXPIRES height] [WAIT confirmations] [TIMEOUT s]",
    about: "Ends a key's value with a tombstone version; its history stays",
    needs_auth: true,
    parse: |rest| parse_one("DELETE", rest),
};

pub(super) const HAND_OVER: Command = Command {
    name: "HANDOVER",
    alias: None,
    usage: "key address [EXPIRES height] [WAIT confirmations] [TIMEOUT s]",
    about: "Makes somebody else the owner of a key",
    needs_auth: true,
    parse: |rest| parse_one("HANDOVER", rest),
};

/// The words of one operation, as they are read.
pub(super) enum Operands {
    Put { key: Vec<u8>, value: Vec<u8>, expect: Expect, policy: Option<KeyPolicy> },
    Delete { key: Vec<u8>, expect: Expect },
    HandOver { key: Vec<u8>, to: PublicKey },
    Pay { to: PublicKey, amount: u64 },
}

impl Operands {
    /// Reads what must come after the operation's name; `None` when that is no operation's.
    pub(super) fn begin(name: &str, rest: &mut Words) -> Result<Option<Operands>, UsageError> {
        let Some(command) = super::find(name) else { return Ok(None) };
        let operands = match command.name {
            "PUT" => {
                let (key, value) = (rest.key()?, rest.bytes("the value")?);
                Operands::Put { key, value, expect: Expect::Any, policy: None }
            }
            "DELETE" => Operands::Delete { key: rest.key()?, expect: Expect::Any },
            "HANDOVER" => {
                let (key, to) = (rest.key()?, rest.parsed("the new owner's address")?);
                Operands::HandOver { key, to }
            }
            "SEND" => Operands::Pay { to: rest.parsed("the address")?, amount: rest.coins()? },
            _ => return Ok(None),
        };
        Ok(Some(operands))
    }

    /// Takes a word that may follow, in upper case, and what belongs to it; `false` when it is
    /// none of this operation's.
    pub(super) fn take(&mut self, word: &str, rest: &mut Words) -> Result<bool, UsageError> {
        match (self, word) {
            (Operands::Put { expect, .. } | Operands::Delete { expect, .. }, "IF") => {
                *expect = parse_expect(rest)?;
            }
            (Operands::Put { policy, .. }, "OWNED") => *policy = Some(KeyPolicy::Owned),
            (Operands::Put { policy, .. }, "OPEN") => *policy = Some(KeyPolicy::Open),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn encode(&self) -> OperationBytes {
        match *self {
            Operands::Put { ref key, ref value, expect, policy } => {
                Operation::Put { key, value, expect, policy }
            }
            Operands::Delete { ref key, expect } => Operation::Delete { key, expect },
            Operands::HandOver { ref key, to } => Operation::HandOver { key, to },
            Operands::Pay { to, amount } => Operation::Pay { to, amount },
        }
        .encode()
    }
}

/// The words that all writes know.
#[derive(Default)]
pub(super) struct WriteWords {
    wait: WaitWords,
    expires_at: u32,
}

impl WriteWords {
    pub(super) fn take(&mut self, word: &str, rest: &mut Words) -> Result<bool, UsageError> {
        if word == "EXPIRES" {
            self.expires_at = rest.parsed("the height it expires at")?;
            return Ok(true);
        }
        self.wait.take(word, rest)
    }

    pub(super) fn request(&self, operations: Vec<OperationBytes>) -> Result<Request, UsageError> {
        let draft = Draft { operations, fee: None, expires_at: self.expires_at };
        Ok(Request::Write { draft, wait: self.wait.wait()? })
    }
}

/// Reads the words of a transaction of one operation.
pub(super) fn parse_one(name: &str, rest: &mut Words) -> Result<Request, UsageError> {
    let mut operands = Operands::begin(name, rest)?.expect("the commands of writes are known");
    let mut write = WriteWords::default();
    while let Some(word) = rest.next() {
        let upper = word.to_ascii_uppercase();
        if !operands.take(&upper, rest)? && !write.take(&upper, rest)? {
            return Err(unexpected(&word));
        }
    }
    write.request(vec![operands.encode()])
}

fn parse_expect(rest: &mut Words) -> Result<Expect, UsageError> {
    let word = rest.required("the expected version")?;
    if word.eq_ignore_ascii_case("ABSENT") {
        return Ok(Expect::Absent);
    }
    let version = word
        .parse()
        .map_err(|_| UsageError(format!("IF takes a version number or ABSENT, not {word:?}")))?;
    Ok(Expect::Version(version))
}

/// Flags that all writes share.
#[derive(Args, Clone, Debug)]
pub struct WriteFlags {
    /// Answer only after so many confirmations (blocks that include it or come after)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub wait: Option<u32>,
    /// Give up waiting after so many seconds (exit code 4)
    #[arg(long, value_name = "S", requires = "wait")]
    pub timeout: Option<u64>,
    /// Last height it may be included at
    #[arg(long, value_name = "HEIGHT")]
    pub expires: Option<u32>,
}

impl WriteFlags {
    /// Adds the flags' words.
    pub fn add_to(&self, line: Line) -> Line {
        line.option("EXPIRES", self.expires)
            .option("WAIT", self.wait)
            .option("TIMEOUT", self.timeout)
    }
}

/// Writes the next version of a key
#[derive(Args, Clone, Debug)]
pub struct PutArgs {
    /// 1 to 255 bytes; base64:.. and hex:.. stand for other bytes
    pub key: String,
    /// The value; base64:.. and hex:.. stand for other bytes
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub value: Option<String>,
    /// Take the value from a file ('-' = standard input)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only if the key's latest version is N
    #[arg(long, value_name = "N", conflicts_with = "if_absent")]
    pub if_version: Option<u64>,
    /// Only if the key has no value
    #[arg(long)]
    pub if_absent: bool,
    /// At the first put: only you may write this key from then on
    #[arg(long, conflicts_with = "open")]
    pub owned: bool,
    /// At the first put: anyone may write this key
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub write: WriteFlags,
}

impl PutArgs {
    /// The request's words; `file` is what `--file` held.
    pub fn line(&self, file: Option<&[u8]>) -> Line {
        let line = Line::new(PUT.name).typed(&self.key);
        let line = match (&self.value, file) {
            (Some(value), _) => line.typed(value),
            (None, file) => line.bytes(file.unwrap_or_default()),
        };
        let expect = if self.if_absent {
            Some("ABSENT".to_string())
        } else {
            self.if_version.map(|version| version.to_string())
        };
        let line = line.option("IF", expect).when(self.owned, "OWNED").when(self.open, "OPEN");
        self.write.add_to(line)
    }
}

/// Ends a key's value with a tombstone version; its history stays
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// The key
    pub key: String,
    /// Only if the key's latest version is N
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub write: WriteFlags,
}

impl DeleteArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        let line = Line::new(DELETE.name).typed(&self.key).option("IF", self.if_version);
        self.write.add_to(line)
    }
}

/// Makes somebody else the owner of a key
#[derive(Args, Clone, Debug)]
pub struct HandOverArgs {
    /// The key
    pub key: String,
    /// The new owner's address (grvn1..)
    pub to: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub write: WriteFlags,
}

impl HandOverArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        let line = Line::new(HAND_OVER.name).typed(&self.key).word(&self.to);
        self.write.add_to(line)
    }
}
