//! Clients that put through nodes taken at random, and what they were told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::node::{Client, Node, Setup};

/// A client goes to another node after so many puts.
const PUTS_A_NODE: usize = 5;

/// Longest value, in bytes.
const MAX_VALUE_BYTES: usize = 1500;

/// Between two looks for a node that runs.
const POLL: Duration = Duration::from_millis(50);

/// Answers that do not say that anything is wrong.
const FAIR: [&str; 2] = ["-TIMEOUT ", "-BUSY "];

/// What the clients were told.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Confirmed writes.
    pub(super) confirmed: BTreeMap<String, String>,
    /// Writes without an answer, or without one in time.
    pub(super) unknown: u64,
    /// An answer that a client should never get.
    pub(super) strange: Option<String>,
}

impl Log {
    /// Asserts that a node has every confirmed write.
    ///
    /// # Errors
    /// The first that it has not.
    pub(super) fn check(&self, node: &Node) -> Result<(), String> {
        let mut client = node.client();
        for (key, value) in &self.confirmed {
            let answer = client.ask(&format!("RETRIEVE {key}"));
            if !answer.as_ref().is_ok_and(|found| found["value"] == value.as_str()) {
                let data = node.setup.data.display();
                return Err(format!("{data} says of the confirmed {key}: {answer:?}"));
            }
        }
        Ok(())
    }
}

/// Puts one new key after another, until it is over.
pub(super) fn write(
    writer: u64,
    mut rng: StdRng,
    live: &Mutex<Vec<Setup>>,
    log: &Mutex<Log>,
    over: &AtomicBool,
) {
    let (mut client, mut number) = (None, 0_usize);
    while !over.load(Ordering::Relaxed) {
        if number.is_multiple_of(PUTS_A_NODE) {
            client = None;
        }
        client = client.or_else(|| Client::try_open(&choose(&mut rng, live)?));
        let Some(open) = &mut client else {
            std::thread::park_timeout(POLL);
            continue;
        };
        let key = format!("writer{writer}/{number}");
        let value = "soak ".repeat(rng.random_range(1..=MAX_VALUE_BYTES / 5));
        let answer = open.try_ask(&format!("PUT {key} '{value}' WAIT 1 TIMEOUT 30"));
        number += 1;
        let mut log = log.lock().expect("no writer panics");
        match answer {
            Some(Ok(_)) => drop(log.confirmed.insert(key, value)),
            Some(Err(line)) if FAIR.iter().any(|code| line.starts_with(code)) => log.unknown += 1,
            Some(Err(line)) => log.strange = Some(line),
            None => {
                log.unknown += 1;
                client = None;
            }
        }
    }
}

/// A node that ran when last heard of.
fn choose(rng: &mut StdRng, live: &Mutex<Vec<Setup>>) -> Option<Setup> {
    let live = live.lock().expect("no writer panics");
    (!live.is_empty()).then(|| live[rng.random_range(0..live.len())].clone())
}
