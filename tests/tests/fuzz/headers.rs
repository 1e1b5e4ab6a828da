//! Chains of headers, spoilt and mined again, through the rules and into a ledger. A second, naive
//! look at the rules must come to the same verdict.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chain::header::{Header, VERSION_FIXED, VERSION_FIXED_MASK};
use chain::ledger::{HeadersVerdict, Input, Output, PeerId, Time};
use chain::params::Network;
use chain::rules::difficulty::required_bits;
use chain::rules::isolation::{CheckedHeader, check_headers};
use chain::{CompactTarget, Hash};
use tests::chains::{Grower, account, asert_network, clock, memory_ledger, options};

use super::draw::Draw;
use super::target::{Memory, Target};

/// Most of it is an empty ledger.
pub(super) const TARGET: Target =
    Target { name: "headers", samples, run, memory: Memory { per_byte: 512, fixed: 128 * 1024 } };

const LENGTH: usize = 24;
/// How far a header may be ahead, and the clock is ahead of genesis.
const NOW: u32 = 12;
/// Hashes tried to give a spoilt header its work again.
const TRIES: u32 = 64;

static NETWORK: LazyLock<Network> =
    LazyLock::new(|| Network { future_limit_s: 60, ..asert_network() });
static CHAIN: LazyLock<Vec<Header>> = LazyLock::new(|| {
    let mut grower = Grower::new(&NETWORK);
    (0..LENGTH).map(|_| *grower.grow(account(1), &[]).header()).collect()
});

fn samples() -> Vec<Vec<u8>> {
    let mut samples = vec![vec![0, 0, 24, 0], vec![0, 0, 8, 0, 0, 8, 8, 0, 0, 4, 9, 0]];
    for field in 0..9 {
        // From the fourth on, one change in the second of six, mined again and linked.
        samples.push(vec![0, 0, 4, 0, 0, 4, 6, 1, 1, field, 3, 1, 0]);
        samples.push(vec![0, 0, 12, 1, 5, field, 200, 0]);
    }
    samples
}

/// What the naive one knows of a header.
#[derive(Clone)]
struct Known {
    height: u32,
    /// Times of it and its ancestors, newest first.
    times: Vec<u32>,
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let network = &*NETWORK;
    let mut ledger = memory_ledger(options(network));
    while ledger.poll().is_some() {}
    let genesis = Known { height: 0, times: vec![network.genesis_time] };
    let mut known = BTreeMap::from([(network.genesis_hash(), genesis)]);
    let now = clock(network, NOW);
    let mut word = "nothing".to_string();
    for _ in 0..8 {
        if draw.is_empty() {
            break;
        }
        let batch = batch(&mut draw);
        let checked = check_headers(network, &batch);
        assert_eq!(checked.is_ok(), is_chain(&batch), "{checked:?}");
        let Ok(headers) = checked else {
            word = "alone".to_string();
            continue;
        };
        if headers.is_empty() {
            continue;
        }
        let expected = judge(&headers, &mut known, now);
        ledger.handle(now, Input::Headers { from: PeerId(1), headers }).unwrap();
        let said = std::iter::from_fn(|| ledger.poll()).find_map(|output| match output {
            Output::HeadersJudged { verdict: HeadersVerdict::Accepted { .. }, .. } => {
                Some("accepted".to_string())
            }
            Output::HeadersJudged { verdict, .. } => Some(format!("{verdict:?}").to_lowercase()),
            Output::PeerFault { error, .. } => {
                let words = error.to_string();
                Some(words.split(' ').take(2).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        });
        word = said.expect("headers are judged");
        let agreed = match expected {
            Verdict::Accepted => word == "accepted",
            Verdict::Unconnected => word == "unconnected",
            Verdict::TooNew => word == "toonew",
            Verdict::Fault => !["accepted", "unconnected", "toonew"].contains(&&*word),
        };
        assert!(agreed, "the ledger says {word}, the naive one {expected:?}");
    }
    word
}

/// A part of the chain with changes, each followed by new work and new links, or not.
fn batch(draw: &mut Draw<'_>) -> Vec<Header> {
    draw.byte();
    let from = draw.below(LENGTH);
    let count = draw.below(LENGTH + 1).min(LENGTH - from);
    let mut batch = CHAIN[from..from + count].to_vec();
    for _ in 0..draw.byte() % 4 {
        if batch.is_empty() {
            break;
        }
        let at = draw.below(batch.len());
        change(&mut batch, at, draw);
        if draw.one_in(2) {
            relink(&mut batch, at);
        }
    }
    batch
}

fn change(batch: &mut Vec<Header>, at: usize, draw: &mut Draw<'_>) {
    let other = CHAIN[draw.below(LENGTH)];
    let step = [-1, 1, 9, -60, 61, 3_600, -86_400, i32::MIN];
    let header = &mut batch[at];
    match draw.byte() % 9 {
        0 => header.time = header.time.wrapping_add_signed(*draw.pick(&step)),
        1 => header.bits = CompactTarget(header.bits.0.wrapping_add_signed(*draw.pick(&step))),
        2 => header.version ^= 1 << (draw.byte() % 32),
        3 => header.prev = other.hash(),
        4 => header.merkle_root.0[0] ^= draw.byte(),
        5 => header.nonce ^= u32::from(draw.byte()),
        6 => drop(batch.remove(at)),
        7 => batch.insert(at, other),
        _ => {
            let last = batch.len() - 1;
            batch.swap(at, last);
        }
    }
}

/// Gives headers from here on the bits that belong there if their times are as they are, links
/// them, and looks for a little work.
fn relink(batch: &mut [Header], at: usize) {
    for at in at..batch.len() {
        if at > 0 {
            batch[at].prev = batch[at - 1].hash();
            let parent = CHAIN.iter().position(|header| header.time == batch[at - 1].time);
            if let Some(height) = parent.and_then(|at| u32::try_from(at + 1).ok()) {
                batch[at].bits = required_bits(&NETWORK, height, batch[at - 1].time);
            }
        }
        let Ok(target) = batch[at].bits.decode() else { continue };
        for _ in 0..TRIES {
            if target.is_met_by(&batch[at].hash()) {
                break;
            }
            batch[at].nonce = batch[at].nonce.wrapping_add(1);
        }
    }
}

/// Whether headers are linked, have their work and the fixed bits of the version.
fn is_chain(batch: &[Header]) -> bool {
    let start = NETWORK.start_bits.decode().unwrap();
    let alone = |header: &Header| {
        let target = header.bits.decode().ok().filter(|target| *target <= start);
        header.version & VERSION_FIXED_MASK == VERSION_FIXED
            && target.is_some_and(|target| target.is_met_by(&header.hash()))
    };
    batch.iter().all(alone) && batch.windows(2).all(|pair| pair[1].prev == pair[0].hash())
}

#[derive(Debug)]
enum Verdict {
    Accepted,
    Unconnected,
    TooNew,
    Fault,
}

/// Follows the rules that need ancestors by the letter, and learns what is good.
fn judge(headers: &[CheckedHeader], known: &mut BTreeMap<Hash, Known>, now: Time) -> Verdict {
    for checked in headers {
        let (header, hash) = (checked.header(), checked.hash());
        if known.contains_key(&hash) {
            continue;
        }
        let Some(parent) = known.get(&header.prev).cloned() else { return Verdict::Unconnected };
        let mut times: Vec<u32> = parent.times.iter().copied().take(11).collect();
        times.sort_unstable();
        let median = times[times.len() / 2];
        if header.bits != required_bits(&NETWORK, parent.height, parent.times[0])
            || header.time <= median
        {
            return Verdict::Fault;
        }
        if u64::from(header.time) > now.seconds() + u64::from(NETWORK.future_limit_s) {
            return Verdict::TooNew;
        }
        let times = [&[header.time][..], &parent.times].concat();
        known.insert(hash, Known { height: parent.height + 1, times });
    }
    Verdict::Accepted
}
