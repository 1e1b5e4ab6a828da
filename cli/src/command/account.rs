//! `BALANCE` and `SEND`: coins.

use chain::params::COIN;
use clap::Args;

use super::put::{WriteFlags, parse_one};
use super::{Command, Line, UsageError, Words};
use crate::request::Request;

pub(super) const BALANCE: Command = Command {
    name: "BALANCE",
    alias: None,
    usage: "[address]",
    about: "Shows an account; without an address the node's own",
    needs_auth: false,
    parse: parse_balance,
};

pub(super) const SEND: Command = Command {
    name: "SEND",
    alias: Some("PAY"),
    usage: "address amount [EXPIRES height] [WAIT confirmations] [TIMEOUT s]",
    about: "Pays coins from the node's account (amount in coins, up to 8 decimals)",
    needs_auth: true,
    parse: |rest| parse_one("SEND", rest),
};

/// Decimals of an amount in coins.
const DECIMALS: usize = 8;
const _: () = assert!(COIN == 100_000_000);

fn parse_balance(rest: &mut Words) -> Result<Request, UsageError> {
    let key = match rest.next() {
        None => None,
        Some(word) => Some(word.parse().map_err(|error| UsageError(format!("{word:?}: {error}")))?),
    };
    Ok(Request::Balance(key))
}

/// Reads an amount in coins as smallest units.
pub(crate) fn parse_coins(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > DECIMALS || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<DECIMALS$}").parse().ok()?;
    whole.checked_mul(COIN)?.checked_add(fraction)
}

/// Shows smallest units as an amount in coins.
pub(crate) fn show_coins(units: u64) -> String {
    let (whole, fraction) = (units / COIN, units % COIN);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0>DECIMALS$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Shows an account
#[derive(Args, Clone, Debug)]
pub struct BalanceArgs {
    /// Whose [default: the node's own]
    pub address: Option<String>,
}

impl BalanceArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        let line = Line::new(BALANCE.name);
        match &self.address {
            Some(address) => line.word(address),
            None => line,
        }
    }
}

/// Pays coins from the node's account
#[derive(Args, Clone, Debug)]
pub struct SendArgs {
    /// To whom (grvn1..)
    pub address: String,
    /// How many coins, up to 8 decimals
    pub amount: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub write: WriteFlags,
}

impl SendArgs {
    /// The request's words.
    pub fn line(&self) -> Line {
        let line = Line::new(SEND.name).word(&self.address).word(&self.amount);
        self.write.add_to(line)
    }
}
