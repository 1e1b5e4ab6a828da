//! Lines of a server, understood or refused.

use std::time::Duration;

use serde_json::Value;

use super::port::{Failure, Refusal};
use crate::pow::Hash;
use crate::stratum::text::{unhex, unhex_hash, unhex_prev, unhex_u32};

/// Most bytes of a line, without its end.
pub const MAX_LINE: usize = 64 << 10;
/// Most bytes of either extranonce.
const MAX_EXTRANONCE: usize = 32;
/// Most hashes of a merkle branch: 2^32 transactions.
const MAX_BRANCH: usize = 32;
/// Most bytes of a coinbase.
const MAX_COINBASE: usize = 64 << 10;
/// Most bytes of a job's name.
const MAX_JOB_ID: usize = 256;
/// Most characters shown of a server's text.
const MAX_SHOWN: usize = 200;
/// Longest wait that a server can ask for.
const MAX_WAIT_S: u64 = 60;

/// What a server can say.
#[derive(Debug)]
pub(super) enum Message {
    /// The answer to a request of ours.
    Answer { id: u64, result: Result<Value, Refusal> },
    /// A request or a notice of its own. `id` is null when no answer is wanted.
    Call { id: Value, call: Call },
}

/// What a server can ask for.
#[derive(Debug)]
pub(super) enum Call {
    SetDifficulty(f64),
    /// `clean`: all jobs before it have ended.
    Notify {
        notify: Notify,
        clean: bool,
    },
    SetExtranonce(Extranonce),
    SetVersionMask(u32),
    Reconnect {
        host: Option<String>,
        port: Option<u16>,
        wait: Duration,
    },
    GetVersion,
    ShowMessage(String),
    Ping,
    Unknown,
}

/// A job, as `mining.notify` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notify {
    pub(super) job_id: String,
    pub(super) prev: Hash,
    pub(super) coinbase_1: Vec<u8>,
    pub(super) coinbase_2: Vec<u8>,
    pub(super) branch: Vec<Hash>,
    pub(super) version: u32,
    pub(super) bits: u32,
    pub(super) time: u32,
}

/// What a connection's coinbases have in their middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extranonce {
    /// Given by the server.
    pub(super) first: Vec<u8>,
    /// How many bytes we may choose after it, 1 to 32.
    pub(super) second_bytes: usize,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Message, Failure> {
    if line.len() > MAX_LINE {
        return Err(Failure::Broken("a line is longer than 64 KiB"));
    }
    let value: Value =
        serde_json::from_slice(line).map_err(|_| Failure::Broken("a line is not JSON"))?;
    let Value::Object(mut fields) = value else {
        return Err(Failure::Broken("a line is not a JSON object"));
    };
    let mut take = |name| fields.remove(name).unwrap_or_default();
    let (id, method) = (take("id"), take("method"));
    match method {
        Value::Null => {
            let result = refusal(&take("error")).map_or_else(|| Ok(take("result")), Err);
            match (id.as_u64(), result) {
                (Some(id), result) => Ok(Message::Answer { id, result }),
                // Said to nobody in particular: there is no place for us, or the like.
                (None, Err(refusal)) => Err(Failure::SentAway(refusal.message)),
                (None, Ok(_)) => Err(Failure::Broken("an answer has no number of a request")),
            }
        }
        Value::String(method) => {
            if !(id.is_null() || id.is_number() || id.is_string()) {
                return Err(Failure::Broken("a request's id is neither number nor text"));
            }
            Ok(Message::Call { id, call: call(&method, take("params"))? })
        }
        _ => Err(Failure::Broken("a method's name is not text")),
    }
}

fn call(method: &str, params: Value) -> Result<Call, Failure> {
    Ok(match method {
        "mining.set_difficulty" => Call::SetDifficulty(
            params[0].as_f64().ok_or(Failure::Broken("a difficulty is not a number"))?,
        ),
        "mining.notify" => notify(params)?,
        "mining.set_extranonce" => Call::SetExtranonce(extranonce(&params[0], &params[1])?),
        "mining.set_version_mask" => Call::SetVersionMask(mask(&params[0])?),
        "client.reconnect" => reconnect(&params)?,
        "client.get_version" => Call::GetVersion,
        "client.show_message" => Call::ShowMessage(shown(
            params[0].as_str().ok_or(Failure::Broken("a message to show is not text"))?,
        )),
        "mining.ping" => Call::Ping,
        _ => Call::Unknown,
    })
}

fn notify(params: Value) -> Result<Call, Failure> {
    type Fields = (String, String, String, String, Vec<String>, String, String, String, bool);
    let (job_id, prev, coinbase_1, coinbase_2, branch, version, bits, time, clean): Fields =
        serde_json::from_value(params)
            .map_err(|_| Failure::Broken("a job does not have the nine parameters"))?;
    if job_id.len() > MAX_JOB_ID {
        return Err(Failure::Broken("a job's name is longer than 256 bytes"));
    }
    if branch.len() > MAX_BRANCH {
        return Err(Failure::Broken("a job's merkle branch has more than 32 hashes"));
    }
    let branch = branch.iter().map(|hash| unhex_hash(hash)).collect::<Option<Vec<_>>>();
    let number = |text: &str| {
        unhex_u32(text).ok_or(Failure::Broken("a number of a job does not have 8 hex digits"))
    };
    let coinbase =
        |text: &str| unhex(text).ok_or(Failure::Broken("a part of a job's coinbase is not hex"));
    let (coinbase_1, coinbase_2) = (coinbase(&coinbase_1)?, coinbase(&coinbase_2)?);
    if coinbase_1.len() + coinbase_2.len() + 2 * MAX_EXTRANONCE > MAX_COINBASE {
        return Err(Failure::Broken("a job's coinbase is longer than 64 KiB"));
    }
    let notify = Notify {
        job_id,
        prev: unhex_prev(&prev)
            .ok_or(Failure::Broken("a job's previous hash does not have 64 hex digits"))?,
        coinbase_1,
        coinbase_2,
        branch: branch.ok_or(Failure::Broken("a hash of a job does not have 64 hex digits"))?,
        version: number(&version)?,
        bits: number(&bits)?,
        time: number(&time)?,
    };
    Ok(Call::Notify { notify, clean })
}

/// The answer to `mining.subscribe`: subscriptions, first extranonce, bytes of the second.
pub(super) fn subscription(result: &Value) -> Result<Extranonce, Failure> {
    extranonce(&result[1], &result[2])
}

fn extranonce(first: &Value, second_bytes: &Value) -> Result<Extranonce, Failure> {
    let first = first.as_str().and_then(unhex).filter(|first| first.len() <= MAX_EXTRANONCE);
    let first = first.ok_or(Failure::Broken("the first extranonce is not hex of 32 bytes"))?;
    let second_bytes = second_bytes.as_u64().and_then(|bytes| usize::try_from(bytes).ok());
    let second_bytes = second_bytes
        .filter(|bytes| (1..=MAX_EXTRANONCE).contains(bytes))
        .ok_or(Failure::Broken("the second extranonce does not have 1 to 32 bytes"))?;
    Ok(Extranonce { first, second_bytes })
}

/// The answer to `mining.configure`; `None` when versions are not to be rolled.
pub(super) fn configured(result: &Value) -> Result<Option<u32>, Failure> {
    if result["version-rolling"] != Value::Bool(true) {
        return Ok(None);
    }
    mask(&result["version-rolling.mask"]).map(Some)
}

/// A mask of version bits: up to 8 hex digits.
fn mask(value: &Value) -> Result<u32, Failure> {
    let digits = value.as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let mask = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    mask.ok_or(Failure::Broken("a mask of version bits does not have 8 hex digits"))
}

/// Host, port and seconds to wait; each may be missing.
fn reconnect(params: &Value) -> Result<Call, Failure> {
    let wrong = Failure::Broken("a wish to reconnect does not have host, port and seconds");
    let number = |value: &Value| match value {
        Value::Null => Some(0),
        Value::String(text) if text.is_empty() => Some(0),
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    let host = match &params[0] {
        Value::Null => None,
        Value::String(host) => Some(host.clone()).filter(|host| !host.is_empty()),
        _ => return Err(wrong),
    };
    let port = number(&params[1]).and_then(|port| u16::try_from(port).ok());
    let (Some(port), Some(wait_s)) = (port, number(&params[2])) else { return Err(wrong) };
    let wait = Duration::from_secs(wait_s.min(MAX_WAIT_S));
    Ok(Call::Reconnect { host, port: Some(port).filter(|port| *port != 0), wait })
}

/// The `error` of an answer: `[code, text, ..]`, an object with `code` and `message`, or text.
fn refusal(error: &Value) -> Option<Refusal> {
    let (code, message) = match error {
        Value::Null => return None,
        Value::Array(_) => (&error[0], &error[1]),
        Value::Object(_) => (&error["code"], &error["message"]),
        _ => (&Value::Null, error),
    };
    let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    Some(Refusal { code: code.as_i64(), message: shown(&message) })
}

/// A server's text as it may be shown on a terminal: no control characters, none that change
/// the direction of writing, and not too long.
pub(super) fn shown(text: &str) -> String {
    let is_plain = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            && !matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(is_plain).take(MAX_SHOWN).collect()
}
