//! `SCAN`: live keys with a prefix.

use std::num::NonZeroUsize;

use clap::Args;
use kv::query::Values;

use super::{Command, Line, UsageError, Words, unexpected};
use crate::request::{Read, Request};
use crate::words;

pub(super) const SCAN: Command = Command {
    name: "SCAN",
    alias: None,
    usage: "prefix [LIMIT n] [AFTER key] [KEYS]",
    about: "Lists the keys that start with a prefix ('' = all), with their values, by pages",
    needs_auth: false,
    parse,
};

const DEFAULT_LIMIT: usize = 100;

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let prefix = rest.bytes("the prefix")?;
    let (mut limit, mut after, mut values) = (DEFAULT_LIMIT, None, Values::Read);
    while let Some(word) = rest.next() {
        match word.to_ascii_uppercase().as_str() {
            "LIMIT" => limit = rest.limit()?,
            "AFTER" => after = Some(rest.key()?),
            "KEYS" => values = Values::Skip,
            _ => return Err(unexpected(&word)),
        }
    }
    Ok(Request::Read(Read::Scan { prefix, after, limit, values }))
}

/// Lists the keys that start with a prefix
#[derive(Args, Clone, Debug)]
pub struct ScanArgs {
    /// What the keys start with ('' = all)
    #[arg(default_value = "")]
    pub prefix: String,
    /// At most so many keys [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Go on after this key
    #[arg(long, value_name = "KEY")]
    pub after: Option<String>,
    /// Only the keys, not their values
    #[arg(long)]
    pub keys: bool,
}

impl ScanArgs {
    /// The words of the request for the page of `limit` after `after`.
    pub fn line(&self, limit: usize, after: Option<&[u8]>) -> Line {
        Line::new(SCAN.name)
            .typed(&self.prefix)
            .option("LIMIT", Some(limit))
            .option("AFTER", after.map(words::encode))
            .when(self.keys, "KEYS")
    }
}
