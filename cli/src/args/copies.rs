//! What may be typed after `backup` and `snapshot`.

use std::path::PathBuf;

use chain::snapshot::{MAX_DEPTH, STANDARD_DEPTH};
use clap::{Args, Subcommand};

/// Copies the data folder into a new one that a node can start from
///
/// The node may be running and go on writing: the copy is of one moment, and has all that was
/// confirmed before it began. It is checked before it gets its name. It has the chain, the state
/// and what waits for a block; it has no wallet unless that is asked for, and no peers, bans or
/// keys of the node.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The folder to make; must not be there
    #[arg(value_name = "DIR")]
    pub target: PathBuf,
    /// Copy the wallet too: whoever has the copy can spend its coins and write its keys, and two
    /// nodes must never run with one wallet
    #[arg(long)]
    pub with_wallet: bool,
}

/// The state as a file
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Write the state of some blocks ago into a file, from the folder of a running node too
    Create(CreateArgs),
    /// Make a data folder of such a file, if all of it is true
    Restore(RestoreArgs),
}

/// Writes the state of some blocks ago into a new file
///
/// The file has all headers of the chain up to a block, that block, and every key with all its
/// versions as of it. Nodes that have the same chain make the same file.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// The file to make; must not be there
    pub file: PathBuf,
    /// Take the state so many blocks below the tip
    #[arg(
        long,
        value_name = "BLOCKS",
        default_value_t = STANDARD_DEPTH,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_DEPTH))
    )]
    pub depth: u32,
}

/// Makes a data folder of a snapshot, so that a node can start without the blocks before it
///
/// Nothing in the file is believed: headers are checked by every rule, and the state must be the
/// one that the last block commits to. What remains is the question whether this is the chain with
/// the most work; a node that starts on the folder asks its peers, and these flags and the
/// network's landmarks answer it beforehand.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The snapshot
    pub file: PathBuf,
    /// Refuse a chain with less work than this, in hashes as `graven status` shows it
    #[arg(long, env = "GRAVEN_MINIMUM_WORK", value_name = "HASHES")]
    pub minimum_work: Option<String>,
    /// Refuse a chain that has another block at this height (repeatable)
    #[arg(
        long = "checkpoint",
        env = "GRAVEN_CHECKPOINTS",
        value_name = "HEIGHT:HASH",
        value_delimiter = ','
    )]
    pub checkpoints: Vec<String>,
}
