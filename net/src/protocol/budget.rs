//! Token buckets: how much of something a peer may use, at once and in the long run.
//!
//! What a peer does is charged after it was understood, so a bucket can go into debt. A peer in
//! debt is not read until time has paid for it: nothing is thrown away, and what it sends waits
//! on its own side of the line.

use std::collections::BTreeMap;

use chain::ledger::PeerId;

use super::port::Millis;
use crate::wire::Message;

/// Millionths of a token: what a bucket counts, so that every millisecond counts.
const PARTS: u64 = 1_000_000;

/// Size and speed of a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Tokens when full; also the greatest debt.
    burst: u64,
    /// Refilled in a millisecond, in [`PARTS`].
    parts_a_ms: u64,
}

impl Rate {
    pub(crate) const fn per_second(burst: u64, tokens: u64) -> Rate {
        Rate { burst, parts_a_ms: tokens * (PARTS / 1000) }
    }

    /// One token in so many milliseconds.
    pub(crate) const fn one_in(burst: u64, ms: u64) -> Rate {
        Rate { burst, parts_a_ms: PARTS / ms }
    }
}

/// A bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    rate: Rate,
    parts: i64,
    filled_at: Millis,
}

impl Budget {
    /// A bucket with so many tokens in it, at most the rate's burst.
    pub(crate) fn new(rate: Rate, tokens: u64, now: Millis) -> Budget {
        Budget { rate, parts: parts(tokens.min(rate.burst)), filled_at: now }
    }

    /// Whole tokens that may be spent without debt.
    pub(crate) fn available(&mut self, now: Millis) -> u64 {
        self.refill(now);
        u64::try_from(self.parts).unwrap_or(0) / PARTS
    }

    /// Takes tokens, if need be into debt. Returns when the debt is paid, if there is one.
    pub(crate) fn spend(&mut self, tokens: u64, now: Millis) -> Option<Millis> {
        self.refill(now);
        let greatest_debt = -parts(self.rate.burst);
        self.parts = self.parts.saturating_sub(parts(tokens)).max(greatest_debt);
        self.empty_until().filter(|_| self.parts < 0)
    }

    /// When there is a token to spend again, if there was none when one last looked.
    pub(crate) fn empty_until(&self) -> Option<Millis> {
        let missing = u64::try_from(parts(1) - self.parts).unwrap_or(0);
        let wait_ms = missing.div_ceil(self.rate.parts_a_ms.max(1));
        (wait_ms > 0).then(|| self.filled_at + wait_ms)
    }

    fn refill(&mut self, now: Millis) {
        let gained = (now - self.filled_at).saturating_mul(self.rate.parts_a_ms);
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.parts = self.parts.saturating_add(gained).min(parts(self.rate.burst));
        self.filled_at = self.filled_at.max(now);
    }
}

fn parts(tokens: u64) -> i64 {
    i64::try_from(tokens.saturating_mul(PARTS)).unwrap_or(i64::MAX)
}

/// What a peer may make us do unasked, in units of about a microsecond of one core: a quarter of
/// a core. Answers to our own questions cost nothing, because we choose how much we ask. An
/// honest peer that catches up takes 12,500 blocks a second, and relays 125,000 transaction ids.
const WORK: Rate = Rate::per_second(250_000, 250_000);
/// What it has at first: less, because it may hang up and come again.
const FIRST_WORK: u64 = 50_000;

/// What every peer that has said hello may still make us do.
#[derive(Debug, Default)]
pub(crate) struct Budgets(BTreeMap<PeerId, Budget>);

impl Budgets {
    pub(crate) fn ready(&mut self, peer: PeerId, now: Millis) {
        self.0.insert(peer, Budget::new(WORK, FIRST_WORK, now));
    }

    pub(crate) fn removed(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    /// Charges a message. Returns until when the peer is not to be read, if it has spent too much.
    pub(crate) fn charge(&mut self, peer: PeerId, cost: u64, now: Millis) -> Option<Millis> {
        self.0.get_mut(&peer)?.spend(cost, now)
    }
}

/// What a message makes us do, in the reactor and behind it, in units of [`WORK`].
pub(crate) fn cost(message: &Message) -> u64 {
    let (each, count) = match message {
        Message::Ping(_) | Message::Pong(_) => (0, 0),
        // Up to 2,000 rows of the index, and 160 kB to encrypt.
        Message::GetHeaders { .. } => (1000, 1),
        Message::Headers(headers) => (10, headers.len()),
        Message::GetBlocks { hashes } => (20, hashes.len()),
        Message::NotFound { hashes } => (10, hashes.len()),
        Message::AnnounceTransactions { txids } => (2, txids.len()),
        Message::GetTransactions { txids } => (5, txids.len()),
        Message::GetAddresses => (100, 1),
        Message::Addresses(list) => (5, list.len()),
        // A header goes through the ledger, which may have to bring something to disk.
        Message::AnnounceBlock(_) => (200, 1),
        Message::CompactBlock(block) => (1, 500 + block.ids.len()),
        Message::GetCompactBlock { .. } => (500, 1),
        Message::GetBlockTransactions { indexes, .. } => (5, 100 + indexes.len()),
        // Blocks may have to be asked of somebody else.
        Message::BodiesFrom { .. } => (500, 1),
        // These are asked for, or they end the connection.
        Message::Hello(_)
        | Message::Block(_)
        | Message::Transactions(_)
        | Message::BlockTransactions { .. } => return 0,
    };
    10 + each * count as u64
}

#[cfg(test)]
mod tests;
