//! `WATCH`: events of the keys that start with a prefix.

use clap::Args;

use super::{Command, Line, UsageError, Words, unexpected};
use crate::request::Request;

pub(super) const WATCH: Command = Command {
    name: "WATCH",
    alias: None,
    usage: "prefix [CONFIRMATIONS n]",
    about: "Sends +EVENT lines about writes to keys that start with a prefix, from now on",
    needs_auth: false,
    parse,
};

pub(super) const UNWATCH: Command = Command {
    name: "UNWATCH",
    alias: None,
    usage: "",
    about: "Ends all WATCHes of this connection",
    needs_auth: false,
    parse: |_| Ok(Request::Unwatch),
};

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let prefix = rest.bytes("the prefix")?;
    let confirmations = match rest.next() {
        None => None,
        Some(word) if word.eq_ignore_ascii_case("CONFIRMATIONS") => {
            Some(rest.parsed("the number of confirmations")?)
        }
        Some(word) => return Err(unexpected(&word)),
    };
    Ok(Request::Watch { prefix, confirmations })
}

/// Prints events about writes to the keys that start with a prefix, until interrupted
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// What the keys start with ('' = all)
    #[arg(default_value = "")]
    pub prefix: String,
    /// Also say when a write has so many confirmations
    #[arg(long, value_name = "N")]
    pub confirmations: Option<u32>,
}

impl WatchArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(WATCH.name).typed(&self.prefix).option("CONFIRMATIONS", self.confirmations)
    }
}
