//! `BAN`, `UNBAN`, `BANS`: addresses the node has nothing to do with.

use clap::Args;
use net::Subnet;

use super::{Command, Line, UsageError, Words};
use crate::bans::DEFAULT_SECONDS;
use crate::request::Request;

pub(super) const BAN: Command = Command {
    name: "BAN",
    alias: None,
    usage: "ip[/prefix] [seconds]",
    about: "Neither lets these addresses in nor dials them, for a time (86400 s)",
    needs_auth: true,
    parse,
};

pub(super) const UNBAN: Command = Command {
    name: "UNBAN",
    alias: None,
    usage: "ip[/prefix]",
    about: "Takes a ban back",
    needs_auth: true,
    parse: |rest| Ok(Request::Unban(rest.parsed("the address")?)),
};

pub(super) const BANS: Command = Command {
    name: "BANS",
    alias: None,
    usage: "",
    about: "Lists the bans",
    needs_auth: false,
    parse: |_| Ok(Request::Bans),
};

fn parse(rest: &mut Words) -> Result<Request, UsageError> {
    let subnet = rest.parsed("the address")?;
    let seconds = match rest.next() {
        None => DEFAULT_SECONDS,
        Some(word) => word
            .parse()
            .ok()
            .filter(|seconds| *seconds > 0)
            .ok_or_else(|| UsageError(format!("a ban lasts some seconds, not {word:?}")))?,
    };
    Ok(Request::Ban { subnet, seconds })
}

/// Neither let addresses in nor dial them, for a time
#[derive(Args, Clone, Debug)]
pub struct BanArgs {
    /// ip, or ip/prefix for all addresses that begin with the same bits
    pub address: Subnet,
    /// For how long
    #[arg(default_value_t = DEFAULT_SECONDS)]
    pub seconds: u64,
}

impl BanArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(BAN.name).word(self.address).word(self.seconds)
    }
}

/// Take a ban back
#[derive(Args, Clone, Debug)]
pub struct UnbanArgs {
    /// ip or ip/prefix, as `graven bans` shows it
    pub address: Subnet,
}

impl UnbanArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(UNBAN.name).word(self.address)
    }
}
