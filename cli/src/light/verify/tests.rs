use chain::CompactTarget;
use chain::block::Coinbase;
use chain::header::VERSION_FIXED;
use chain::landmarks::{Checkpoint, parse_work};
use chain::light::Source;
use chain::params::Retarget;
use chain::rules::context::ParentFacts;
use chain::tx::PublicKey;
use kv::proof::{Claim, CoinbaseParts, Finding, Proof};

use super::*;

const PAYEE: PublicKey = PublicKey([3; 32]);

/// Two hashes make a header at the start, and late blocks are easy.
fn network() -> Network {
    Network {
        name: "easy".to_string(),
        start_bits: CompactTarget(0x207f_ffff),
        target_interval_s: 10,
        retarget: Retarget::Asert { half_life_s: 20 },
        ..Network::dev()
    }
}

fn coinbase(height: u32) -> Coinbase {
    let (extranonce, tag, value, state_root) = (1, b"t".to_vec(), 2, [0; 32]);
    Coinbase { height, extranonce, tag, value, payee: PAYEE, state_root }
}

/// A chain of blocks whose states are empty, genesis first.
fn grow(network: &Network, chain: &[Header], count: u32, pace_s: u32, seed: u8) -> Vec<Header> {
    let mut all = chain.to_vec();
    if all.is_empty() {
        all.push(network.genesis().header);
    }
    let mut facts = ParentFacts { height: 0, time: all[0].time, times: vec![all[0].time] };
    all[1..].iter().for_each(|header| facts.advance(header));
    for _ in 0..count {
        let mut header = Header {
            version: VERSION_FIXED,
            prev: all.last().unwrap().hash(),
            merkle_root: coinbase(facts.height + 1).txid(),
            time: facts.time + pace_s,
            bits: required_bits(network, facts.height, facts.time),
            nonce: u32::from(seed) << 24,
        };
        while !header.bits.decode().unwrap().is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        facts.advance(&header);
        all.push(header);
    }
    all
}

/// Shows that `key` was never written as of this height.
fn file(network: &Network, chain: &[Header], height: usize, since: usize, to: usize) -> ProofFile {
    let Coinbase { height: named, extranonce, tag, value, payee, .. } =
        coinbase(u32::try_from(height).unwrap());
    let proof = Proof {
        key: b"key".to_vec(),
        block: chain[height].hash(),
        coinbase: CoinbaseParts { height: named, extranonce, tag, value, payee },
        branch: Vec::new(),
        steps: Vec::new(),
        other: None,
        claim: Claim::Absent,
    };
    ProofFile::new(network, proof, chain[since..=to].to_vec())
}

fn light(network: &Network, chain: &[Header]) -> LightChain {
    let mut light = LightChain::new(network.clone());
    let now_s = u64::from(network.genesis_time);
    light.take(&mut Source::new([1; 32]), now_s, &chain[1..], false).unwrap();
    light
}

/// A block that is known with its height.
fn trust_in(chain: &[Header], known: &Header) -> Trust<'static> {
    let height = chain.iter().position(|header| header == known);
    let height = height.map(|height| u32::try_from(height).unwrap());
    Trust::Checkpoint { hash: known.hash(), height }
}

fn wanted(network: &Network) -> Wanted {
    let now_s = u64::from(network.genesis_time) + 1_000;
    Wanted { min_confirmations: 1, max_confirmations: None, max_age_s: None, now_s }
}

#[test]
fn a_block_on_the_clients_own_chain_proves() {
    let network = network();
    let chain = grow(&network, &[], 20, 10, 1);
    let light = light(&network, &chain);
    let (file, trust) = (file(&network, &chain, 15, 15, 15), Trust::Headers(&light));
    let wanted = wanted(&network);
    let verified = verify(&file, &network, trust, wanted).unwrap();
    assert_eq!((verified.confirmations, verified.tip), (6, light.tip()));
    assert_eq!(verified.proven.finding, Finding::Absent);
    let exit = |wanted| verify(&file, &network, trust, wanted).map_err(|doubt| doubt.exit());
    assert_eq!(exit(Wanted { min_confirmations: 6, ..wanted }).map(|_| ()), Ok(()));
    assert_eq!(exit(Wanted { min_confirmations: 7, ..wanted }).map(|_| ()), Err(3));
    assert_eq!(exit(Wanted { max_confirmations: Some(6), ..wanted }).map(|_| ()), Ok(()));
    assert_eq!(exit(Wanted { max_confirmations: Some(5), ..wanted }).map(|_| ()), Err(4));
    assert_eq!(exit(Wanted { max_age_s: Some(850), ..wanted }).map(|_| ()), Ok(()));
    assert_eq!(exit(Wanted { max_age_s: Some(849), ..wanted }).map(|_| ()), Err(4));
}

#[test]
fn a_block_that_is_not_there_does_not() {
    let network = network();
    let chain = grow(&network, &[], 20, 10, 1);
    let own = light(&network, &chain);
    let wanted = wanted(&network);
    let exit = |file: &ProofFile, light: &LightChain| {
        verify(file, &network, Trust::Headers(light), wanted).map_err(|doubt| doubt.exit()).err()
    };
    // A chain with less work, and one that the client has not seen yet.
    let other = grow(&network, &chain[..10], 9, 12, 2);
    assert_eq!(exit(&file(&network, &other, 15, 15, 18), &own), Some(1));
    assert_eq!(exit(&file(&network, &other, 8, 8, 18), &own), None, "that block is common");
    // Near its end the client's own chain may be what was left since.
    assert_eq!(exit(&file(&network, &other, 16, 16, 18), &own), Some(3));
    let longer = grow(&network, &chain, 5, 10, 1);
    assert_eq!(exit(&file(&network, &longer, 21, 21, 25), &own), Some(3));
    // A block that names another height than it has.
    let mut moved = file(&network, &chain, 15, 15, 15);
    moved.proof.coinbase.height = 14;
    assert_eq!(exit(&moved, &own), Some(1));
    // Another network, by either of its names; another key than is said.
    let honest = file(&network, &chain, 15, 15, 15);
    assert_eq!(exit(&honest, &own), None);
    let genesis = Hash([1; 32]);
    assert_eq!(exit(&ProofFile { genesis, ..honest.clone() }, &own), Some(1));
    let named = "main".to_string();
    assert_eq!(exit(&ProofFile { network: named, ..honest.clone() }, &own), Some(1));
    assert_eq!(exit(&ProofFile { key: b"kex".to_vec(), ..honest.clone() }, &own), Some(1));
    // Headers with less work than the network's chain is known to have.
    let mut known = network.clone();
    known.landmarks.minimum_work = parse_work("1000000000").unwrap();
    let poor = LightChain::new(known);
    assert_eq!(exit(&file(&network, &chain, 0, 0, 0), &poor), Some(3));
    assert_eq!(verify(&honest, &network, Trust::Nothing, wanted).unwrap_err().exit(), 3);
}

#[test]
fn a_checkpoint_leads_to_a_block_by_headers_that_are_checked() {
    let network = network();
    let chain = grow(&network, &[], 30, 5, 1);
    let wanted = wanted(&network);
    let check = |file: &ProofFile, known: &Header| {
        let trust = trust_in(&chain, known);
        verify(file, &network, trust, wanted).map_err(|doubt| doubt.exit())
    };
    let confirmed = |file: &ProofFile, known: &Header| check(file, known).unwrap().confirmations;
    let honest = file(&network, &chain, 20, 15, 25);
    assert_eq!(confirmed(&honest, &chain[20]), 6, "the block itself");
    assert_eq!(confirmed(&honest, &chain[23]), 6, "a later one");
    assert_eq!(confirmed(&honest, &chain[15]), 6, "an earlier one");
    assert_eq!(check(&honest, &chain[14]).map(|_| ()), Err(3));
    assert_eq!(check(&file(&network, &chain, 20, 21, 25), &chain[22]).map(|_| ()), Err(3));
    assert_eq!(confirmed(&file(&network, &chain, 20, 0, 25), &chain[0]), 6, "genesis");
    // Any header between that is not good.
    for at in 0..honest.headers.len() {
        let mut file = honest.clone();
        file.headers.remove(at);
        if at != 0 && at != 10 {
            assert!(check(&file, &chain[15]).is_err(), "{at} is left out");
        }
        let mut file = honest.clone();
        file.headers[at].time ^= 1;
        assert!(check(&file, &chain[25]).is_err(), "{at} is changed");
    }
    // Blocks that are far too easy, because their maker says that much time has passed.
    let late = grow(&network, &chain[..16], 1, 20_000, 9);
    let forged = grow(&network, &late, 10, 10, 9);
    let forgery = file(&network, &forged, 20, 15, 26);
    assert_eq!(check(&forgery, &chain[15]).map(|_| ()), Err(3));
    let early = Wanted { now_s: wanted.now_s - 86400 * 365, ..wanted };
    let trust = trust_in(&chain, &chain[15]);
    let error = verify(&forgery, &network, trust, early).unwrap_err();
    assert!(error.exit() == 3 && error.to_string().contains("time"), "{error}");
    let mut known = network.clone();
    known.landmarks.add(Checkpoint { height: 18, hash: chain[18].hash() }).unwrap();
    let error = verify(&forgery, &known, trust, wanted).unwrap_err();
    assert_eq!(error.exit(), 1, "{error}");
}

#[test]
fn work_is_counted_in_blocks_as_hard_as_the_checkpoint() {
    let header = |bits| Header { bits: CompactTarget(bits), ..network().genesis().header };
    let (hard, easy) = (header(0x2000_ffff), header(0x207f_ffff));
    assert_eq!(by_work(&[hard; 7], &hard), 7);
    assert_eq!(by_work(&[hard; 7], &easy), 7, "no more than there are");
    assert_eq!(by_work(&[easy; 100], &hard), 0);
    assert_eq!(by_work(&[easy; 300], &hard), 2);
    assert_eq!(by_work(&[], &hard), 0);
}

/// It was shown as if it had been checked, and decided which targets and landmarks hold.
#[test]
fn a_height_after_a_checkpoint_is_not_the_provers_word() {
    let network = network();
    let chain = grow(&network, &[], 30, 5, 1);
    let wanted = wanted(&network);
    let check = |file: &ProofFile, known: usize, height| {
        let trust = Trust::Checkpoint { hash: chain[known].hash(), height };
        verify(file, &network, trust, wanted).map_err(|doubt| doubt.exit()).err()
    };
    let honest = file(&network, &chain, 20, 15, 25);
    assert_eq!(check(&honest, 15, None), Some(3));
    assert_eq!((check(&honest, 20, None), check(&honest, 25, None)), (None, None));
    assert_eq!(check(&honest, 15, Some(15)), None);
    for known in [15, 20, 25] {
        assert_eq!(check(&honest, known, Some(16)), Some(1), "{known}");
    }
    // A block of the prover's own, on the true checkpoint, that says it is lower: easier to find.
    let mut facts = ParentFacts { height: 0, time: chain[0].time, times: vec![chain[0].time] };
    chain[1..16].iter().for_each(|header| facts.advance(header));
    facts.height = 3;
    let mut header = Header {
        prev: chain[15].hash(),
        merkle_root: coinbase(4).txid(),
        bits: required_bits(&network, facts.height, facts.time),
        ..chain[16]
    };
    while !header.bits.decode().unwrap().is_met_by(&header.hash()) {
        header.nonce += 1;
    }
    let mut forged = file(&network, &[chain[15], header], 1, 0, 1);
    forged.proof.coinbase.height = 4;
    assert_eq!(check(&forged, 15, None), Some(3));
    assert_eq!(check(&forged, 15, Some(15)), Some(1));
}

#[test]
fn a_clock_that_is_slow_refutes_no_proof() {
    let network = network();
    let chain = grow(&network, &[], 30, 5, 1);
    let honest = file(&network, &chain, 20, 15, 25);
    let now_s = u64::from(network.genesis_time) - 86_400 * 365;
    let slow = Wanted { now_s, ..wanted(&network) };
    let error = verify(&honest, &network, trust_in(&chain, &chain[20]), slow).unwrap_err();
    assert_eq!(error.exit(), 3, "{error}");
}
