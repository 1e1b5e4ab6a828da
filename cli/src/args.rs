//! What may be typed on the terminal: clap, and nothing else.

mod bulk;
mod copies;
mod light;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::bench;
use crate::command::{
    AddPeerArgs, BalanceArgs, BanArgs, BatchArgs, BlockArgs, DeleteArgs, HandOverArgs,
    MineBlocksArgs, PutArgs, RetrieveAllArgs, RetrieveArgs, ScanArgs, SendArgs, TransactionArgs,
    UnbanArgs, WaitArgs, WatchArgs,
};

pub use bulk::{ExportArgs, ImportArgs};
pub use copies::{BackupArgs, CreateArgs, RestoreArgs, SnapshotCommand};
pub use light::{HeaderFileArgs, HeadersCommand, ProveArgs, VerifyArgs};

/// A key-value store whose history nobody can rewrite.
///
/// `graven node` runs a node; the other commands talk to one. Try `graven demo` first.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 timed out.
#[derive(Debug, Parser)]
#[command(name = "graven", version)]
pub struct Cli {
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Command,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub global: Global,
}

/// Flags that every command knows
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct Global {
    /// The network: main, test, dev, or the path of a network file [default: dev]
    #[arg(long, global = true, env = "GRAVEN_NETWORK", value_name = "N")]
    pub network: Option<String>,
    /// The data folder [default: the platform's, one folder a network]
    #[arg(long, global = true, env = "GRAVEN_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The admin port [default: a node listens at 127.0.0.1:7401, a client looks into the data
    /// folder first]
    #[arg(long, global = true, env = "GRAVEN_ADMIN", value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node
    Node(NodeArgs),
    /// Write the next version of a key
    Put(PutArgs),
    /// Read a key's latest value, or an older one
    #[command(visible_alias = "get")]
    Retrieve(RetrieveArgs),
    /// Read all versions of a key
    #[command(visible_alias = "history")]
    RetrieveAll(RetrieveAllArgs),
    /// End a key's value; its history stays
    Delete(DeleteArgs),
    /// Make somebody else the owner of a key
    HandOver(HandOverArgs),
    /// Do several writes in one transaction: all of them or none
    Batch(BatchArgs),
    /// List the keys that start with a prefix
    Scan(ScanArgs),
    /// Write the operations of a file, many to a transaction
    Import(ImportArgs),
    /// Print keys and their latest values as lines that import reads
    Export(ExportArgs),
    /// Print events about writes to keys, until interrupted
    Watch(WatchArgs),
    /// Say where a transaction stands
    Tx(TransactionArgs),
    /// Wait until a transaction has enough confirmations
    Wait(WaitArgs),
    /// Show a block and its transactions
    Block(BlockArgs),
    /// Have a key's value proven, for whoever trusts no node
    Prove(ProveArgs),
    /// Check a proof, without any node
    Verify(VerifyArgs),
    /// Keep headers alone, and trust no node
    #[command(subcommand)]
    Headers(HeadersCommand),
    /// Say what the node is doing
    Status,
    /// List the node's peers
    Peers,
    /// List the miners at the node's Stratum port, and what became of their shares
    Miners,
    /// Make the node keep a connection to a peer
    AddPeer(AddPeerArgs),
    /// Neither let addresses in nor dial them, for a time
    Ban(BanArgs),
    /// Take a ban back
    Unban(UnbanArgs),
    /// List the bans
    Bans,
    /// Mine for a Stratum server, or blocks on demand
    Mine(MineArgs),
    /// Stop the node cleanly
    Shutdown,
    /// Keys and coins
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Copy the data folder, of a running node too
    Backup(BackupArgs),
    /// Hand the state over as a file that new nodes start from
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Check every rule from genesis on, with the node stopped
    VerifyChain,
    /// Rebuild the index from the block log, with the node stopped
    Reindex(ReindexArgs),
    /// Print every row of the index, to compare two nodes, with the node stopped
    DumpIndex,
    /// Print the network's parameters as a network file
    ShowNetwork,
    /// Measure
    #[command(subcommand)]
    Bench(BenchCommand),
    /// See three nodes keep one store: put, conflict, kill, catch up
    Demo,
}

/// Runs a node
///
/// Every flag can also be set in the file that --config names, and the flags with an environment
/// variable by that; a flag wins over the variable, the variable over the file.
#[derive(Args, Clone, Debug, Default)]
pub struct NodeArgs {
    /// Where peers connect to; port 0 = any free one [default: 0.0.0.0:7400]
    #[arg(long, env = "GRAVEN_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// A peer to stay connected to, host:port (repeatable)
    #[arg(long = "peer", env = "GRAVEN_PEERS", value_name = "ADDR", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Likewise, and have no other peers at all (repeatable)
    #[arg(long, env = "GRAVEN_CONNECT", value_name = "ADDR", value_delimiter = ',')]
    pub connect: Vec<String>,
    /// A file of peers to begin with, one host:port a line, besides those of the network
    #[arg(long, env = "GRAVEN_SEEDS", value_name = "FILE")]
    pub seeds: Option<PathBuf>,
    /// Mine, with so many threads; 0 = do not [default: 1 on networks mined on demand, else 0;
    /// without a number: all cores but one]
    #[arg(
        long,
        env = "GRAVEN_MINE",
        value_name = "THREADS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto"
    )]
    pub mine: Option<String>,
    /// The mining kernel [default: the fastest, measured]; `graven bench hash` lists them
    #[arg(long, env = "GRAVEN_KERNEL", value_name = "NAME")]
    pub kernel: Option<String>,
    /// Keep each mining thread on a core of its own (Linux)
    #[arg(long, env = "GRAVEN_PIN", value_parser = clap::builder::BoolishValueParser::new())]
    pub pin: bool,
    /// Who receives what this node mines [default: its own wallet]
    #[arg(long, env = "GRAVEN_PAYEE", value_name = "ADDRESS")]
    pub payee: Option<String>,
    /// Give work to miners of all makes at this address (Stratum v1) [without an address:
    /// 127.0.0.1:7402]
    #[arg(
        long,
        env = "GRAVEN_STRATUM",
        value_name = "ADDR",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:7402"
    )]
    pub stratum: Option<SocketAddr>,
    /// Keep at most about so many MiB of block bodies: the oldest go, but never those of the newest
    /// 288 blocks; reads, history and proofs stay [default: keep all]
    #[arg(long, env = "GRAVEN_PRUNE", value_name = "MIB")]
    pub prune: Option<NonZeroU32>,
    /// Keep no headers of chains with less work than this, in hashes as `graven status` shows it
    /// [default: the network's]
    #[arg(long, env = "GRAVEN_MINIMUM_WORK", value_name = "HASHES")]
    pub minimum_work: Option<String>,
    /// Refuse chains that have another block at this height (repeatable), besides the network's
    /// checkpoints
    #[arg(
        long = "checkpoint",
        env = "GRAVEN_CHECKPOINTS",
        value_name = "HEIGHT:HASH",
        value_delimiter = ','
    )]
    pub checkpoints: Vec<String>,
    /// Do not look at the signatures in this block and its ancestors, once two weeks of work lie
    /// on top [default: the network's]
    #[arg(long, env = "GRAVEN_ASSUME_VALID", value_name = "HASH")]
    pub assume_valid: Option<String>,
    /// A TOML file with these settings
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passphrase: PassphraseArgs,
}

/// Rebuilds the index from the block log
///
/// Every rule is checked again. The node must be stopped.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ReindexArgs {
    /// Leave out what of the log is damaged or pruned: a node with peers then fetches what is
    /// missing from them. Until it has, the chain here is shorter
    #[arg(long)]
    pub skip_damaged: bool,
}

/// Where the wallet's passphrase comes from
#[derive(Args, Clone, Debug, Default)]
pub struct PassphraseArgs {
    /// A file whose first line is the wallet's passphrase
    #[arg(long, env = "GRAVEN_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Mines, in one of two ways
///
/// `graven mine --stratum HOST:PORT --user NAME` mines for a Stratum v1 server, a Graven node's or
/// a pool's, until it is interrupted. `graven mine [BLOCKS]` asks the node to mine blocks though
/// nothing waits, on networks mined on demand.
#[derive(Args, Clone, Debug)]
pub struct MineArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub blocks: MineBlocksArgs,
    /// Mine for the Stratum v1 server at HOST:PORT or stratum+tcp://HOST:PORT, until interrupted
    #[arg(
        long,
        value_name = "HOST:PORT",
        requires = "user",
        conflicts_with_all = ["blocks", "timeout"],
        help_heading = "For a Stratum server"
    )]
    pub stratum: Option<String>,
    /// Who mines, as the server knows it: an address at a Graven node, at a pool an account and
    /// often .WORKER
    #[arg(long, value_name = "NAME", requires = "stratum", help_heading = "For a Stratum server")]
    pub user: Option<String>,
    /// The user's password; most servers take any
    #[arg(
        long,
        value_name = "X",
        default_value = "x",
        requires = "stratum",
        help_heading = "For a Stratum server"
    )]
    pub password: String,
    /// Mining threads [default: all cores]
    #[arg(long, value_name = "N", requires = "stratum", help_heading = "For a Stratum server")]
    pub threads: Option<usize>,
    /// The mining kernel [default: the fastest, measured]; `graven bench hash` lists them
    #[arg(long, value_name = "NAME", requires = "stratum", help_heading = "For a Stratum server")]
    pub kernel: Option<String>,
    /// Keep each thread on a core of its own (Linux)
    #[arg(long, requires = "stratum", help_heading = "For a Stratum server")]
    pub pin: bool,
}

/// Keys and coins
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make the data folder's wallet, before the node does
    New {
        /// Encrypt it with a passphrase
        #[arg(long)]
        encrypt: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        passphrase: PassphraseArgs,
    },
    /// Print the wallet's address
    Address(PassphraseArgs),
    /// Show an account's coins (asks the node)
    Balance(BalanceArgs),
    /// Pay coins (asks the node)
    Pay(SendArgs),
    /// Print the secret key: whoever has it has everything
    Export(PassphraseArgs),
    /// Make the data folder's wallet of an exported key
    Import {
        /// The exported text ('-' = standard input)
        file: PathBuf,
        /// Encrypt it with a passphrase
        #[arg(long)]
        encrypt: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        passphrase: PassphraseArgs,
    },
}

/// What to measure
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Reads a second at a node of its own, and how long each takes, while it mines and while not
    Get(bench::GetArgs),
    /// Puts a second that a node of its own confirms, and how long each takes
    Put(bench::PutArgs),
    /// How long reads at a node of its own take while as much is written as can be
    Mixed(bench::MixedArgs),
    /// Proofs a second that a node of its own makes and a client checks, and how long they are
    Prove(bench::ProveArgs),
    /// What a node of its own costs as it has more and more keys: memory, disk, start, reads
    Scale(bench::ScaleArgs),
    /// How fast a new node gets a chain from two peers
    Sync(bench::SyncArgs),
    /// Hashes a second, by mining kernel and number of threads
    Hash {
        /// Measure with so many threads [default: 1, 2, 4 .. up to all cores]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Measure this kernel only
        #[arg(long, value_name = "NAME")]
        kernel: Option<String>,
        /// Seconds a row
        #[arg(long, value_name = "S", default_value_t = 3.0)]
        seconds: f64,
        /// Keep each thread on a core of its own (Linux)
        #[arg(long)]
        pin: bool,
        /// Draw the rates as a picture into this file (SVG)
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
}

/// What the flag `--pin` means.
pub fn pin(is_set: bool) -> miner::Pin {
    if is_set { miner::Pin::OneCoreEach } else { miner::Pin::AnyCore }
}
