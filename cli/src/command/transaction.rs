//! `TX`, `WAIT` and `SUBMIT`: transactions as such.

use chain::Hash;
use clap::Args;

use super::{Command, Line, UsageError, WaitWords, Words, unexpected};
use crate::request::{DEFAULT_TIMEOUT_S, Request, Wait};
use crate::words;

/// Transactions of one line.
const MAX_SUBMITTED: usize = 1024;

pub(super) const TX: Command = Command {
    name: "TX",
    alias: None,
    usage: "txid",
    about: "Says where a transaction stands",
    needs_auth: false,
    parse: parse_tx,
};

pub(super) const WAIT: Command = Command {
    name: "WAIT",
    alias: None,
    usage: "txid [confirmations] [TIMEOUT s]",
    about: "Answers when a transaction has so many confirmations (1)",
    needs_auth: false,
    parse: parse_wait,
};

pub(super) const SUBMIT: Command = Command {
    name: "SUBMIT",
    alias: None,
    usage: "base64:transaction.. [WAIT confirmations] [TIMEOUT s]",
    about: "Takes in transactions that a client has signed",
    needs_auth: false,
    parse: parse_submit,
};

fn parse_tx(rest: &mut Words) -> Result<Request, UsageError> {
    Ok(Request::Transaction(txid(rest)?))
}

fn parse_wait(rest: &mut Words) -> Result<Request, UsageError> {
    let txid = txid(rest)?;
    let mut wait = Wait { confirmations: 1, timeout_s: DEFAULT_TIMEOUT_S };
    while let Some(word) = rest.next() {
        if word.eq_ignore_ascii_case("TIMEOUT") {
            wait.timeout_s = rest.parsed("the timeout in seconds")?;
        } else {
            wait.confirmations = super::count("the number of confirmations", &word)?;
        }
    }
    Ok(Request::Wait { txid, wait })
}

fn parse_submit(rest: &mut Words) -> Result<Request, UsageError> {
    let mut transactions = vec![rest.bytes("the transaction")?];
    let mut wait = WaitWords::default();
    while let Some(word) = rest.next() {
        if word.starts_with("base64:") || word.starts_with("hex:") {
            if transactions.len() == MAX_SUBMITTED {
                let what = format!("SUBMIT takes at most {MAX_SUBMITTED} transactions");
                return Err(UsageError(what));
            }
            let bytes = words::decode(&word).map_err(|error| UsageError(error.to_string()))?;
            transactions.push(bytes);
        } else if !wait.take(&word.to_ascii_uppercase(), rest)? {
            return Err(unexpected(&word));
        }
    }
    Ok(Request::Submit { transactions, wait: wait.wait()? })
}

fn txid(rest: &mut Words) -> Result<Hash, UsageError> {
    rest.parsed("the transaction id")
}

/// Says where a transaction stands
#[derive(Args, Clone, Debug)]
pub struct TransactionArgs {
    /// Its id, 64 hex digits
    pub txid: String,
}

impl TransactionArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(TX.name).word(&self.txid)
    }
}

/// Waits until a transaction has enough confirmations
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// Its id, 64 hex digits
    pub txid: String,
    /// Blocks that include it or come after
    #[arg(default_value_t = 1)]
    pub confirmations: u32,
    /// Give up after so many seconds (exit code 4)
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
}

impl WaitArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        Line::new(WAIT.name)
            .word(&self.txid)
            .word(self.confirmations)
            .option("TIMEOUT", self.timeout)
    }
}
