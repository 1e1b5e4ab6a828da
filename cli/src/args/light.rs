//! What a light client is told: `headers`, `prove`, `verify`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Headers without a node of one's own
#[derive(Debug, Subcommand)]
pub enum HeadersCommand {
    /// Write a file with all headers of a node, checked
    Export {
        /// The node's admin port, host:port [default: as for other commands]
        #[arg(long, value_name = "NODE")]
        from: Option<String>,
        /// The new file; one that is there is replaced
        file: PathBuf,
    },
    /// Take over the headers of such a file, if they have more work
    Import {
        /// The file to read
        from: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        own: HeaderFileArgs,
    },
    /// Ask nodes for headers and keep the chain with the most work, until interrupted
    Follow {
        /// The admin port of a node to ask, host:port (repeatable) [default: as for other commands]
        #[arg(long = "node", value_name = "NODE")]
        nodes: Vec<String>,
        /// Ask each of them once
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        own: HeaderFileArgs,
    },
    /// Say how far the headers go
    #[command(visible_alias = "status")]
    Show(HeaderFileArgs),
}

/// The light client's own headers
#[derive(Args, Clone, Debug)]
pub struct HeaderFileArgs {
    /// The light client's own file [default: headers.light in the data folder]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Asks the node for a proof of a key's latest value, and prints it
///
/// It is a file for `graven verify`. If the key was never written, it proves that.
#[derive(Args, Clone, Debug)]
pub struct ProveArgs {
    /// The key
    pub key: String,
    /// Prove all versions of the key
    #[arg(long)]
    pub history: bool,
    /// Wait until the block is so deep, and add the headers of those on top
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub confirmations: u32,
    /// Add the headers from this height on, so that they lead from a checkpoint there to the block
    #[arg(long, value_name = "HEIGHT")]
    pub since: Option<u32>,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "S", default_value_t = 600)]
    pub timeout: u64,
}

/// Checks a proof without any node
///
/// Exit codes: 0 proven, 1 refuted, 2 malformed, 3 not enough work or confirmations, 4 stale.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The proof ('-' = standard input)
    pub proof: PathBuf,
    /// The proof must be for this key
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Its block must be on this chain of headers
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
    pub headers: Option<PathBuf>,
    /// Its own headers must lead from this block to its block, or from its block to this one.
    /// Of one before its block the height is needed too
    #[arg(long, value_name = "[HEIGHT:]HASH")]
    pub checkpoint: Option<String>,
    /// The block must be so deep, itself counted
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_confirmations: u32,
    /// The block must be no deeper: what it says may have changed since
    // With a checkpoint, headers are the prover's, and he leaves out those he likes.
    #[arg(long, value_name = "N", conflicts_with = "checkpoint")]
    pub max_confirmations: Option<u32>,
    /// The block must be no older, in seconds
    #[arg(long, value_name = "S")]
    pub max_age: Option<u64>,
}
