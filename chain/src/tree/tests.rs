use super::*;
use crate::params::Network;
use miner::CompactTarget;

fn child(parent: &Header, salt: u32) -> Header {
    Header { prev: parent.hash(), time: parent.time + 1, nonce: salt, ..*parent }
}

fn grow(tree: &mut HeaderTree, parent: &Header, salt: u32, count: u32) -> Vec<Header> {
    let mut headers = Vec::new();
    let mut at = *parent;
    for step in 0..count {
        at = child(&at, salt + step);
        tree.add(&at, at.hash()).unwrap();
        headers.push(at);
    }
    headers
}

fn store(tree: &mut HeaderTree, headers: &[Header]) {
    for header in headers {
        let id = tree.find(&header.hash()).unwrap();
        tree.body_arrived(id);
    }
}

fn follow(tree: &mut HeaderTree) -> bool {
    let Some(path) = tree.better_path() else {
        return false;
    };
    for id in path.revert {
        let parent = tree.parent(id).unwrap();
        tree.set_tip(parent);
    }
    for id in path.connect {
        tree.set_tip(id);
    }
    true
}

fn tip(tree: &HeaderTree) -> Hash {
    tree.point(tree.tip()).hash
}

fn genesis() -> Header {
    Network::dev().genesis().header
}

#[test]
fn the_first_seen_of_equal_chains_stays() {
    let mut tree = HeaderTree::new(&genesis());
    let first = grow(&mut tree, &genesis(), 0, 3);
    let second = grow(&mut tree, &genesis(), 100, 3);
    store(&mut tree, &second);
    assert!(follow(&mut tree));
    store(&mut tree, &first);
    assert!(!follow(&mut tree), "equal work does not move the tip");
    assert_eq!(tip(&tree), second[2].hash());
    let longer = grow(&mut tree, &first[2], 50, 1);
    store(&mut tree, &longer);
    let path = tree.better_path().unwrap();
    assert_eq!((path.revert.len(), path.connect.len()), (3, 4));
    follow(&mut tree);
    assert_eq!(tip(&tree), longer[0].hash());
}

#[test]
fn bodies_out_of_order_connect_once_the_gap_closes() {
    let mut tree = HeaderTree::new(&genesis());
    let headers = grow(&mut tree, &genesis(), 0, 5);
    let wanted: Vec<Hash> = tree.missing(100).iter().map(|point| point.hash).collect();
    assert_eq!(wanted, headers.iter().map(Header::hash).collect::<Vec<_>>());
    store(&mut tree, &headers[1..]);
    assert!(tree.better_path().is_none());
    assert_eq!(tree.missing(100).len(), 1);
    store(&mut tree, &headers[..1]);
    assert!(follow(&mut tree));
    assert_eq!(tip(&tree), headers[4].hash());
    assert!(tree.missing(100).is_empty());
}

#[test]
fn an_invalid_block_takes_its_subtree_and_never_its_siblings() {
    let mut tree = HeaderTree::new(&genesis());
    let trunk = grow(&mut tree, &genesis(), 0, 2);
    let bad = grow(&mut tree, &trunk[1], 10, 4);
    let sibling = grow(&mut tree, &trunk[1], 20, 2);
    store(&mut tree, &trunk);
    store(&mut tree, &bad);
    store(&mut tree, &sibling);
    follow(&mut tree);
    assert_eq!(tip(&tree), bad[3].hash());
    // As the ledger does it: step back below the bad block, mark it, choose again.
    for header in bad.iter().rev() {
        let id = tree.find(&header.hash()).unwrap();
        let parent = tree.parent(id).unwrap();
        tree.set_tip(parent);
    }
    let id = tree.find(&bad[0].hash()).unwrap();
    tree.mark_invalid(id);
    assert!(follow(&mut tree));
    assert_eq!(tip(&tree), sibling[1].hash());
    assert_eq!(tree.point(tree.best_header()).hash, sibling[1].hash());
    let later = child(&bad[3], 77);
    let added = tree.add(&later, later.hash()).unwrap();
    assert!(tree.is_invalid(added.id()), "descendants that come later are invalid too");
}

#[test]
fn fewer_harder_blocks_beat_more_easy_ones() {
    let mut tree = HeaderTree::new(&genesis());
    let easy = grow(&mut tree, &genesis(), 0, 3);
    let mut hard = child(&genesis(), 9);
    hard.bits = CompactTarget(0x1d00_ffff);
    tree.add(&hard, hard.hash()).unwrap();
    store(&mut tree, &easy);
    store(&mut tree, &[hard]);
    follow(&mut tree);
    assert_eq!(tip(&tree), hard.hash());
}

#[test]
fn locators_reach_genesis_in_widening_steps() {
    let mut tree = HeaderTree::new(&genesis());
    let headers = grow(&mut tree, &genesis(), 0, 500);
    let locator = tree.locator();
    assert_eq!(locator[0], headers[499].hash());
    assert_eq!(locator[9], headers[490].hash());
    assert_eq!(locator.last(), Some(&genesis().hash()));
    assert!(locator.len() < 25, "{}", locator.len());
}

#[test]
fn a_tie_is_noticed_by_headers_alone_and_ends_with_the_next_block() {
    let mut tree = HeaderTree::new(&genesis());
    let first = grow(&mut tree, &genesis(), 0, 2);
    assert!(!tree.is_tied());
    let second = grow(&mut tree, &genesis(), 100, 2);
    assert!(!tree.is_tied(), "the tip is genesis, which is behind both");
    store(&mut tree, &first);
    follow(&mut tree);
    assert!(tree.is_tied());
    let id = tree.find(&second[1].hash()).unwrap();
    tree.mark_invalid(id);
    assert!(!tree.is_tied());
    grow(&mut tree, &second[0], 200, 1);
    assert!(tree.is_tied());
    grow(&mut tree, &first[1], 300, 1);
    assert!(!tree.is_tied());
}

#[test]
fn a_branch_longer_than_the_window_is_wanted_to_its_end() {
    let mut tree = HeaderTree::new(&genesis());
    let main = grow(&mut tree, &genesis(), 0, 8);
    store(&mut tree, &main);
    follow(&mut tree);
    let branch = grow(&mut tree, &genesis(), 100, 9);
    let hashes = |headers: &[Header]| headers.iter().map(Header::hash).collect::<Vec<Hash>>();
    let wanted =
        |tree: &HeaderTree| tree.missing(3).iter().map(|point| point.hash).collect::<Vec<Hash>>();
    // None of these makes a better tip before the last has come.
    for window in branch.chunks(3) {
        assert_eq!(wanted(&tree), hashes(window));
        store(&mut tree, &window[1..]);
        assert_eq!(wanted(&tree), hashes(&window[..1]), "the window begins where one is missing");
        store(&mut tree, &window[..1]);
    }
    assert!(follow(&mut tree));
    assert_eq!(tip(&tree), branch[8].hash());
}
