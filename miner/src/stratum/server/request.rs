//! What a miner's line asks for, and the lines that answer it.

use serde_json::{Value, json};

/// Longest user name, in bytes: an address, a dot and a worker's name.
const MAX_USER_BYTES: usize = 256;

/// Longest text of a miner that is echoed or kept, in bytes.
const MAX_TEXT_BYTES: usize = 64;

/// Why a request is not done: Stratum's error codes, as pools use them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Anything that has no code of its own: 20.
    #[error("{0}")]
    Other(String),
    /// The job is unknown, or was for another tip: 21.
    #[error("job not found: it is stale or was never given")]
    Stale,
    /// The same share was sent before: 22.
    #[error("duplicate share")]
    Duplicate,
    /// The hash does not meet the share's target: 23.
    #[error("low difficulty share")]
    Low,
    /// The user may not mine here, or is not authorised yet: 24.
    #[error("{0}")]
    Unauthorised(String),
    /// `mining.subscribe` must come first: 25.
    #[error("not subscribed: send mining.subscribe first")]
    NotSubscribed,
}

impl Reject {
    /// The number on the wire.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Reject::Other(_) => 20,
            Reject::Stale => 21,
            Reject::Duplicate => 22,
            Reject::Low => 23,
            Reject::Unauthorised(_) => 24,
            Reject::NotSubscribed => 25,
        }
    }

    pub(super) fn other(what: impl Into<String>) -> Reject {
        Reject::Other(what.into())
    }
}

/// A request, or the answer to one of ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// `mining.configure`: the extensions asked for, and the version bits wanted.
    Configure {
        extensions: Vec<String>,
        mask: u32,
    },
    Subscribe,
    Authorize {
        user: String,
    },
    Submit(Submission),
    SuggestDifficulty(f64),
    /// Asked for, and answered the same way by every server: yes.
    Agreed,
    Ping,
    Version,
    /// A line without a method answers something we have sent; there is nothing to do.
    Answer,
    Unknown(String),
}

/// The words of `mining.submit`, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) user: String,
    pub(super) job_id: String,
    pub(super) extranonce2: String,
    pub(super) time: String,
    pub(super) nonce: String,
    pub(super) version_bits: Option<String>,
}

/// Takes a line apart. The id comes back with what is wrong, as far as there is one.
pub(super) fn parse(line: &[u8]) -> (Value, Result<Request, Reject>) {
    let mut value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => return (Value::Null, Err(Reject::other(format!("not JSON: {error}")))),
    };
    let Some(object) = value.as_object_mut() else {
        return (Value::Null, Err(Reject::other("a request is an object")));
    };
    let id = object.remove("id").unwrap_or_default();
    if id.is_array() || id.is_object() || id.as_str().is_some_and(|id| id.len() > MAX_TEXT_BYTES) {
        let reject = Reject::other("an id is null, a number or a short text");
        return (Value::Null, Err(reject));
    }
    let method = match object.remove("method") {
        None if object.contains_key("result") || object.contains_key("error") => {
            return (id, Ok(Request::Answer));
        }
        Some(Value::String(method)) => method,
        _ => return (id, Err(Reject::other("a request has a method"))),
    };
    let params = match object.remove("params") {
        Some(Value::Array(params)) => params,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return (id, Err(Reject::other("params is a list"))),
    };
    (id, request(&method, &params))
}

fn request(method: &str, params: &[Value]) -> Result<Request, Reject> {
    Ok(match method {
        "mining.configure" => configure(params)?,
        "mining.subscribe" => Request::Subscribe,
        "mining.authorize" => Request::Authorize { user: user(params)? },
        "mining.submit" => Request::Submit(Submission {
            user: user(params)?,
            job_id: word(params, 1, "the job's id")?,
            extranonce2: word(params, 2, "extranonce2")?,
            time: word(params, 3, "ntime")?,
            nonce: word(params, 4, "the nonce")?,
            version_bits: match params.get(5) {
                None | Some(Value::Null) => None,
                Some(_) => Some(word(params, 5, "the version bits")?),
            },
        }),
        "mining.suggest_difficulty" => {
            let number = params.first().and_then(Value::as_f64);
            Request::SuggestDifficulty(number.ok_or_else(|| wrong("the difficulty", "a number"))?)
        }
        "mining.extranonce.subscribe" | "mining.suggest_target" | "mining.capabilities" => {
            Request::Agreed
        }
        "mining.ping" => Request::Ping,
        "mining.get_version" | "client.get_version" => Request::Version,
        other => Request::Unknown(short(other)),
    })
}

fn configure(params: &[Value]) -> Result<Request, Reject> {
    let names = params.first().and_then(Value::as_array);
    let names = names.ok_or_else(|| wrong("the extensions", "a list"))?;
    let extensions = names.iter().filter_map(Value::as_str).take(16).map(short).collect();
    let mask = match params.get(1).and_then(|options| options.get("version-rolling.mask")) {
        None | Some(Value::Null) => u32::MAX,
        Some(mask) => mask
            .as_str()
            .and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or_else(|| wrong("version-rolling.mask", "hex digits"))?,
    };
    Ok(Request::Configure { extensions, mask })
}

fn user(params: &[Value]) -> Result<String, Reject> {
    let user = word(params, 0, "the user")?;
    if user.len() > MAX_USER_BYTES || user.chars().any(char::is_control) {
        return Err(wrong("the user", "at most 256 bytes without control characters"));
    }
    Ok(user)
}

fn word(params: &[Value], at: usize, what: &str) -> Result<String, Reject> {
    let text = params.get(at).and_then(Value::as_str).ok_or_else(|| wrong(what, "a text"))?;
    Ok(text.to_string())
}

fn wrong(what: &str, expected: &str) -> Reject {
    Reject::other(format!("{what} must be {expected}"))
}

/// The beginning of a miner's text.
fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT_BYTES).collect()
}

/// A reply's line.
pub(super) fn reply(id: &Value, answer: Result<Value, Reject>) -> Vec<u8> {
    line(match answer {
        Ok(result) => json!({ "id": id, "result": result, "error": null }),
        Err(reject) => error(id, &reject),
    })
}

/// The line for somebody there is no place for.
#[must_use]
pub fn refusal(what: &str) -> Vec<u8> {
    line(error(&Value::Null, &Reject::other(what)))
}

fn error(id: &Value, reject: &Reject) -> Value {
    json!({ "id": id, "result": null, "error": [reject.code(), reject.to_string(), null] })
}

/// A notification's line.
pub(super) fn notification(method: &str, params: &Value) -> Vec<u8> {
    line(json!({ "id": null, "method": method, "params": params }))
}

#[expect(clippy::needless_pass_by_value, reason = "reads better at the end of a literal")]
fn line(value: Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}
