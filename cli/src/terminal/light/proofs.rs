//! `prove` and `verify`.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use chain::header::Header;
use chain::landmarks::Checkpoint;
use kv::proof::{Finding, Proven};
use kv::{Entry, VersionKind};
use serde_json::{Map, Value, json};

use crate::args::{Global, ProveArgs, VerifyArgs};
use crate::client::{Client, ClientError, MAX_LINE_BYTES};
use crate::command::{Line, headers_from};
use crate::config;
use crate::light::follow::ask_for;
use crate::light::proof::{MAX_FILE_BYTES, MAX_HEADERS, ProofFile};
use crate::light::verify::{self, Doubt, Trust, Verified, Wanted};
use crate::light::{PATIENCE, begin, now_s, pause};
use crate::reads::put_entry;
use crate::reply::{Code, Failure, put_bytes};
use crate::terminal::{TerminalError, print, show, write_out};
use crate::words;

/// Between two looks for more confirmations.
const PAUSE: Duration = Duration::from_millis(200);

pub(in crate::terminal) fn prove(global: &Global, args: &ProveArgs) -> Result<(), TerminalError> {
    let verb = if args.history { "RETRIEVE_ALL" } else { "RETRIEVE" };
    let line = Line::new(verb).typed(&args.key).word("PROVE");
    let mut client = Client::open(global)?;
    let began = begin();
    client.be_patient(began, PATIENCE.max(Duration::from_secs(args.timeout)));
    let file = loop {
        let mut file: ProofFile = client.request_as(&line, MAX_LINE_BYTES)?;
        if args.confirmations <= 1 && args.since.is_none() {
            break file;
        }
        // A block that leaves the chain in between gives way to another proof.
        if let Some(headers) = headers(&mut client, &file, args, began)? {
            file.headers = headers;
            break file;
        }
        wait(args, began, "the node's headers do not lead to its proof's block")?;
    };
    write_out(format!("{}\n", file.to_json()).as_bytes())
}

/// Lets some time pass before the node is asked again.
///
/// # Errors
/// When there is none left, with what it was waited for.
fn wait(args: &ProveArgs, began: Instant, what: impl Display) -> Result<(), ClientError> {
    if began.elapsed() > Duration::from_secs(args.timeout) {
        return Err(Failure::new(Code::Timeout, what).into());
    }
    pause(PAUSE);
    Ok(())
}

/// Waits for the headers that were asked for; `None` when the proof's block is not among them.
fn headers(
    client: &mut Client,
    file: &ProofFile,
    args: &ProveArgs,
    began: Instant,
) -> Result<Option<Vec<Header>>, TerminalError> {
    let height = file.proof.coinbase.height;
    let first = args.since.unwrap_or(height);
    let Some(before) = height.checked_sub(first) else {
        let what = format!("--since {first}: the proof's block is at height {height}");
        return Err(TerminalError::Usage(what));
    };
    let count = before as usize + args.confirmations.max(1) as usize;
    if count > MAX_HEADERS {
        let what = format!("a proof has at most {MAX_HEADERS} headers, not {count}");
        return Err(TerminalError::Usage(what));
    }
    let mut headers: Vec<Header> = Vec::new();
    while headers.len() < count {
        let have = u32::try_from(headers.len()).expect("counted above");
        let next = first.checked_add(have).ok_or_else(|| {
            let what = format!("no block comes after the proof's, at height {height}");
            ClientError::Unexpected(what)
        })?;
        let page = ask_for(client, &headers_from(next))?;
        let is_linked = |pair: &[Header]| pair[0].hash() == pair[1].prev;
        let joined: Vec<Header> = headers.last().into_iter().chain(&page).copied().collect();
        if !joined.windows(2).all(is_linked) {
            return Ok(None);
        }
        if page.is_empty() {
            let deep = headers.len().saturating_sub(before as usize);
            wait(args, began, format_args!("the block is only {deep} deep"))?;
        }
        headers.extend(page);
    }
    headers.truncate(count);
    let block = headers.get(before as usize).map(Header::hash);
    Ok((block == Some(file.proof.block)).then_some(headers))
}

pub(in crate::terminal) fn verify(global: &Global, args: &VerifyArgs) -> Result<(), TerminalError> {
    let network = config::network(global.network.as_deref())?;
    let bytes = read_file(&args.proof)?;
    let file = ProofFile::read(&bytes).map_err(Doubt::from)?;
    if let Some(key) = &args.key {
        let key = words::decode(key).map_err(|error| TerminalError::Usage(error.to_string()))?;
        if key != file.key {
            return Err(Doubt::Refuted("the proof is for another key".to_string()).into());
        }
    }
    let unreadable = |error: TerminalError| TerminalError::Usage(error.to_string());
    let chain = args.headers.as_deref().map(|path| super::read(global, path));
    let chain = chain.transpose().map_err(unreadable)?;
    let trust = match (&chain, &args.checkpoint) {
        (Some(chain), _) => Trust::Headers(chain),
        (None, Some(checkpoint)) => known(checkpoint)?,
        (None, None) => Trust::Nothing,
    };
    let wanted = Wanted {
        min_confirmations: args.min_confirmations,
        max_confirmations: args.max_confirmations,
        max_age_s: args.max_age,
        now_s: now_s(),
    };
    let verified = verify::verify(&file, &network, trust, wanted)?;
    let value = shown(&verified, wanted.now_s);
    print(global, &value, person)
}

/// A block by its hash, or by height and hash.
fn known(text: &str) -> Result<Trust<'static>, TerminalError> {
    let known = match text.parse::<Checkpoint>() {
        Ok(Checkpoint { height, hash }) => Some((hash, Some(height))),
        Err(_) => text.parse::<chain::Hash>().ok().map(|hash| (hash, None)),
    };
    let (hash, height) = known.ok_or_else(|| {
        let what =
            format!("--checkpoint {text:?} is neither a hash of 64 hex digits nor HEIGHT:HASH");
        TerminalError::Usage(what)
    })?;
    Ok(Trust::Checkpoint { hash, height })
}

/// Reads a proof, or standard input for `-`.
fn read_file(path: &Path) -> Result<Vec<u8>, TerminalError> {
    let limit = MAX_FILE_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| TerminalError::Usage(format!("{}: {error}", path.display())))?;
    Ok(bytes)
}

/// What was proven, and nothing that was not.
fn shown(verified: &Verified, now_s: u64) -> Value {
    let Verified { proven, confirmations, tip, tip_time, trust } = verified;
    let Proven { key, block, time, finding } = proven;
    let age_s = |time: u32| now_s.saturating_sub(u64::from(time));
    let mut object = Map::new();
    object.insert("proven".to_string(), true.into());
    put_bytes(&mut object, "key", key);
    match finding {
        Finding::Absent => {
            object.insert("found".to_string(), "never written".into());
        }
        Finding::Written { owner, policy, is_complete, versions } => {
            let last = versions.last().expect("a proof shows a version");
            let found = match last.kind {
                VersionKind::Put => "value",
                VersionKind::Delete => "deleted",
            };
            object.insert("found".to_string(), found.into());
            put_entry(&mut object, last, None);
            object.insert("owner".to_string(), owner.to_string().into());
            object.insert("policy".to_string(), json!(policy));
            object.insert("history".to_string(), history(*is_complete, versions).into());
            let all = versions.iter().map(|entry| {
                let mut object = Map::new();
                put_entry(&mut object, entry, None);
                Value::Object(object)
            });
            object.insert("versions".to_string(), all.collect::<Vec<Value>>().into());
        }
    }
    let more = json!({
        "as_of_height": block.height,
        "as_of_block": block.hash.to_string(),
        "as_of_time": time,
        "as_of_age_s": age_s(*time),
        "confirmations": confirmations,
        "tip_height": tip.height,
        "tip_hash": tip.hash.to_string(),
        "tip_age_s": age_s(*tip_time),
        "trust": trust,
    });
    if let Value::Object(more) = more {
        object.extend(more);
    }
    object.into()
}

fn history(is_complete: bool, versions: &[Entry]) -> &'static str {
    match (is_complete, versions.len()) {
        (true, _) => "complete",
        (false, 1) => "latest version only",
        (false, _) => "latest versions only",
    }
}

/// Every field on its own line, and more than one version as a table below.
fn person(value: &Value) -> String {
    let mut shown = value.clone();
    let versions = shown.as_object_mut().and_then(|fields| fields.shift_remove("versions"));
    let count = versions.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    let table = if count > 1 { show::history(value) } else { String::new() };
    format!("{}{table}", show::fields(&shown))
}
