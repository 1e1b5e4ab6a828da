//! The one line grammar of terminal and admin port: a table of commands, one file each.
//!
//! On the port a command is a line of words; on the terminal its flags become the same words.

mod account;
mod ban;
mod batch;
mod block;
mod get;
mod headers;
mod history;
mod node;
mod put;
mod scan;
mod transaction;
mod watch;

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::str::FromStr;

use crate::reply::{Code, Failure};
use crate::request::{DEFAULT_TIMEOUT_S, Request, Wait};
use crate::words;

pub(crate) use account::show_coins;
pub use account::{BalanceArgs, SendArgs};
pub use ban::{BanArgs, UnbanArgs};
pub use batch::{BatchArgs, batch_line};
pub use block::BlockArgs;
pub use get::RetrieveArgs;
pub use headers::{MAX_PAGE_HEADERS, headers_after, headers_from};
pub use history::RetrieveAllArgs;
pub use node::{AddPeerArgs, MineBlocksArgs};
pub use put::{DeleteArgs, HandOverArgs, PutArgs};
pub use scan::ScanArgs;
pub use transaction::{TransactionArgs, WaitArgs};
pub use watch::WatchArgs;

/// A command of the admin port.
#[derive(Debug)]
pub struct Command {
    /// First word of the line, upper case.
    pub name: &'static str,
    /// Another first word for the same.
    pub alias: Option<&'static str>,
    /// The words after it.
    pub usage: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Whether it spends, writes or administers, and so needs `AUTH`.
    pub needs_auth: bool,
    parse: fn(&mut Words) -> Result<Request, UsageError>,
}

/// Every command, in the order of `HELP`.
pub const COMMANDS: &[Command] = &[
    put::PUT,
    get::RETRIEVE,
    history::RETRIEVE_ALL,
    put::DELETE,
    put::HAND_OVER,
    batch::BATCH,
    scan::SCAN,
    transaction::TX,
    transaction::WAIT,
    watch::WATCH,
    watch::UNWATCH,
    transaction::SUBMIT,
    block::BLOCK,
    headers::HEADERS,
    node::STATUS,
    node::PEERS,
    node::MINERS,
    node::ADD_PEER,
    ban::BAN,
    ban::UNBAN,
    ban::BANS,
    account::BALANCE,
    account::SEND,
    node::MINE,
    node::PING,
    node::AUTH,
    node::HELP,
    node::QUIT,
    node::SHUTDOWN,
];

/// Finds a command by its first word, in any case.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| {
        command.name.eq_ignore_ascii_case(name)
            || command.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    })
}

/// Parses a line. `Ok(None)` for a blank one.
///
/// # Errors
/// A failure that says what to write instead.
pub fn parse(line: &str) -> Result<Option<(&'static Command, Request)>, Failure> {
    let list = words::split(line).map_err(|error| Failure::new(Code::Usage, error))?;
    if list.is_empty() { Ok(None) } else { parse_words(list).map(Some) }
}

/// Parses the words of a line, at least one.
///
/// # Errors
/// As [`parse`].
pub fn parse_words(list: Vec<String>) -> Result<(&'static Command, Request), Failure> {
    let mut list = list.into_iter();
    let name = list.next().unwrap_or_default();
    let command = find(&name).ok_or_else(|| {
        let shown: String = name.chars().take(40).collect();
        Failure::new(Code::Unknown, format!("no command {shown:?}; HELP lists them"))
    })?;
    let mut rest = Words { list };
    (command.parse)(&mut rest).and_then(|request| rest.end().map(|()| (command, request))).map_err(
        |UsageError(what)| {
            let usage = format!("{} {}", command.name, command.usage);
            Failure::new(Code::Usage, format!("{what}; usage: {}", usage.trim_end()))
        },
    )
}

/// What is wrong with a command's words.
#[derive(Debug)]
pub struct UsageError(String);

/// The words of a request after the command's name.
pub struct Words {
    list: std::vec::IntoIter<String>,
}

impl Words {
    fn next(&mut self) -> Option<String> {
        self.list.next()
    }

    fn required(&mut self, what: &str) -> Result<String, UsageError> {
        self.next().ok_or_else(|| UsageError(format!("{what} is missing")))
    }

    fn bytes(&mut self, what: &str) -> Result<Vec<u8>, UsageError> {
        let word = self.required(what)?;
        words::decode(&word).map_err(|error| UsageError(error.to_string()))
    }

    fn key(&mut self) -> Result<Vec<u8>, UsageError> {
        let key = self.bytes("the key")?;
        match key.len() {
            1..=255 => Ok(key),
            got => Err(UsageError(format!("a key has 1 to 255 bytes, this one {got}"))),
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, what: &str) -> Result<T, UsageError> {
        let word = self.required(what)?;
        word.parse().map_err(|error| UsageError(format!("{what} {word:?}: {error}")))
    }

    fn coins(&mut self) -> Result<u64, UsageError> {
        let word = self.required("the amount")?;
        account::parse_coins(&word)
            .ok_or_else(|| UsageError(format!("{word:?} is no amount like 12.5")))
    }

    fn limit(&mut self) -> Result<usize, UsageError> {
        self.parsed::<NonZeroUsize>("the limit").map(NonZeroUsize::get)
    }

    fn end(&mut self) -> Result<(), UsageError> {
        match self.next() {
            None => Ok(()),
            Some(extra) => Err(UsageError(format!("{extra:?} is not expected here"))),
        }
    }
}

/// Most blocks that can be waited for or mined at once.
pub const MAX_BLOCKS: u32 = 10_000;

/// A number of blocks, from 1 to [`MAX_BLOCKS`].
fn count(what: &str, word: &str) -> Result<u32, UsageError> {
    word.parse()
        .ok()
        .filter(|count| (1..=MAX_BLOCKS).contains(count))
        .ok_or_else(|| UsageError(format!("{what} is from 1 to {MAX_BLOCKS}, not {word:?}")))
}

fn unexpected(word: &str) -> UsageError {
    UsageError(format!("{word:?} is not expected here"))
}

/// The optional `WAIT n` and `TIMEOUT s` of writes.
#[derive(Default)]
struct WaitWords {
    confirmations: Option<u32>,
    timeout_s: Option<u64>,
}

impl WaitWords {
    /// Takes `word` and what belongs to it; `false` when it is neither.
    fn take(&mut self, word: &str, rest: &mut Words) -> Result<bool, UsageError> {
        match word {
            "WAIT" => {
                let word = rest.required("the number of confirmations")?;
                self.confirmations = Some(count("the number of confirmations", &word)?);
            }
            "TIMEOUT" => self.timeout_s = Some(rest.parsed("the timeout in seconds")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn wait(&self) -> Result<Option<Wait>, UsageError> {
        match (self.confirmations, self.timeout_s) {
            (None, Some(_)) => Err(UsageError("TIMEOUT needs WAIT".to_string())),
            (None, None) => Ok(None),
            (Some(confirmations), timeout_s) => {
                let timeout_s = timeout_s.unwrap_or(DEFAULT_TIMEOUT_S);
                Ok(Some(Wait { confirmations, timeout_s }))
            }
        }
    }
}

/// Builds the words of a request on the terminal's side.
#[derive(Debug, Default)]
pub struct Line(Vec<String>);

impl Line {
    /// Starts with a command's name.
    pub fn new(name: &str) -> Line {
        Line(vec![name.to_string()])
    }

    /// Adds a word. Line breaks become blanks: a word cannot end the line.
    #[must_use]
    pub fn word(mut self, word: impl Display) -> Line {
        self.0.push(words::quote(&word.to_string().replace(['\r', '\n'], " ")));
        self
    }

    /// Adds a key or value as typed: with a `base64:` or `hex:` prefix as it is, else as bytes,
    /// which may hold line breaks.
    #[must_use]
    pub fn typed(self, text: &str) -> Line {
        let encoded = text.starts_with("base64:") || text.starts_with("hex:");
        if encoded { self.word(text) } else { self.bytes(text.as_bytes()) }
    }

    /// Adds bytes as a word, of at most twice as many bytes and some.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Line {
        self.quoted(&words::quoted_bytes(bytes))
    }

    /// Adds words that are quoted already.
    #[must_use]
    fn quoted(mut self, words: &str) -> Line {
        self.0.push(words.to_string());
        self
    }

    /// Adds a name and its value, if there is one.
    #[must_use]
    pub fn option(self, name: &str, value: Option<impl Display>) -> Line {
        match value {
            Some(value) => self.word(name).word(value),
            None => self,
        }
    }

    /// Adds a name if it applies.
    #[must_use]
    pub fn when(self, applies: bool, name: &str) -> Line {
        if applies { self.word(name) } else { self }
    }

    /// The line, without its end.
    pub fn build(&self) -> String {
        self.0.join(" ")
    }
}

#[cfg(test)]
mod tests;
