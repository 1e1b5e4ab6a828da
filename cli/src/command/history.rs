//! `RETRIEVE_ALL`: every version of a key.

use std::num::NonZeroUsize;

use chain::execute::Order;
use clap::Args;
use kv::proof::Extent;

use super::{Command, Line, UsageError, Words, unexpected};
use crate::request::{Read, Request};

pub(super) const RETRIEVE_ALL: Command = Command {
    name: "RETRIEVE_ALL",
    alias: Some("HISTORY"),
    usage: "key [LIMIT n] [AFTER v] [DESC] | key PROVE",
    about: "Reads all versions of a key, by pages",
    needs_auth: false,
    parse,
};

const DEFAULT_LIMIT: usize = 100;

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let key = rest.key()?;
    let (mut limit, mut after, mut order) = (DEFAULT_LIMIT, None, Order::Ascending);
    let mut first = true;
    while let Some(word) = rest.next() {
        if std::mem::take(&mut first) && word.eq_ignore_ascii_case("PROVE") {
            return Ok(Request::Read(Read::Prove { key, extent: Extent::All }));
        }
        match word.to_ascii_uppercase().as_str() {
            "LIMIT" => limit = rest.limit()?,
            "AFTER" => after = Some(rest.parsed("the version to go on from")?),
            "DESC" => order = Order::Descending,
            _ => return Err(unexpected(&word)),
        }
    }
    Ok(Request::Read(Read::RetrieveAll { key, limit, after, order }))
}

/// Reads all versions of a key
#[derive(Args, Clone, Debug)]
pub struct RetrieveAllArgs {
    /// The key
    pub key: String,
    /// At most so many versions [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Go on after this version
    #[arg(long, value_name = "V")]
    pub after: Option<u64>,
    /// Newest first
    #[arg(long)]
    pub desc: bool,
}

impl RetrieveAllArgs {
    /// The words of the request for the page of `limit` after `after`.
    pub fn line(&self, limit: usize, after: Option<u64>) -> Line {
        Line::new(RETRIEVE_ALL.name)
            .typed(&self.key)
            .option("LIMIT", Some(limit))
            .option("AFTER", after)
            .when(self.desc, "DESC")
    }
}
