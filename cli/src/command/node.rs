//! Commands about the node itself.

use clap::Args;

use super::{Command, Line, UsageError, Words};
use crate::request::{DEFAULT_TIMEOUT_S, Request};

pub(super) const STATUS: Command = Command {
    name: "STATUS",
    alias: None,
    usage: "",
    about: "Says what the node is doing",
    needs_auth: false,
    parse: |_| Ok(Request::Status),
};

pub(super) const PEERS: Command = Command {
    name: "PEERS",
    alias: None,
    usage: "",
    about: "Lists the connected peers",
    needs_auth: false,
    parse: |_| Ok(Request::Peers),
};

pub(super) const MINERS: Command = Command {
    name: "MINERS",
    alias: None,
    usage: "",
    about: "Lists the miners at the Stratum port and what became of their shares",
    needs_auth: false,
    parse: |_| Ok(Request::Miners),
};

pub(super) const ADD_PEER: Command = Command {
    name: "ADDPEER",
    alias: None,
    usage: "ip:port",
    about: "Keeps a connection to a peer from now on",
    needs_auth: true,
    parse: |rest| Ok(Request::AddPeer(rest.parsed("the address")?)),
};

pub(super) const MINE: Command = Command {
    name: "MINE",
    alias: None,
    usage: "[blocks] [TIMEOUT s]",
    about: "On networks mined on demand: mines blocks (1) though nothing waits",
    needs_auth: true,
    parse: parse_mine,
};

pub(super) const PING: Command = Command {
    name: "PING",
    alias: None,
    usage: "",
    about: "Answers +PONG",
    needs_auth: false,
    parse: |_| Ok(Request::Ping),
};

pub(super) const AUTH: Command = Command {
    name: "AUTH",
    alias: None,
    usage: "token",
    about: "Allows this connection to write; the token is in the data folder's admin.cookie",
    needs_auth: false,
    parse: |rest| Ok(Request::Auth(rest.required("the token")?)),
};

pub(super) const HELP: Command = Command {
    name: "HELP",
    alias: None,
    usage: "[command]",
    about: "Lists the commands, or explains one",
    needs_auth: false,
    parse: |rest| Ok(Request::Help(rest.next())),
};

pub(super) const QUIT: Command = Command {
    name: "QUIT",
    alias: None,
    usage: "",
    about: "Ends this connection",
    needs_auth: false,
    parse: |_| Ok(Request::Quit),
};

pub(super) const SHUTDOWN: Command = Command {
    name: "SHUTDOWN",
    alias: None,
    usage: "",
    about: "Stops the node cleanly",
    needs_auth: true,
    parse: |_| Ok(Request::Shutdown),
};

fn parse_mine(rest: &mut Words) -> Result<Request, UsageError> {
    let (mut blocks, mut timeout_s) = (1, DEFAULT_TIMEOUT_S);
    while let Some(word) = rest.next() {
        if word.eq_ignore_ascii_case("TIMEOUT") {
            timeout_s = rest.parsed("the timeout in seconds")?;
        } else {
            blocks = super::count("the number of blocks", &word)?;
        }
    }
    Ok(Request::Mine { blocks, timeout_s })
}

/// Keeps a connection to a peer from now on
#[derive(Args, Clone, Debug)]
pub struct AddPeerArgs {
    /// ip:port
    pub address: std::net::SocketAddr,
}

impl AddPeerArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(ADD_PEER.name).word(self.address)
    }
}

/// On networks mined on demand: mines blocks though nothing waits
#[derive(Args, Clone, Debug)]
pub struct MineBlocksArgs {
    /// How many
    #[arg(default_value_t = 1)]
    pub blocks: u32,
    /// Give up after so many seconds (exit code 4)
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
}

impl MineBlocksArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(MINE.name).word(self.blocks).option("TIMEOUT", self.timeout)
    }
}
