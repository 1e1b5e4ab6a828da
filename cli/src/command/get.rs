//! `RETRIEVE`: one version of a key.

use clap::Args;
use kv::proof::Extent;

use super::{Command, Line, UsageError, Words, unexpected};
use crate::request::{At, Read, Request};

pub(super) const RETRIEVE: Command = Command {
    name: "RETRIEVE",
    alias: Some("GET"),
    usage: "key [VERSION n | HEIGHT h | PROVE]",
    about: "Reads a key's latest value, or an older one",
    needs_auth: false,
    parse,
};

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let key = rest.key()?;
    let at = match rest.next() {
        None => At::Latest,
        Some(word) if word.eq_ignore_ascii_case("VERSION") => {
            At::Version(rest.parsed("the version")?)
        }
        Some(word) if word.eq_ignore_ascii_case("HEIGHT") => At::Height(rest.parsed("the height")?),
        Some(word) if word.eq_ignore_ascii_case("PROVE") => {
            return Ok(Request::Read(Read::Prove { key, extent: Extent::Latest }));
        }
        Some(word) => return Err(unexpected(&word)),
    };
    Ok(Request::Read(Read::Retrieve { key, at }))
}

/// Reads a key's latest value, or an older one
#[derive(Args, Clone, Debug)]
pub struct RetrieveArgs {
    /// The key
    pub key: String,
    /// The version with this number
    #[arg(long, value_name = "N", conflicts_with = "height")]
    pub version: Option<u64>,
    /// The latest version as of this block height
    #[arg(long, value_name = "H")]
    pub height: Option<u32>,
    /// Print the value's bytes and nothing else
    #[arg(long)]
    pub raw: bool,
}

impl RetrieveArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(RETRIEVE.name)
            .typed(&self.key)
            .option("VERSION", self.version)
            .option("HEIGHT", self.height)
    }
}
