//! The lives of transactions somebody waits for: pending, included, confirmed or failed;
//! expired or dropped; reorganised, which is pending again.

use std::collections::BTreeMap;

use chain::Hash;
use chain::ledger::TipChange;
use chain::mempool::DropReason;
use net::{ClientId, Millis};
use serde_json::{Map, Value, json};

use crate::reads::{is_applied, put_outcome};
use crate::reply::{Code, Failure};

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) client: ClientId,
    pub(super) confirmations: u32,
    pub(super) deadline: Millis,
    /// Whether blocks may be mined for it, on networks mined on demand.
    pub(super) may_mine: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// Not looked up yet.
    Unknown,
    Pending,
    Included {
        height: u32,
        outcome: Fields,
    },
    Dropped(DropReason),
}

/// What an outcome says.
#[derive(Clone, Debug)]
struct Fields {
    applied: bool,
    fields: Map<String, Value>,
}

struct Life {
    state: State,
    waiters: Vec<Waiter>,
}

impl Life {
    /// The height at which every waiter that blocks may be mined for has its confirmations.
    fn wanted_height(&self) -> Option<u32> {
        let State::Included { height, .. } = self.state else { return None };
        let may_mine = self.waiters.iter().filter(|waiter| waiter.may_mine);
        let most = may_mine.map(|waiter| waiter.confirmations).max()?;
        Some(height.saturating_add(most - 1))
    }
}

/// Every transaction or height that is waited for.
#[derive(Default)]
pub(super) struct Lives {
    transactions: BTreeMap<Hash, Life>,
    /// Which of them a client waits for: one at most.
    clients: BTreeMap<ClientId, Hash>,
    heights: Vec<(u32, Waiter)>,
    tip: u32,
}

type Settled = (ClientId, Result<Value, Failure>);

impl Lives {
    /// Adds a waiter.
    pub(super) fn wait(&mut self, txid: Hash, waiter: Waiter) {
        self.clients.insert(waiter.client, txid);
        let new = || Life { state: State::Unknown, waiters: Vec::new() };
        self.transactions.entry(txid).or_insert_with(new).waiters.push(waiter);
    }

    /// Adds a waiter for a height of the main chain.
    pub(super) fn wait_for_height(&mut self, height: u32, waiter: Waiter) {
        self.heights.push((height, waiter));
    }

    /// Notes that the pool has it, unless more is known by now.
    pub(super) fn is_pending(&mut self, txid: &Hash) {
        if let Some(life) = self.transactions.get_mut(txid)
            && matches!(life.state, State::Unknown)
        {
            life.state = State::Pending;
        }
    }

    /// Notes what the index said of a transaction when asked, unless more is known by now.
    /// Returns the height that must be reached for its waiters, in case miners must be asked.
    pub(super) fn found(&mut self, txid: &Hash, included: &Value, tip: u32) -> Option<u32> {
        self.tip = self.tip.max(tip);
        let life = self.transactions.get_mut(txid)?;
        if matches!(life.state, State::Unknown | State::Pending) {
            let height = included["height"].as_u64().and_then(|height| height.try_into().ok())?;
            let applied = included["status"] == "confirmed";
            let mut fields = included.as_object().cloned().unwrap_or_default();
            let of_outcome = ["version", "versions", "reason", "message"];
            fields.retain(|name, _| of_outcome.contains(&name.as_str()));
            life.state = State::Included { height, outcome: Fields { applied, fields } };
        }
        life.wanted_height().filter(|height| *height > self.tip)
    }

    /// Notes that it left the pool.
    pub(super) fn dropped(&mut self, txid: &Hash, reason: DropReason) {
        if let Some(life) = self.transactions.get_mut(txid) {
            life.state = State::Dropped(reason);
        }
    }

    /// Follows the chain. Returns heights that must be reached for some waiters, in case miners
    /// must be asked.
    pub(super) fn tip_changed(&mut self, change: &TipChange) -> Vec<u32> {
        self.tip = change.tip.height;
        for reverted in &change.reverted {
            for transaction in reverted.transactions() {
                if let Some(life) = self.transactions.get_mut(&transaction.txid()) {
                    life.state = State::Pending;
                }
            }
        }
        let mut wanted = Vec::new();
        for connected in &change.connected {
            let transactions = connected.block.transactions();
            for (transaction, outcome) in transactions.iter().zip(&connected.outcomes) {
                let Some(life) = self.transactions.get_mut(&transaction.txid()) else { continue };
                let mut fields = Map::new();
                put_outcome(&mut fields, outcome);
                let outcome = Fields { applied: is_applied(outcome), fields };
                life.state = State::Included { height: connected.height, outcome };
                wanted.extend(life.wanted_height());
            }
        }
        wanted.retain(|height| *height > self.tip);
        wanted
    }

    /// Takes out the waits that have come to an end.
    pub(super) fn settled(&mut self) -> Vec<Settled> {
        let tip = self.tip;
        let mut settled = Vec::new();
        self.transactions.retain(|txid, life| {
            life.waiters.retain(|waiter| match verdict(txid, &life.state, waiter, tip) {
                Some(answer) => {
                    settled.push((waiter.client, answer));
                    false
                }
                None => true,
            });
            !life.waiters.is_empty()
        });
        self.heights.retain(|(height, waiter)| {
            if *height <= tip {
                settled.push((waiter.client, Ok(json!({ "height": tip }))));
            }
            *height > tip
        });
        settled
    }

    /// Takes out the waits whose time is over.
    pub(super) fn overdue(&mut self, now: Millis) -> Vec<(ClientId, Failure)> {
        let mut overdue = Vec::new();
        self.transactions.retain(|txid, life| {
            life.waiters.retain(|waiter| {
                if waiter.deadline > now {
                    return true;
                }
                let state = match &life.state {
                    State::Unknown | State::Pending => "pending".to_string(),
                    State::Included { height, .. } => format!("included at height {height}"),
                    State::Dropped(reason) => reason.to_string(),
                };
                let what = format!("transaction {txid} is still {state}");
                overdue.push((waiter.client, Failure::new(Code::Timeout, what)));
                false
            });
            !life.waiters.is_empty()
        });
        self.heights.retain(|(height, waiter)| {
            if waiter.deadline > now {
                return true;
            }
            let what = format!("height {height} is not reached");
            overdue.push((waiter.client, Failure::new(Code::Timeout, what)));
            false
        });
        overdue
    }

    /// Forgets a client's waits.
    pub(super) fn forget(&mut self, client: ClientId) {
        if let Some(txid) = self.clients.remove(&client)
            && let Some(life) = self.transactions.get_mut(&txid)
        {
            life.waiters.retain(|waiter| waiter.client != client);
            if life.waiters.is_empty() {
                self.transactions.remove(&txid);
            }
        }
        self.heights.retain(|(_, waiter)| waiter.client != client);
    }

    /// When the next wait's time is over.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let transactions = self.transactions.values().flat_map(|life| &life.waiters);
        let heights = self.heights.iter().map(|(_, waiter)| waiter);
        transactions.chain(heights).map(|waiter| waiter.deadline).min()
    }
}

/// How a wait ended, if it has.
fn verdict(
    txid: &Hash,
    state: &State,
    waiter: &Waiter,
    tip: u32,
) -> Option<Result<Value, Failure>> {
    match state {
        State::Unknown | State::Pending => None,
        State::Dropped(DropReason::Expired) => {
            let what = format!("transaction {txid} expired before a block included it");
            Some(Err(Failure::new(Code::Expired, what)))
        }
        State::Dropped(reason) => {
            Some(Err(Failure::new(Code::Dropped, format!("transaction {txid} was {reason}"))))
        }
        State::Included { height, outcome } => {
            let confirmations = (tip + 1).saturating_sub(*height);
            if confirmations < waiter.confirmations {
                return None;
            }
            let mut object = Map::new();
            object.insert("txid".to_string(), txid.to_string().into());
            if !outcome.applied {
                let reason = &outcome.fields["reason"].as_str().unwrap_or_default();
                let message = &outcome.fields["message"].as_str().unwrap_or_default();
                let what = format!("{reason}: {message} (transaction {txid}, height {height})");
                return Some(Err(Failure::new(Code::Failed, what)));
            }
            object.insert("status".to_string(), "confirmed".into());
            object.insert("height".to_string(), (*height).into());
            object.extend(outcome.fields.clone());
            object.insert("confirmations".to_string(), confirmations.into());
            Some(Ok(object.into()))
        }
    }
}
