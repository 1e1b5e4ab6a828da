//! The commands of who runs no node: `headers`, `prove`, `verify`.

mod proofs;

use std::path::{Path, PathBuf};

use chain::light::LightChain;
use chain::rules::RuleError;
use serde_json::{Value, json};

use super::{TerminalError, print, show};
use crate::args::{Global, HeaderFileArgs, HeadersCommand};
use crate::client::Client;
use crate::config;
use crate::light::file::{self, Contents, HeaderFile};
use crate::light::follow::FollowError;
use crate::light::{PAUSE, begin, follow, now_s, pause};

pub(super) use proofs::{prove, verify};

/// A light client's own headers in the data folder.
const HEADERS_FILE: &str = "headers.light";

pub(super) fn headers(global: &Global, command: HeadersCommand) -> Result<(), TerminalError> {
    match command {
        HeadersCommand::Export { from, file } => export(global, from.as_deref(), &file),
        HeadersCommand::Import { from, own } => import(global, &from, &own),
        HeadersCommand::Follow { nodes, once, own } => follow(global, &nodes, once, &own),
        HeadersCommand::Show(own) => {
            let path = own_path(global, &own)?;
            let chain = read(global, &path)?;
            print(global, &shown(&chain, now_s()), show::fields)
        }
    }
}

/// Reads a file of headers, and tells of what is wrong in it.
fn read(global: &Global, path: &Path) -> Result<LightChain, TerminalError> {
    let network = config::network(global.network.as_deref())?;
    Ok(told(path, file::read(path, &network, now_s())?))
}

fn told(path: &Path, Contents { chain, left_out }: Contents) -> LightChain {
    if let Some(why) = left_out {
        let (path, height) = (path.display(), chain.tip().height);
        eprintln!("graven: {path}: nothing is read after height {height}: {why}");
    }
    chain
}

fn own_path(global: &Global, own: &HeaderFileArgs) -> Result<PathBuf, TerminalError> {
    match &own.file {
        Some(path) => Ok(path.clone()),
        None => Ok(config::data_folder(global)?.join(HEADERS_FILE)),
    }
}

fn open(global: &Global, own: &HeaderFileArgs) -> Result<(HeaderFile, LightChain), TerminalError> {
    let path = own_path(global, own)?;
    if own.file.is_none()
        && let Some(folder) = path.parent()
    {
        let fail = |source| TerminalError::Io { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let network = config::network(global.network.as_deref())?;
    let (file, contents) = HeaderFile::open(&path, &network)?;
    Ok((file, told(&path, contents)))
}

/// What a chain of headers says of itself.
fn shown(chain: &LightChain, now_s: u64) -> Value {
    let tip = chain.tip();
    let time = chain.header(tip.height).map_or(0, |header| header.time);
    json!({
        "network": chain.network().name,
        "height": tip.height,
        "hash": tip.hash.to_string(),
        "time": time,
        "age_s": now_s.saturating_sub(u64::from(time)),
        "work": chain.work().to_string(),
        "enough_work": chain.has_enough_work(),
    })
}

fn connect(global: &Global, node: Option<&str>) -> Result<Client, TerminalError> {
    match node {
        Some(name) => Ok(follow::connect(name)?),
        None => Ok(Client::open(global)?),
    }
}

fn export(global: &Global, from: Option<&str>, file: &Path) -> Result<(), TerminalError> {
    let mut client = connect(global, from)?;
    let mut chain = LightChain::new(config::network(global.network.as_deref())?);
    // Nobody else waits for a turn.
    let mut give = |locator: &[chain::Hash]| follow::ask(&mut client, begin(), locator);
    follow::catch_up(&mut chain, &mut give, &mut |_| Ok::<(), TerminalError>(()))?;
    file::write_new(file, &chain)?;
    print(global, &shown(&chain, now_s()), show::fields)
}

fn import(global: &Global, from: &Path, own: &HeaderFileArgs) -> Result<(), TerminalError> {
    let given = read(global, from)?;
    let (mut file, mut chain) = open(global, own)?;
    let mut give = |locator: &[chain::Hash]| Ok(follow::page_of(&given, locator));
    let mut save = |chain: &LightChain| Ok::<(), TerminalError>(file.save(chain)?);
    follow::catch_up(&mut chain, &mut give, &mut save)?;
    print(global, &shown(&chain, now_s()), show::fields)
}

/// Asks all nodes, again and again.
fn follow(
    global: &Global,
    nodes: &[String],
    once: bool,
    own: &HeaderFileArgs,
) -> Result<(), TerminalError> {
    let (mut file, mut chain) = open(global, own)?;
    let asked: Vec<Option<&str>> = match nodes {
        [] => vec![None],
        nodes => nodes.iter().map(|node| Some(node.as_str())).collect(),
    };
    let mut troubles: Vec<Option<String>> = vec![None; asked.len()];
    let mut told = None;
    loop {
        let mut answered = false;
        for (node, trouble) in asked.iter().zip(&mut troubles) {
            match ask(global, *node, &mut chain, &mut file) {
                Ok(()) => (answered, *trouble) = (true, None),
                Err(error @ TerminalError::Headers(_)) => return Err(error),
                Err(error) => {
                    // Its headers are as good as the clock that is wrong, its own or this one.
                    answered |= is_about_time(&error);
                    let name = node.unwrap_or("the node");
                    let now = Some(format!("graven: {name}: {error}"));
                    if *trouble != now {
                        eprintln!("{}", now.as_deref().unwrap_or_default());
                    }
                    *trouble = now;
                }
            }
        }
        if told != Some(chain.tip()) {
            told = Some(chain.tip());
            print(global, &shown(&chain, now_s()), show::fields)?;
        }
        match (once, answered) {
            (true, true) => return Ok(()),
            (true, false) => return Err(TerminalError::Nobody),
            (false, _) => pause(PAUSE),
        }
    }
}

fn is_about_time(error: &TerminalError) -> bool {
    let TerminalError::Follow(FollowError::Refused(error)) = error else { return false };
    matches!(error, RuleError::TimeTooNew { .. })
}

fn ask(
    global: &Global,
    node: Option<&str>,
    chain: &mut LightChain,
    file: &mut HeaderFile,
) -> Result<(), TerminalError> {
    let (mut client, began) = (connect(global, node)?, begin());
    let mut give = |locator: &[chain::Hash]| follow::ask(&mut client, began, locator);
    let mut save = |chain: &LightChain| Ok::<(), TerminalError>(file.save(chain)?);
    follow::catch_up(chain, &mut give, &mut save)
}
