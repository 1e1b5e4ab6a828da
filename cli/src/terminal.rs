//! Executes what was typed, and shows the answer to a person or a program.

mod bench;
mod bulk;
mod light;
mod show;
mod upkeep;
mod wallet;

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::args::{Cli, Command, Global};
use crate::bench::BenchError;
use crate::client::{Client, ClientError, Reply};
use crate::command::{Line, RetrieveAllArgs, RetrieveArgs, ScanArgs, WatchArgs};
use crate::config::{self, ConfigError, NodeConfig};
use crate::demo::{self, DemoError};
use crate::import::ImportError;
use crate::light::file::HeaderFileError;
use crate::light::follow::FollowError;
use crate::light::verify::Doubt;
use crate::mine::{self, MineConfig, MineError};
use crate::node::{self, NodeError};
use crate::reply::{Code, get_bytes};
use crate::upkeep::UpkeepError;
use crate::wallet::WalletError;

/// Entries that one request of a page asks for.
const PAGE: usize = 500;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// The node could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The settings make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node could not run.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Mining for a server ended.
    #[error(transparent)]
    Mine(#[from] MineError),
    /// Upkeep failed.
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The demo did not go as it should.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// A measurement was not possible.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The kernel is unknown.
    #[error(transparent)]
    Kernel(#[from] miner::KernelError),
    /// Not all of a file was written.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A proof proves nothing.
    #[error(transparent)]
    Doubt(#[from] Doubt),
    /// None of those who were asked gave headers that are any good.
    #[error("no node gave headers")]
    Nobody,
    /// A file of headers.
    #[error(transparent)]
    Headers(#[from] HeaderFileError),
    /// Headers of others.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A file or the terminal.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The words make no sense.
    #[error("{0}")]
    Usage(String),
}

impl TerminalError {
    /// The process's exit code.
    pub fn exit(&self) -> u8 {
        match self {
            TerminalError::Client(ClientError::Refused(failure)) => failure.code.exit(),
            TerminalError::Client(ClientError::Late(_)) => Code::Timeout.exit(),
            TerminalError::Doubt(doubt) => doubt.exit(),
            TerminalError::Import(error) => error.exit(),
            TerminalError::Client(ClientError::Config(_))
            | TerminalError::Config(_)
            | TerminalError::Kernel(_)
            | TerminalError::Bench(BenchError::Usage(_))
            | TerminalError::Usage(_) => Code::Usage.exit(),
            _ => 1,
        }
    }
}

/// Executes a command.
///
/// # Errors
/// What it failed of.
pub fn execute(cli: Cli) -> Result<(), TerminalError> {
    let Cli { global, command } = cli;
    let request = |line: Line| Ok(Client::open(&global)?.request(&line)?);
    let show = |answer: Result<Value, TerminalError>, human: fn(&Value) -> String| {
        answer.and_then(|value| print(&global, &value, human))
    };
    match command {
        Command::Node(args) => Ok(node::run(&NodeConfig::new(&global, args)?)?),
        Command::Put(args) => {
            let file = args.file.as_deref().map(read_file).transpose()?;
            show(request(args.line(file.as_deref())), show::written)
        }
        Command::Retrieve(args) => retrieve(&global, &args),
        Command::RetrieveAll(args) => retrieve_all(&global, &args),
        Command::Delete(args) => show(request(args.line()), show::written),
        Command::HandOver(args) => show(request(args.line()), show::written),
        Command::Batch(args) => show(request(args.line()), show::written),
        Command::Scan(args) => scan(&global, &args),
        Command::Import(args) => bulk::import(&global, &args),
        Command::Export(args) => bulk::export(&global, &args),
        Command::Watch(args) => watch(&global, &args),
        Command::Tx(args) => show(request(args.line()), show::fields),
        Command::Wait(args) => show(request(args.line()), show::written),
        Command::Block(args) => show(request(args.line()), show::fields),
        Command::Prove(args) => light::prove(&global, &args),
        Command::Verify(args) => light::verify(&global, &args),
        Command::Headers(command) => light::headers(&global, command),
        Command::Status => show(request(Line::new("STATUS")), show::status),
        Command::Peers => show(request(Line::new("PEERS")), show::peers),
        Command::Miners => show(request(Line::new("MINERS")), show::miners),
        Command::AddPeer(args) => show(request(args.line()), show::fields),
        Command::Ban(args) => show(request(args.line()), show::fields),
        Command::Unban(args) => show(request(args.line()), show::fields),
        Command::Bans => show(request(Line::new("BANS")), show::bans),
        Command::Mine(args) => match &args.stratum {
            None => show(request(args.blocks.line()), show::fields),
            Some(server) => {
                let style = if global.json { mine::Style::Json } else { mine::Style::Person };
                Ok(mine::run(&MineConfig::new(server, &args)?, style)?)
            }
        },
        Command::Shutdown => show(request(Line::new("SHUTDOWN")), show::fields),
        Command::Wallet(command) => wallet::execute(&global, command),
        Command::Backup(args) => upkeep::backup(&global, &args),
        Command::Snapshot(command) => upkeep::snapshot(&global, &command),
        Command::VerifyChain => upkeep::verify_chain(&global),
        Command::Reindex(args) => upkeep::reindex(&global, &args),
        Command::DumpIndex => upkeep::dump_index(&global),
        Command::ShowNetwork => {
            let network = config::network(global.network.as_deref())?;
            let genesis = network.genesis_hash();
            write_out(format!("# genesis {genesis}\n{}", network.to_toml()).as_bytes())
        }
        Command::Bench(command) => bench::execute(&global, command),
        Command::Demo => Ok(demo::run()?),
    }
}

/// A bar on standard error for work that may take long; silent where nobody looks.
pub fn progress_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {eta} {msg}")
        .expect("the template is well formed");
    bar.set_style(style);
    bar.set_prefix(what);
    bar
}

fn retrieve(global: &Global, args: &RetrieveArgs) -> Result<(), TerminalError> {
    let value = Client::open(global)?.request(&args.line())?;
    if args.raw {
        return write_out(&get_bytes(&value, "value").unwrap_or_default());
    }
    print(global, &value, show::value)
}

/// Reads page after page, and shows all versions as one answer.
fn retrieve_all(global: &Global, args: &RetrieveAllArgs) -> Result<(), TerminalError> {
    let mut client = Client::open(global)?;
    let mut after = args.after;
    let mut whole: Option<Value> = None;
    loop {
        let have = whole.as_ref().and_then(|all| all["versions"].as_array()).map_or(0, Vec::len);
        let limit = args.limit.map_or(PAGE, |limit| limit.get() - have).min(PAGE);
        let page = client.request(&args.line(limit, after))?;
        after = page["next"].as_u64();
        let all = append(whole.take(), page, "versions");
        let have = all["versions"].as_array().map_or(0, Vec::len);
        if after.is_none() || args.limit.is_some_and(|limit| have >= limit.get()) {
            return print(global, &all, show::history);
        }
        whole = Some(all);
    }
}

fn scan(global: &Global, args: &ScanArgs) -> Result<(), TerminalError> {
    let mut client = Client::open(global)?;
    let mut after = args.after.as_ref().map(|key| key.clone().into_bytes());
    let mut whole: Option<Value> = None;
    loop {
        let have = whole.as_ref().and_then(|all| all["keys"].as_array()).map_or(0, Vec::len);
        let limit = args.limit.map_or(PAGE, |limit| limit.get() - have).min(PAGE);
        let page = client.request(&args.line(limit, after.as_deref()))?;
        after = get_bytes(&page, "next");
        let all = append(whole.take(), page, "keys");
        let have = all["keys"].as_array().map_or(0, Vec::len);
        if after.is_none() || args.limit.is_some_and(|limit| have >= limit.get()) {
            return print(global, &all, show::keys);
        }
        whole = Some(all);
    }
}

/// Appends a page to those before it.
fn append(whole: Option<Value>, mut page: Value, list: &str) -> Value {
    if let Some(mut whole) = whole
        && let Some(before) = whole[list].as_array_mut()
    {
        let mut all = std::mem::take(before);
        all.extend(page[list].as_array_mut().map(std::mem::take).unwrap_or_default());
        page[list] = all.into();
    }
    page
}

fn watch(global: &Global, args: &WatchArgs) -> Result<(), TerminalError> {
    let mut client = Client::open(global)?;
    client.request(&args.line())?;
    loop {
        if let Reply::Event(event) = client.receive()? {
            print(global, &event, show::event)?;
        }
    }
}

/// Prints an answer: JSON for programs, a person's form else.
fn print(
    global: &Global,
    value: &Value,
    human: impl Fn(&Value) -> String,
) -> Result<(), TerminalError> {
    let text = if global.json { value.to_string() } else { human(value) };
    write_out(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

fn write_out(bytes: &[u8]) -> Result<(), TerminalError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(stdout_error)
}

fn stdout_error(source: std::io::Error) -> TerminalError {
    TerminalError::Io { path: PathBuf::from("standard output"), source }
}

/// Reads a file, or standard input for `-`.
fn read_file(path: &Path) -> Result<Vec<u8>, TerminalError> {
    let read = || {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            std::fs::read(path)
        }
    };
    read().map_err(|source| TerminalError::Io { path: path.to_path_buf(), source })
}

/// Whether a person is there to be asked.
fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Time between two looks at something that is about to happen.
pub(crate) const POLL: Duration = Duration::from_millis(20);
