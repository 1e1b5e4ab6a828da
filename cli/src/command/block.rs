//! `BLOCK`: a block of the main chain.

use clap::Args;

use super::{Command, Line, UsageError, Words};
use crate::request::{BlockName, Read, Request};

pub(super) const BLOCK: Command = Command {
    name: "BLOCK",
    alias: None,
    usage: "height|hash",
    about: "Shows a block and its transactions",
    needs_auth: false,
    parse,
};

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let word = rest.required("the height or hash")?;
    let name = match word.parse() {
        Ok(height) => BlockName::Height(height),
        Err(_) => BlockName::Hash(word.parse().map_err(|_| {
            UsageError(format!("{word:?} is neither a height nor a hash of 64 hex digits"))
        })?),
    };
    Ok(Request::Read(Read::Block(name)))
}

/// Shows a block and its transactions
#[derive(Args, Clone, Debug)]
pub struct BlockArgs {
    /// Its height on the main chain, or its hash
    pub block: String,
}

impl BlockArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(BLOCK.name).word(&self.block)
    }
}
