use miner::{CompactTarget, sha256d};

use super::*;
use crate::header::VERSION_FIXED;
use crate::landmarks::Checkpoint;
use crate::params::Retarget;
use crate::rules::context::ParentFacts;
use crate::rules::difficulty::required_bits;

const PAGE: usize = 50;

/// Two hashes make a header at the start; late headers have less work.
fn network() -> Network {
    Network {
        name: "easy".to_string(),
        start_bits: CompactTarget(0x207f_ffff),
        target_interval_s: 10,
        retarget: Retarget::Asert { half_life_s: 400 },
        ..Network::dev()
    }
}

fn mine(mut header: Header) -> Header {
    while !header.bits.decode().unwrap().is_met_by(&header.hash()) {
        header.nonce += 1;
    }
    header
}

/// So many valid headers after `chain`, `pace_s` apart; another seed gives others.
fn grow(network: &Network, chain: &[Header], seed: u64, count: usize, pace_s: u32) -> Vec<Header> {
    let genesis = network.genesis().header;
    let mut facts = ParentFacts { height: 0, time: genesis.time, times: vec![genesis.time] };
    chain.iter().for_each(|header| facts.advance(header));
    let mut all = chain.to_vec();
    for _ in 0..count {
        let number = seed << 32 | u64::from(facts.height);
        let header = mine(Header {
            version: VERSION_FIXED,
            prev: all.last().unwrap_or(&genesis).hash(),
            merkle_root: sha256d(&number.to_le_bytes()),
            time: (facts.time + pace_s).max(facts.median_time() + 1),
            bits: required_bits(network, facts.height, facts.time),
            nonce: 0,
        });
        facts.advance(&header);
        all.push(header);
    }
    all
}

/// What an honest node answers that has this chain.
fn page(chain: &[Header], locator: &[Hash]) -> Vec<Header> {
    let place = |hash: &Hash| chain.iter().position(|header| header.hash() == *hash);
    let from = locator.iter().find_map(place).map_or(0, |at| at + 1);
    chain.iter().skip(from).take(PAGE).copied().collect()
}

/// Asks until there is no more; how often.
fn sync(light: &mut LightChain, chain: &[Header]) -> Result<usize, RuleError> {
    let mut source = Source::new([7; 32]);
    let now_s = u64::from(light.network.genesis_time);
    for asked in 1.. {
        assert!(asked < 10_000, "it ends");
        let headers = page(chain, &light.locator(&source));
        let more = light.take(&mut source, now_s, &headers, headers.len() == PAGE)?;
        if more == More::No {
            return Ok(asked);
        }
    }
    unreachable!("it ends")
}

fn tip_of(chain: &[Header]) -> Hash {
    chain.last().unwrap().hash()
}

#[test]
fn the_chain_with_the_most_work_is_the_best_and_others_are_not_kept() {
    let network = network();
    let mut light = LightChain::new(network.clone());
    let long = grow(&network, &[], 1, 220, 10);
    sync(&mut light, &long).unwrap();
    assert_eq!((light.tip().height, light.tip().hash), (220, tip_of(&long)));
    let count = light.tree.count();
    // Longer, but in less time: each of its headers has more work. The other way round: less work.
    let late = grow(&network, &long[..20], 2, 200, 40);
    sync(&mut light, &late).unwrap();
    assert_eq!((light.tip().hash, light.tree.count()), (tip_of(&long), count));
    let quick = grow(&network, &long[..20], 3, 170, 1);
    assert!(quick.len() < long.len());
    sync(&mut light, &quick).unwrap();
    assert_eq!(light.tip().hash, tip_of(&quick));
    assert_eq!(light.common_height(&tip_of(&long)), 20);
    assert_eq!(light.common_height(&Hash([9; 32])), 0);
    assert_eq!(light.header(21), Some(&quick[20]));
    // And none of the same work, which would change nothing.
    let asked = sync(&mut light, &long).unwrap();
    assert!(asked < 20 && light.tip().hash == tip_of(&quick));
}

#[test]
fn a_fork_that_shows_its_work_late_is_taken_with_the_second_download() {
    let network = network();
    let mut light = LightChain::new(network.clone());
    let long = grow(&network, &[], 1, 900, 10);
    sync(&mut light, &long).unwrap();
    let other = grow(&network, &long[..3], 2, 1_000, 10);
    let asked = sync(&mut light, &other).unwrap();
    assert_eq!(light.tip().hash, tip_of(&other));
    assert!(asked > 2 * (900 / PAGE), "asked {asked} times");
}

#[test]
fn every_broken_rule_is_noticed() {
    let network = network();
    let chain = grow(&network, &[], 1, 30, 10);
    let refused = |spoil: &dyn Fn(&mut Header)| {
        let mut light = LightChain::new(network.clone());
        let mut spoilt = chain.clone();
        spoil(&mut spoilt[20]);
        let end = spoilt.len().min(21);
        let error = sync(&mut light, &spoilt[..end]).unwrap_err();
        assert!(light.tip().height <= 20);
        error
    };
    let again = |header: &mut Header| *header = mine(*header);
    assert!(matches!(
        refused(&|header| {
            header.time = chain[10].time;
            again(header);
        }),
        RuleError::TimeTooOld { .. }
    ));
    assert!(matches!(
        refused(&|header| {
            header.bits = CompactTarget(0x2000_ffff);
            again(header);
        }),
        RuleError::WrongTarget { .. }
    ));
    assert!(matches!(
        refused(&|header| {
            while header.bits.decode().unwrap().is_met_by(&header.hash()) {
                header.nonce += 1;
            }
        }),
        RuleError::NotEnoughWork { .. }
    ));
    assert!(matches!(
        refused(&|header| {
            header.prev = chain[3].hash();
            again(header);
        }),
        RuleError::NotLinked { .. }
    ));
    assert!(matches!(
        refused(&|header| {
            header.version = 1;
            again(header);
        }),
        RuleError::HeaderVersion { got: 1 }
    ));
    assert!(matches!(
        refused(&|header| {
            header.time = u32::MAX;
            again(header);
        }),
        RuleError::TimeTooNew { .. }
    ));
}

#[test]
fn what_is_known_of_the_chain_holds() {
    let mut network = network();
    let chain = grow(&network, &[], 1, 120, 10);
    let mut whole = LightChain::new(network.clone());
    sync(&mut whole, &chain).unwrap();

    network.landmarks.minimum_work = whole.work();
    let mut light = LightChain::new(network.clone());
    sync(&mut light, &chain[..119]).unwrap();
    assert_eq!((light.tree.count(), light.has_enough_work()), (1, false));
    sync(&mut light, &chain).unwrap();
    assert_eq!((light.tip().height, light.has_enough_work()), (120, true));

    network.landmarks.add(Checkpoint { height: 60, hash: Hash([6; 32]) }).unwrap();
    let mut light = LightChain::new(network);
    let error = sync(&mut light, &chain).unwrap_err();
    assert!(matches!(error, RuleError::Checkpoint { height: 60, .. }), "{error}");
    assert!(!light.has_enough_work());
}

#[test]
fn kept_headers_are_taken_up_to_the_first_that_is_not_good() {
    let network = network();
    let mut chain = grow(&network, &[], 1, 40, 10);
    let mut light = LightChain::new(network.clone());
    let now_s = u64::from(network.genesis_time) + 400;
    assert_eq!(light.restore(now_s, &chain), (40, None));
    let mut light = LightChain::new(network.clone());
    chain[25].nonce ^= 1 << 20;
    let (taken, error) = light.restore(now_s, &chain);
    assert!(taken == 25 || taken == 26, "{taken}");
    assert!(error.is_some() && light.tip().height as usize == taken);
    let (none, error) = LightChain::new(network).restore(now_s, &chain[1..]);
    assert!(none == 0 && matches!(error, Some(RuleError::NotLinked { .. })));
}

#[test]
fn whoever_says_the_same_again_is_not_asked_for_ever() {
    let network = network();
    let chain = grow(&network, &[], 1, 4 * PAGE, 10);
    let mut light = LightChain::new(network.clone());
    sync(&mut light, &chain).unwrap();
    let mut source = Source::new([1; 32]);
    let now_s = u64::from(network.genesis_time);
    let mut take = |from: usize| {
        let headers = &chain[from..from + PAGE];
        light.take(&mut source, now_s, headers, true).unwrap()
    };
    assert_eq!((take(0), take(PAGE)), (More::Ask, More::Ask));
    assert_eq!(take(0), More::No, "it goes back");
    assert_eq!((take(PAGE), take(PAGE)), (More::Ask, More::No), "it stays");
}

/// The others were never asked.
#[test]
fn whoever_begins_anew_with_each_page_is_not_asked_for_ever() {
    let network = network();
    let chain = grow(&network, &[], 1, 4 * PAGE, 10);
    let mut light = LightChain::new(network.clone());
    sync(&mut light, &chain).unwrap();
    let now_s = u64::from(network.genesis_time);
    let [one, other] = [2, 3].map(|seed| grow(&network, &[], seed, 2 * PAGE, 10));
    let (first, second) = one.split_at(PAGE);
    for pages in [[first, first], [first, &other[..PAGE]]] {
        let mut source = Source::new([1; 32]);
        let more = pages.map(|page| light.take(&mut source, now_s, page, true).unwrap());
        assert_eq!(more[1], More::No);
    }
    let mut source = Source::new([1; 32]);
    let mut take = |page| light.take(&mut source, now_s, page, true).unwrap();
    assert_eq!((take(first), take(second), take(first)), (More::Ask, More::Ask, More::No));
    assert_eq!(take(first), More::No, "nor from the start");
    assert_eq!(light.tip().hash, tip_of(&chain));
    // The chain's own first page, while the network is known to have more work.
    let mut network = network;
    network.landmarks.minimum_work = light.work();
    let (mut light, mut source) = (LightChain::new(network), Source::new([1; 32]));
    let mut take = || light.take(&mut source, now_s, &chain[..PAGE], true).unwrap();
    assert_eq!((take(), take(), take()), (More::Ask, More::No, More::No));
}

/// Anybody can write a file, and date its headers as he likes.
#[test]
fn kept_headers_from_the_future_are_not_taken() {
    let network = network();
    let mut chain = grow(&network, &[], 1, 3, 10);
    let late = u32::MAX - chain[2].time - 10;
    chain.extend(grow(&network, &chain, 1, 1, late).pop());
    let mut light = LightChain::new(network.clone());
    let (taken, error) = light.restore(u64::from(network.genesis_time), &chain);
    assert!(taken == 3 && matches!(error, Some(RuleError::TimeTooNew { .. })), "{error:?}");
    assert_eq!(light.restore(u64::from(u32::MAX), &chain[3..]), (1, None));
}
