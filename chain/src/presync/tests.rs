use proptest::prelude::*;

use super::*;
use crate::header::{Header, VERSION_FIXED};
use crate::landmarks::Checkpoint;
use crate::rules::difficulty::required_bits;
use crate::rules::isolation::check_headers;
use miner::CompactTarget;

/// Few headers a bit, but as many bits of look-ahead as there are always.
const SMALL: Limits = Limits { period: 3, held: 3 * 24, bits: 256 };

/// A peer, and a machine at its worst, must stay below this.
const MOST_BYTES: usize = 2 * 1024 * 1024;
const _: () = assert!(
    Limits::STANDARD.bits / 8 + (Limits::STANDARD.held + 1) * size_of::<CheckedHeader>()
        < MOST_BYTES - 4096
);

/// Two hashes make a header.
fn network() -> Network {
    let name = "easy".to_string();
    Network { name, start_bits: CompactTarget(0x207f_ffff), ..Network::dev() }
}

fn genesis(network: &Network) -> ChainEnd {
    let Header { time, bits, .. } = network.genesis().header;
    let facts = ParentFacts { height: 0, time, times: vec![time] };
    ChainEnd { hash: network.genesis_hash(), facts, work: bits.decode().unwrap().work() }
}

fn now_s(network: &Network) -> u64 {
    u64::from(network.genesis_time)
}

/// A valid header after `end`, one of many by `number`.
fn header_after(network: &Network, end: &ChainEnd, number: u64, late_s: u32) -> CheckedHeader {
    let mut header = Header {
        version: VERSION_FIXED,
        prev: end.hash,
        merkle_root: sha256d(&number.to_le_bytes()),
        time: end.facts.median_time() + 1 + late_s,
        bits: required_bits(network, end.facts.height, end.facts.time),
        nonce: 0,
    };
    loop {
        if let Ok(checked) = check_headers(network, &[header]) {
            return checked[0];
        }
        header.nonce += 1;
    }
}

/// So many headers after `end`, which moves on.
fn grow(network: &Network, end: &mut ChainEnd, seed: u64, count: usize) -> Vec<CheckedHeader> {
    let now_s = now_s(network);
    (0..count as u64)
        .map(|number| {
            let late_s = u32::try_from((seed ^ number) % 3).unwrap();
            let header = header_after(network, end, seed << 32 | number, late_s);
            end.advance(network, now_s, &header).unwrap();
            header
        })
        .collect()
}

/// Feeds headers in batches until something other than more of them is wanted; what was released,
/// how it ended, and how many batches were taken.
fn feed(
    presync: &mut Presync,
    network: &Network,
    headers: &[CheckedHeader],
    batch: usize,
) -> (Vec<CheckedHeader>, Next, usize) {
    let mut released = Vec::new();
    for (number, batch) in headers.chunks(batch).enumerate() {
        let followed = presync.follow(network, now_s(network), batch);
        assert!(presync.bytes() < MOST_BYTES);
        released.extend(followed.released);
        if followed.next != Next::More {
            return (released, followed.next, number + 1);
        }
    }
    (released, Next::More, headers.len().div_ceil(batch))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The naive model: an honest chain is released whole and in order, if and only if it has
    /// enough work; of a lie nothing is released.
    #[test]
    fn what_is_released_is_what_showed_its_work(
        seed in any::<u32>(),
        length in 1usize..400,
        enough in 1usize..450,
        batch in 1usize..120,
        lie_at in proptest::option::of(0usize..400),
    ) {
        let network = network();
        let start = genesis(&network);
        let mut end = start.clone();
        let headers = grow(&network, &mut end, u64::from(seed), length);
        let least = (0..enough).fold(start.work, |sum, _| sum + work_of(headers[0].header()));
        let mut presync = Presync::new(SMALL, start.clone(), least, [7; 32]);
        let (released, next, batches) = feed(&mut presync, &network, &headers, batch);
        prop_assert_eq!(released, [], "nothing the first time");
        if length < enough {
            prop_assert_eq!(next, Next::More);
            prop_assert_eq!(presync.end(), end.hash);
            return Ok(());
        }
        prop_assert_eq!((next, batches), (Next::Again, enough.div_ceil(batch)));
        prop_assert_eq!(presync.end(), start.hash);

        let lie_at = lie_at.filter(|at| *at < enough);
        let mut second = headers.clone();
        if let Some(at) = lie_at {
            let mut end = start.clone();
            for header in &headers[..at] {
                end.advance(&network, now_s(&network), header).unwrap();
            }
            second.truncate(at);
            second.extend(grow(&network, &mut end, u64::from(seed) + (1 << 31), length - at));
        }
        let (released, next, batches) = feed(&mut presync, &network, &second, batch);
        prop_assert_eq!(&released[..], &second[..released.len()], "in order, from the start");
        match (next, lie_at) {
            (Next::Enough, None) => {
                prop_assert_eq!(batches, enough.div_ceil(batch));
                prop_assert_eq!(released.len(), (batches * batch).min(length));
            }
            // The few bits after a late lie can come out the same; then its work was done too.
            (Next::Enough, Some(at)) => prop_assert!(enough - at < 24 * 3),
            (Next::Differs, Some(at)) => prop_assert!(released.len() <= at, "nothing of the lie"),
            (next, _) => prop_assert!(false, "{next:?}"),
        }
    }
}

#[test]
fn a_header_is_released_when_enough_bits_after_it_came_out_the_same() {
    let network = network();
    let (start, mut end) = (genesis(&network), genesis(&network));
    let headers = grow(&network, &mut end, 1, 200);
    let mut presync = Presync::new(SMALL, start, end.work, [1; 32]);
    assert_eq!(feed(&mut presync, &network, &headers, 50).1, Next::Again);
    for count in 1..=199 {
        let followed = presync.follow(&network, now_s(&network), &headers[count - 1..count]);
        let expected = count.checked_sub(SMALL.held + 1).map(|at| headers[at]);
        assert_eq!(followed.released, Vec::from_iter(expected), "after {count}");
    }
    let last = presync.follow(&network, now_s(&network), &headers[199..]);
    assert_eq!((last.released.len(), last.next), (SMALL.held + 1, Next::Enough));
}

#[test]
fn salts_choose_other_headers_and_other_bits() {
    let network = network();
    let mut end = genesis(&network);
    let headers = grow(&network, &mut end, 2, 180);
    let bits = |salt: u8| {
        let enough = Work::from_uint(ruint::aliases::U256::MAX);
        let mut presync = Presync::new(SMALL, genesis(&network), enough, [salt; 32]);
        feed(&mut presync, &network, &headers, 60);
        assert_eq!(presync.count, 60);
        presync.bits[0]
    };
    let different: std::collections::BTreeSet<u64> = (0..16).map(bits).collect();
    assert_eq!(different.len(), 16);
}

#[test]
fn a_header_that_breaks_a_rule_ends_it_and_one_too_new_does_not() {
    let network = Network { future_limit_s: 60, ..network() };
    let (start, mut end) = (genesis(&network), genesis(&network));
    let headers = grow(&network, &mut end, 3, 30);
    let enough = Work::from_uint(ruint::aliases::U256::MAX);
    let mut presync = Presync::new(SMALL, start, enough, [1; 32]);
    assert_eq!(feed(&mut presync, &network, &headers, 7).1, Next::More);

    let follow =
        |presync: &mut Presync, header| presync.follow(&network, now_s(&network), &[header]).next;
    let early = header_after(&network, &end, 1, 500);
    let next = follow(&mut presync, early);
    assert!(matches!(next, Next::Broken(RuleError::TimeTooNew { .. })), "{next:?}");
    assert_eq!(presync.end(), end.hash, "it goes on from here");
    let later = presync.follow(&network, now_s(&network) + 600, &[early]);
    assert_eq!((later.next, presync.end()), (Next::More, early.hash()));

    let mut presync = Presync::new(SMALL, end.clone(), enough, [1; 32]);
    let harder = Network { start_bits: CompactTarget(0x203f_ffff), ..network.clone() };
    let next = follow(&mut presync, header_after(&harder, &end, 2, 0));
    assert!(matches!(next, Next::Broken(RuleError::WrongTarget { .. })), "{next:?}");
    let mut old = end.clone();
    old.facts.times.fill(network.genesis_time - 10);
    let next = follow(&mut presync, header_after(&network, &old, 3, 0));
    assert!(matches!(next, Next::Broken(RuleError::TimeTooOld { .. })), "{next:?}");

    let mut known = network.clone();
    known.landmarks.add(Checkpoint { height: 31, hash: Hash([1; 32]) }).unwrap();
    let other = header_after(&network, &end, 4, 0);
    let next = presync.follow(&known, now_s(&network), &[other]).next;
    assert!(matches!(next, Next::Broken(RuleError::Checkpoint { .. })), "{next:?}");
}

#[test]
fn a_chain_longer_than_any_honest_one_ends_it() {
    let network = network();
    let limits = Limits { period: 2, bits: 64, ..SMALL };
    let (start, mut end) = (genesis(&network), genesis(&network));
    let headers = grow(&network, &mut end, 4, 140);
    let enough = Work::from_uint(ruint::aliases::U256::MAX);
    let mut presync = Presync::new(limits, start, enough, [1; 32]);
    assert_eq!(feed(&mut presync, &network, &headers[..127], 20).1, Next::More);
    assert_eq!(presync.bits.len(), 1);
    assert_eq!(feed(&mut presync, &network, &headers[127..], 20).1, Next::TooLong);
    assert_eq!(presync.bits.len(), 1);
}

#[test]
fn the_rules_of_time_let_six_headers_pass_a_second() {
    let network = network();
    let (start, mut end) = (genesis(&network), genesis(&network));
    for number in 0..3000 {
        let header = header_after(&network, &end, number, 0);
        end.advance(&network, now_s(&network), &header).unwrap();
    }
    let seconds = end.facts.median_time() - start.facts.time;
    assert!((499..=501).contains(&seconds), "{seconds}");
}
