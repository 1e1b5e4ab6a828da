//! What byzantine nodes do. Apart from this they run the same code as all others.

use std::collections::BTreeMap;

use chain::block::Block;
use chain::header::Header;
use chain::ledger::PeerId;
use chain::params::MEDIAN_TIME_SPAN;
use chain::rules::context::ParentFacts;
use chain::store::Archive;
use chain::tx::PublicKey;
use chain::{Hash, sha256d};
use net::wire::Message;
use net::wire::message::{MAX_BLOCKS_ASKED, MAX_HEADERS, MAX_TXIDS};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Simulation;
use super::disk::Crash;
use super::node::{address, node_id};
use crate::chains::{Place, candidate, mined, unsigned};
use crate::headers::HeaderChain;
use crate::replay::executed;

/// With fewer peers a byzantine node begins again under another name.
const FEW_PEERS: usize = 2;

/// Messages of a flood: more than a peer may say at once.
const FLOOD: usize = 400;

/// How far back stale headers lie.
const STALE: u32 = 20;

impl Simulation {
    /// A byzantine node does one bad thing.
    pub(super) fn mischief(&mut self, node: usize) {
        let Some(live) = &self.nodes[node].live else { return };
        let peers: Vec<PeerId> = live.links.keys().copied().collect();
        if peers.len() < FEW_PEERS {
            return self.reborn(node);
        }
        let peer = peers[self.draws.faults.random_range(0..peers.len())];
        match self.draws.faults.random_range(0..10) {
            0 => {
                self.counts.add("byzantine: garbage");
                let mut bytes = vec![0; self.draws.faults.random_range(5..200)];
                self.draws.faults.fill(&mut bytes[..]);
                self.send_bytes(node, peer, bytes);
            }
            1 => {
                self.counts.add("byzantine: invalid block");
                let block = self.invalid_block(node);
                self.offer(node, &peers, &block, true);
            }
            2 => {
                self.counts.add("byzantine: withheld body");
                let block = self.valid_block(node, 0);
                self.offer(node, &peers, &block, false);
            }
            3 => {
                self.counts.add("byzantine: two blocks of equal work");
                let (left, right) = peers.split_at(peers.len() / 2);
                let (one, other) = (self.valid_block(node, 1), self.valid_block(node, 2));
                self.offer(node, left, &one, true);
                self.offer(node, right, &other, true);
            }
            4 => {
                self.counts.add("byzantine: stale headers");
                let tip = self.tip_height(node);
                let from = tip.saturating_sub(STALE).max(1);
                let store = self.live(node).ledger.store();
                let headers = store.main_headers(from, 8).expect("memory does not fail");
                if !headers.is_empty() {
                    for _ in 0..5 {
                        self.send(node, peer, &Message::Headers(headers.clone()));
                    }
                }
            }
            5 => {
                self.counts.add("byzantine: long chain of little work");
                let headers = self.low_work_headers();
                self.send(node, peer, &Message::Headers(headers));
            }
            _ => self.flood(node, peer),
        }
    }

    /// Many messages at once, none of which breaks a rule.
    fn flood(&mut self, node: usize, peer: PeerId) {
        match self.draws.faults.random_range(0..4) {
            0 => {
                self.counts.add("byzantine: flood of announcements");
                for _ in 0..5 {
                    let txids = random_hashes(&mut self.draws.faults, MAX_TXIDS);
                    self.send(node, peer, &Message::AnnounceTransactions { txids });
                }
            }
            1 => {
                self.counts.add("byzantine: flood of questions for headers");
                for _ in 0..FLOOD {
                    let locator = random_hashes(&mut self.draws.faults, 1);
                    self.send(node, peer, &Message::GetHeaders { locator });
                    self.send(node, peer, &Message::Ping(0));
                }
            }
            2 => {
                self.counts.add("byzantine: flood of known blocks");
                let from = self.tip_height(node).saturating_sub(STALE).max(1);
                let store = self.live(node).ledger.store();
                let headers = store.main_headers(from, 8).expect("memory does not fail");
                for header in headers.iter().cycle().take(FLOOD) {
                    self.send(node, peer, &Message::AnnounceBlock(*header));
                    let hash = header.hash();
                    self.send(node, peer, &Message::GetCompactBlock { hash });
                }
            }
            _ => {
                self.counts.add("byzantine: flood of requests");
                for _ in 0..5 {
                    let hashes = random_hashes(&mut self.draws.faults, MAX_BLOCKS_ASKED);
                    self.send(node, peer, &Message::GetBlocks { hashes: hashes.clone() });
                    self.send(node, peer, &Message::GetTransactions { txids: hashes });
                }
            }
        }
    }

    /// Nobody talks to it any more: a new address, a new name.
    fn reborn(&mut self, node: usize) {
        self.counts.add("byzantine: new identity");
        self.end_node(node, Crash::Kill);
        let number = self.next_address;
        self.next_address += 1;
        let site = &mut self.nodes[node];
        self.addresses.remove(&site.address);
        (site.address, site.node_id) = (address(number), node_id(self.options.seed, number));
        self.addresses.insert(site.address, node);
        self.start(node);
    }

    /// Announces a block of its own making, and gives or withholds the body.
    fn offer(&mut self, node: usize, peers: &[PeerId], block: &Block, gives: bool) {
        let body = gives.then(|| block.encode());
        self.forged.insert(block.header.hash(), body);
        for peer in peers {
            self.send(node, *peer, &Message::Headers(vec![block.header]));
        }
    }

    fn tip_height(&mut self, node: usize) -> u32 {
        self.live(node).ledger.standing().tip.height
    }

    /// The end of a node's chain.
    fn place(&mut self, node: usize) -> Place {
        let tip = self.live(node).ledger.standing().tip;
        let store = self.live(node).ledger.store();
        let span = u32::try_from(MEDIAN_TIME_SPAN).expect("eleven");
        let from = (tip.height + 1).saturating_sub(span);
        let headers = store.main_headers(from, MEDIAN_TIME_SPAN).expect("memory does not fail");
        let times: Vec<u32> = headers.iter().rev().map(|header: &Header| header.time).collect();
        Place { hash: tip.hash, facts: ParentFacts { height: tip.height, time: times[0], times } }
    }

    /// A block on a node's tip that breaks no rule, unmined.
    fn unmined(&mut self, node: usize, extranonce: u64) -> Block {
        let place = self.place(node);
        let payee = PublicKey::from(&self.nodes[node].key);
        let network = self.network.clone();
        let mut block = candidate(&network, &place, payee, &[]);
        let now = u32::try_from(self.now / 1000).expect("before the year 2106");
        block.header.time = now.max(place.facts.median_time() + 1);
        block.coinbase.extranonce = extranonce;
        let store = self.live(node).ledger.store();
        let delta = executed(&network, store, payee, &[]).expect("nothing in it can fail");
        block.coinbase.state_root = delta.state_root;
        block
    }

    fn valid_block(&mut self, node: usize, extranonce: u64) -> Block {
        mined(self.unmined(node, extranonce))
    }

    /// A chain from genesis on that keeps to the schedule, so that no header costs much.
    fn low_work_headers(&mut self) -> Vec<Header> {
        let minutes = (self.now - self.started) / 60_000;
        // Half as many as there should be: it never has the most work.
        let count = usize::try_from(minutes / 2).expect("a short life").clamp(1, MAX_HEADERS);
        let seed = self.draws.faults.random_range(1..1 << 20);
        HeaderChain::on_schedule(&self.network, Place::genesis(&self.network), seed).grow(count)
    }

    /// A block whose coinbase takes too much, or that cannot be executed.
    fn invalid_block(&mut self, node: usize) -> Block {
        let mut block = self.unmined(node, 3);
        if self.draws.faults.random_bool(0.5) {
            block.coinbase.value += 1;
            return mined(block);
        }
        let key = self.nodes[node].key;
        let operations = [kv::Operation::Delete { key: b"x", expect: kv::Expect::Any }];
        let transaction = unsigned(&key, 1_000, &operations);
        let transaction = transaction.sign(&key, &self.network.genesis_hash());
        block.transactions.push(std::sync::Arc::new(transaction));
        mined(block)
    }
}

/// Hashes of nothing.
fn random_hashes(draw: &mut StdRng, count: usize) -> Vec<Hash> {
    let unique: BTreeMap<Hash, ()> =
        (0..count).map(|_| (sha256d(&draw.random::<u64>().to_le_bytes()), ())).collect();
    unique.into_keys().collect()
}
