//! What a ledger keeps of headers that have not shown enough work.

use chain::landmarks::parse_work;
use chain::ledger::{HeadersVerdict, Input, Ledger, Output, PeerId};
use chain::params::Network;
use chain::rules::isolation::CheckedHeader;
use chain::store::{Archive, MemoryStore, Store};
use chain::{Hash, Work};
use tests::chains::{Grower, Place, account, clock, free_network, memory_ledger, options};
use tests::headers::HeaderChain;

/// Headers in a message.
const BATCH: usize = 2_000;

/// Headers of the flood; `GRAVEN_TEST_HEADERS` sets another number.
const FLOOD: usize = 200_000;

/// What one peer may cost, in bytes.
const MOST_BYTES: usize = 2 * 1024 * 1024;

const PEER: PeerId = PeerId(1);

/// Work of genesis and so many blocks of the free network.
fn work_of(blocks: u64) -> Work {
    parse_work(&(2 * (blocks + 1)).to_string()).unwrap()
}

fn demanding(minimum_work: Work) -> Network {
    let mut network = free_network();
    network.landmarks.minimum_work = minimum_work;
    network
}

/// Gives a peer's headers; the one thing the ledger says about them.
fn give(
    ledger: &mut Ledger<MemoryStore>,
    network: &Network,
    from: PeerId,
    headers: Vec<CheckedHeader>,
) -> HeadersVerdict {
    ledger.handle(clock(network, 0), Input::Headers { from, headers }).unwrap();
    let mut verdicts = Vec::new();
    while let Some(output) = ledger.poll() {
        match output {
            Output::HeadersJudged { verdict, .. } => verdicts.push(verdict),
            Output::PeerFault { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}

fn low(next: Hash) -> HeadersVerdict {
    HeadersVerdict::LowWork { next: Some(next) }
}

/// A ledger whose main chain has so many blocks.
fn grown(network: &Network, blocks: usize) -> (Ledger<MemoryStore>, Vec<Place>) {
    let mut ledger = memory_ledger(options(network));
    let mut grower = Grower::new(network);
    let mut places = vec![grower.place.clone()];
    for _ in 0..blocks {
        let block = grower.grow(account(1), &[]);
        ledger.take(clock(network, 0), Input::Block { from: PEER, block }).unwrap();
        places.push(grower.place.clone());
    }
    ledger.commit(clock(network, 0)).unwrap();
    while ledger.poll().is_some() {}
    (ledger, places)
}

#[test]
fn a_flood_of_low_work_headers_costs_next_to_nothing() {
    let count = std::env::var("GRAVEN_TEST_HEADERS").map_or(FLOOD, |text| text.parse().unwrap());
    let network = demanding(work_of(1 << 40));
    let mut ledger = memory_ledger(options(&network));
    let mut flood = HeaderChain::new(&network, Place::genesis(&network), 1);
    let (mut most, mut spent) = (0, std::time::Duration::ZERO);
    for _ in 0..count / BATCH {
        let headers = flood.checked(BATCH);
        let started = tests::node::now();
        assert_eq!(give(&mut ledger, &network, PEER, headers), low(flood.end()));
        spent += started.elapsed();
        most = most.max(ledger.presync_bytes());
    }
    println!("{count} headers: {most} bytes, {:.0} headers/s", count as f64 / spent.as_secs_f64());
    assert!(most < MOST_BYTES, "{most} bytes");
    assert!(most < 4096 + count / 256 / 4, "at most two bits for each that is kept: {most}");
    assert_eq!(ledger.tree().count(), 1, "genesis");
    assert_eq!(ledger.store().stored_blocks().unwrap(), []);
    ledger.handle(clock(&network, 0), Input::PeerGone { peer: PEER }).unwrap();
    assert_eq!(ledger.presync_bytes(), 0);
}

#[test]
fn enough_work_is_downloaded_again_and_kept() {
    let network = demanding(work_of(9_000));
    let mut ledger = memory_ledger(options(&network));
    let mut chain = HeaderChain::new(&network, Place::genesis(&network), 1);
    let batches: Vec<Vec<CheckedHeader>> = (0..5).map(|_| chain.checked(BATCH)).collect();
    for batch in &batches[..4] {
        let last = batch[BATCH - 1].hash();
        assert_eq!(give(&mut ledger, &network, PEER, batch.clone()), low(last));
        // A question that was answered twice.
        let again = give(&mut ledger, &network, PEER, batch.clone());
        assert_eq!(again, HeadersVerdict::Unconnected);
    }
    let after = network.genesis_hash();
    let verdict = give(&mut ledger, &network, PEER, batches[4].clone());
    assert_eq!(verdict, HeadersVerdict::Again { after });
    assert_eq!(ledger.tree().count(), 1);
    for batch in &batches[..4] {
        let last = batch[BATCH - 1].hash();
        assert_eq!(give(&mut ledger, &network, PEER, batch.clone()), low(last));
        assert!(ledger.presync_bytes() < MOST_BYTES);
    }
    assert_eq!(ledger.tree().count(), 1 + 4 * BATCH - 24 * 256, "the rest waits for more bits");
    let verdict = give(&mut ledger, &network, PEER, batches[4].clone());
    assert!(matches!(verdict, HeadersVerdict::Accepted { .. }), "{verdict:?}");
    assert_eq!(ledger.tree().count(), 1 + 5 * BATCH);
    assert_eq!(ledger.presync_bytes(), 0);
    // Another peer with the same chain need not show anything.
    let verdict = give(&mut ledger, &network, PeerId(2), batches[0].clone());
    assert!(matches!(verdict, HeadersVerdict::Accepted { new: 0, .. }), "{verdict:?}");
}

#[test]
fn another_chain_the_second_time_is_not_kept() {
    let network = demanding(work_of(9_000));
    let mut ledger = memory_ledger(options(&network));
    let genesis = Place::genesis(&network);
    let mut honest = HeaderChain::new(&network, genesis.clone(), 1);
    for _ in 0..4 {
        give(&mut ledger, &network, PEER, honest.checked(BATCH));
    }
    let verdict = give(&mut ledger, &network, PEER, honest.checked(BATCH));
    assert_eq!(verdict, HeadersVerdict::Again { after: network.genesis_hash() });
    let mut other = HeaderChain::new(&network, genesis, 2);
    let mut batches = 0;
    while give(&mut ledger, &network, PEER, other.checked(BATCH))
        != (HeadersVerdict::LowWork { next: None })
    {
        batches += 1;
        assert!(batches < 3, "24 bits came out the same by chance");
    }
    assert_eq!(ledger.tree().count(), 1);
    assert_eq!(ledger.presync_bytes(), 0);
}

#[test]
fn forks_near_the_tip_are_kept_and_older_ones_are_not() {
    let network = free_network();
    let (mut ledger, places) = grown(&network, 400);
    let known = ledger.tree().count();
    // Work for one block less than the tip's 144 blocks ago, and for as much.
    let old = HeaderChain::new(&network, places[200].clone(), 1).checked(55);
    let near = HeaderChain::new(&network, places[200].clone(), 1).checked(56);
    let nothing = HeadersVerdict::LowWork { next: None };
    assert_eq!(give(&mut ledger, &network, PEER, old.clone()), nothing);
    ledger.handle(clock(&network, 0), Input::Announced { from: PEER, header: old[0] }).unwrap();
    let said = std::iter::from_fn(|| ledger.poll()).collect::<Vec<_>>();
    assert!(
        matches!(&said[..], [Output::HeadersJudged { verdict, .. }] if *verdict == nothing),
        "{said:?}"
    );
    assert_eq!((ledger.tree().count(), ledger.presync_bytes()), (known, 0));
    let verdict = give(&mut ledger, &network, PEER, near);
    assert!(matches!(verdict, HeadersVerdict::Accepted { new: 56, .. }), "{verdict:?}");
    // A peer that is far behind, but on our chain.
    let ours = ledger.store().main_headers(1, 5).unwrap();
    let ours = chain::rules::isolation::check_headers(&network, &ours).unwrap();
    let verdict = give(&mut ledger, &network, PEER, ours);
    assert!(matches!(verdict, HeadersVerdict::Accepted { new: 0, .. }), "{verdict:?}");
}

#[test]
fn announcements_do_not_disturb_what_is_followed() {
    let network = demanding(work_of(9_000));
    let mut ledger = memory_ledger(options(&network));
    let genesis = Place::genesis(&network);
    let mut chain = HeaderChain::new(&network, genesis.clone(), 1);
    let first = chain.checked(BATCH);
    give(&mut ledger, &network, PEER, first.clone());
    // A short side chain that connects to the tree, and news from far ahead.
    let side = HeaderChain::new(&network, genesis.clone(), 2).checked(8);
    assert_eq!(give(&mut ledger, &network, PEER, side), low(first[BATCH - 1].hash()));
    let mut ahead = chain.clone();
    ahead.grow(500);
    assert_eq!(give(&mut ledger, &network, PEER, ahead.checked(2)), HeadersVerdict::Unconnected);
    let verdict = give(&mut ledger, &network, PEER, chain.checked(BATCH));
    assert_eq!(verdict, low(chain.end()));
    // When its chain is another now, it begins anew.
    let other = HeaderChain::new(&network, genesis, 3).checked(BATCH);
    let verdict = give(&mut ledger, &network, PEER, other.clone());
    assert_eq!(verdict, low(other[BATCH - 1].hash()));
    assert_eq!(ledger.tree().count(), 1);
}
