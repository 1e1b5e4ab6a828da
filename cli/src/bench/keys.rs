//! Many keys at a node: written in signed transactions of many puts each, then read and proven in
//! no order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chain::params::{Mining, Network};
use chain::tx::SigningKey;
use data_encoding::BASE64;

use super::limits::{BITS, put, writer};
use super::{BenchError, now};
use crate::child::ChildNode;
use crate::client::Client;

/// Accounts that write, each on a connection of its own.
const WRITERS: u32 = 32;

/// Puts in a transaction.
const PUTS: u64 = 100;

/// Puts that a writer sends at a time: a line holds 350 KB of transactions.
const PUTS_A_LINE: u64 = 20 * PUTS;

/// Of each value.
const VALUE_BYTES: usize = 64;

/// Most keys.
const MAX_KEYS: u64 = 1_000_000_000;

/// Refuses numbers of keys and lengths of rows that make no sense.
pub(super) fn check(counts: &[u64], seconds: f64) -> Result<(), BenchError> {
    let is_sound = |count: &u64| (1..=MAX_KEYS).contains(count);
    if counts.is_empty() || !counts.iter().all(is_sound) || !counts.is_sorted_by(|a, b| a < b) {
        return Err(BenchError::Usage("--keys are numbers from 1 to 1000000000, ascending"));
    }
    if !(seconds > 0.0 && seconds <= 3600.0) {
        return Err(BenchError::Usage("--seconds is above 0 and at most 3600"));
    }
    Ok(())
}

/// The network of these measurements: proof of work costs nothing in it.
pub(super) fn network(name: &str) -> Network {
    Network { name: name.to_string(), mining: Mining::OnDemand, start_bits: BITS, ..Network::dev() }
}

/// The name of a key. Neighbours in number are none in the order of names, as with the names that
/// people choose: else each block would write one place of the index.
pub(super) fn name(number: u64) -> String {
    format!("{:016x}", scatter(number))
}

/// Its value, the same for all puts of a transaction.
pub(super) fn value(number: u64) -> String {
    format!("{:0VALUE_BYTES$}", number / PUTS)
}

/// One number for each, in no order: the finaliser of SplitMix64.
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The keys that a node has.
pub(super) struct Keys {
    network: Network,
    /// Who writes, and their next sequence numbers.
    accounts: Vec<(SigningKey, u64)>,
    written: u64,
}

impl Keys {
    /// None yet.
    pub(super) fn new(network: Network) -> Keys {
        let accounts = (0..WRITERS).map(|number| (writer(number), 0)).collect();
        Keys { network, accounts, written: 0 }
    }

    /// Writes until there are so many; returns how long it took. `progress` is told the share of
    /// them that is there.
    pub(super) fn write(
        &mut self,
        node: &ChildNode,
        count: u64,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Duration, BenchError> {
        let next = AtomicU64::new(self.written);
        let done = AtomicU64::new(self.written);
        let genesis = self.network.genesis_hash();
        let write = |account: &mut (SigningKey, u64)| {
            let (key, sequence) = account;
            let mut client = node.client()?;
            loop {
                let from = next.fetch_add(PUTS_A_LINE, Ordering::Relaxed);
                let to = count.min(from + PUTS_A_LINE);
                if from >= to {
                    return Ok(());
                }
                let (mut line, mut first) = (String::from("SUBMIT"), from);
                while first < to {
                    // Values change where transactions end, wherever writing began.
                    let end = to.min((first / PUTS + 1) * PUTS);
                    let (names, value) = ((first..end).map(name), value(first));
                    let bytes = put(key, *sequence, names, value.as_bytes(), &genesis);
                    line.push_str(" base64:");
                    BASE64.encode_append(&bytes, &mut line);
                    (*sequence, first) = (*sequence + 1, end);
                }
                line.push_str(" WAIT 1");
                let answer = client.ask(&line)?;
                if answer["status"] != "confirmed" {
                    return Err(BenchError::NotWritten(answer.to_string()));
                }
                let done = done.fetch_add(to - from, Ordering::Relaxed) + to - from;
                progress(done as f64 / count as f64);
            }
        };
        let started = now();
        std::thread::scope(|scope| {
            let write = &write;
            let writers: Vec<_> = self
                .accounts
                .iter_mut()
                .map(|account| scope.spawn(move || write(account)))
                .collect();
            let ended = writers.into_iter().map(|writer| writer.join().expect("they do not panic"));
            ended.collect::<Result<Vec<()>, BenchError>>()
        })?;
        self.written = count;
        Ok(started.elapsed())
    }

    /// The network of the node.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }
}

/// Numbers of keys in no order.
pub(super) struct Draw {
    count: u64,
    at: u64,
}

impl Draw {
    /// Of so many keys; each `stream` has an order of its own.
    pub(super) fn new(count: u64, stream: u32) -> Draw {
        Draw { count, at: u64::from(stream) << 32 }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.at += 1;
        scatter(self.at) % self.count
    }
}

/// Reads a key; returns how long it took.
pub(super) fn read(client: &mut Client, number: u64) -> Result<Duration, BenchError> {
    let line = format!("RETRIEVE {}", name(number));
    let asked = now();
    let answer = client.ask(&line)?;
    let took = asked.elapsed();
    if answer["value"] != value(number) {
        return Err(BenchError::Differs(answer.to_string()));
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_have_names_of_their_own_in_no_order() {
        let names: Vec<String> = (0..10_000).map(name).collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        let ascending = names.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((4_500..5_500).contains(&ascending), "{ascending}");
    }
}
