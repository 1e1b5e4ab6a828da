//! Chains to test with: networks whose blocks take two hashes, signers, transactions, blocks.
//!
//! Nothing here is checked: what these functions make can be spoilt before it is signed or mined.

use std::sync::Arc;

use chain::block::{Block, CheckedBlock, Coinbase};
use chain::commitment::EMPTY;
use chain::execute::Delta;
use chain::header::{Header, VERSION_FIXED};
use chain::ledger::{Ledger, LedgerOptions, Time};
use chain::mempool::PoolLimits;
use chain::params::{KeyPolicy, Network, Retarget, Subsidy};
use chain::rules::context::{ParentFacts, reward};
use chain::rules::difficulty::required_bits;
use chain::rules::isolation::{CheckedHeader, check_headers};
use chain::rules::{isolation, merkle};
use chain::store::MemoryStore;
use chain::tx::{CheckedTransaction, PublicKey, SigningKey, TRANSACTION_VERSION, Unsigned};
use chain::verify::Verifier;
use chain::{CompactTarget, Hash};
use kv::{Expect, KeyValue, Operation};
use miner::{Job, Solution};

use crate::replay::Replay;

/// Half of all hashes meet it.
const EASY_BITS: CompactTarget = CompactTarget(0x207f_ffff);

/// Like `dev`, but two hashes make a block.
pub fn free_network() -> Network {
    let name = "free".to_string();
    Network { name, start_bits: EASY_BITS, ..Network::dev() }
}

/// With fees, coins that are scarce and mature late, and owned keys.
pub fn paid_network() -> Network {
    Network {
        name: "paid".to_string(),
        min_fee_per_byte: 1,
        default_policy: KeyPolicy::Owned,
        subsidy: Subsidy { initial: 1_500, halving_blocks: 40, maturity_blocks: 3 },
        ..free_network()
    }
}

/// With targets that follow the blocks' times, so that a short chain can outweigh a long one.
pub fn asert_network() -> Network {
    Network {
        name: "asert".to_string(),
        target_interval_s: 10,
        retarget: Retarget::Asert { half_life_s: 20 },
        ..free_network()
    }
}

/// A signer by number; the same number is always the same signer.
pub fn signing_key(number: u8) -> SigningKey {
    SigningKey::from([number.wrapping_add(1); 32])
}

/// The account of a signer by number.
pub fn account(number: u8) -> PublicKey {
    PublicKey::from(&signing_key(number))
}

/// A free transaction that never expires.
pub fn unsigned(signer: &SigningKey, sequence: u64, operations: &[Operation<'_>]) -> Unsigned {
    Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(signer),
        sequence,
        expires_at: 0,
        fee: 0,
        operations: operations.iter().map(Operation::encode).collect(),
    }
}

/// The least fee the network takes for a transaction, which is a part of its own size.
pub fn least_fee(network: &Network, transaction: &Unsigned) -> u64 {
    let mut priced = transaction.clone();
    priced.fee = 0;
    while priced.fee < network.min_fee(priced.signed_len()) {
        priced.fee = network.min_fee(priced.signed_len());
    }
    priced.fee
}

/// The end of a chain, as one who builds on it knows it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Of the last block.
    pub hash: Hash,
    /// What the rules need to know of the last block.
    pub facts: ParentFacts,
}

impl Place {
    /// The chain of genesis alone.
    pub fn genesis(network: &Network) -> Place {
        let Header { time, .. } = network.genesis().header;
        let facts = ParentFacts { height: 0, time, times: vec![time] };
        Place { hash: network.genesis_hash(), facts }
    }

    /// This chain with one more block.
    pub fn after(&self, header: &Header) -> Place {
        let mut facts = self.facts.clone();
        facts.advance(header);
        Place { hash: header.hash(), facts }
    }
}

/// A block on `parent`, on the network's schedule, that lacks its merkle root and its nonce, and
/// its state root unless the state is empty.
///
/// # Panics
/// When the fees overflow.
pub fn candidate(
    network: &Network,
    parent: &Place,
    payee: PublicKey,
    transactions: &[CheckedTransaction],
) -> Block {
    let height = parent.facts.height + 1;
    let scheduled = network.genesis_time + network.target_interval_s * height;
    let coinbase = Coinbase {
        height,
        extranonce: 0,
        tag: b"test".to_vec(),
        value: reward(network, height, transactions).expect("tests pay small fees"),
        payee,
        state_root: EMPTY,
    };
    let header = Header {
        version: VERSION_FIXED,
        prev: parent.hash,
        merkle_root: Hash::ZERO,
        time: scheduled.max(parent.facts.median_time() + 1),
        bits: required_bits(network, height - 1, parent.facts.time),
        nonce: 0,
    };
    let transactions = transactions.iter().map(|checked| Arc::new((**checked).clone())).collect();
    Block { header, coinbase, transactions }
}

/// Sets the merkle root and rolls the nonce until the block has enough work.
///
/// # Panics
/// When the transactions repeat or the bits do not decode.
pub fn mined(mut block: Block) -> Block {
    block.header.merkle_root = merkle::root(&block.txids()).expect("transactions differ");
    worked(block)
}

/// Rolls the nonce until the block has enough work.
///
/// # Panics
/// When the bits do not decode.
pub fn worked(mut block: Block) -> Block {
    let target = block.header.bits.decode().expect("canonical bits");
    while !target.is_met_by(&block.header.hash()) {
        block.header.nonce += 1;
    }
    block
}

/// The solution of a job with the smallest nonce.
pub fn solve(job: &Job) -> Solution {
    let solution = |nonce| Solution {
        job_id: job.id,
        version: job.version,
        extranonce: job.extranonce_start,
        time: job.time,
        nonce,
    };
    let hash_of = |nonce| Header::decode(&job.header(&solution(nonce))).hash();
    (0..)
        .find(|&nonce| job.target.is_met_by(&hash_of(nonce)))
        .map(solution)
        .expect("targets in tests are easy")
}

/// A verifier of the key-value network.
pub fn verifier(network: &Network) -> Verifier {
    Verifier::new(network.clone(), Arc::new(KeyValue), [7; 32])
}

/// A store in memory with genesis alone.
pub fn empty_store(network: &Network) -> MemoryStore {
    MemoryStore::new(&isolation::checked_genesis(network), &Delta::default())
}

/// What a node without keys is made of.
pub fn options(network: &Network) -> LedgerOptions {
    LedgerOptions {
        network: network.clone(),
        machine: Arc::new(KeyValue),
        key: None,
        payee: None,
        extranonce_start: 0,
        pool: PoolLimits::default(),
        pruning: None,
        secret: [9; 32],
    }
}

/// A ledger in memory.
///
/// # Panics
/// Never: memory does not fail.
pub fn memory_ledger(options: LedgerOptions) -> Ledger<MemoryStore> {
    let store = empty_store(&options.network);
    let now = clock(&options.network, 0);
    Ledger::open(options, store, now, &mut |_| ()).expect("memory does not fail")
}

/// The time at which the network's schedule has a block of this height.
pub fn clock(network: &Network, height: u32) -> Time {
    let seconds = network.genesis_time + network.target_interval_s * height;
    Time { unix_ms: u64::from(seconds) * 1000 }
}

/// A chain that grows block by block, whose blocks are all valid.
pub struct Grower {
    /// The rules.
    pub network: Network,
    /// Checks what is made.
    pub verifier: Verifier,
    /// Where the next block goes.
    pub place: Place,
    /// Makes every block another one.
    pub extranonce: u64,
    replay: Replay,
}

impl Grower {
    /// Starts at genesis.
    pub fn new(network: &Network) -> Grower {
        let (network, place) = (network.clone(), Place::genesis(network));
        let replay = Replay::new(&network);
        Grower { verifier: verifier(&network), network, place, extranonce: 0, replay }
    }

    /// The next block, unmined.
    pub fn next(&mut self, payee: PublicKey, transactions: &[CheckedTransaction]) -> Block {
        self.extranonce += 1;
        let mut block = candidate(&self.network, &self.place, payee, transactions);
        block.coinbase.extranonce = self.extranonce;
        block.coinbase.state_root = self.replay.root_on(self.place.hash, payee, transactions);
        block
    }

    /// Mines the next block and moves on top of it.
    ///
    /// # Panics
    /// When it breaks a rule that needs no ancestors.
    pub fn grow(&mut self, payee: PublicKey, transactions: &[CheckedTransaction]) -> CheckedBlock {
        let block = mined(self.next(payee, transactions));
        let block = self.verifier.block(block.encode()).expect("a valid block");
        self.place = self.place.after(block.header());
        self.replay.learn(self.place.facts.height, &block);
        block
    }

    /// Signs and checks a transaction.
    ///
    /// # Panics
    /// When it breaks a rule.
    pub fn sign(&mut self, key: &SigningKey, transaction: Unsigned) -> CheckedTransaction {
        let genesis = self.network.genesis_hash();
        let bytes = transaction.sign(key, &genesis).bytes().to_vec();
        self.verifier.transactions(&[bytes]).remove(0).expect("a valid transaction")
    }
}

/// What a node is given from outside.
#[derive(Clone, Debug)]
pub enum Given {
    /// Headers, before their bodies.
    Headers(Vec<CheckedHeader>),
    /// A block.
    Block(CheckedBlock),
    /// A transaction.
    Transaction(CheckedTransaction),
}

/// Signers of a [`story`].
const STORY_SIGNERS: usize = 2;

/// Bodies in a [`story`] come at most so many blocks late.
const STORY_DELAY: usize = 4;

/// A node's life: blocks that fork, come late and sometimes are invalid, and loose transactions.
/// The same seed gives the same story.
///
/// # Panics
/// On networks with fees.
pub fn story(network: &Network, seed: u64, blocks: u64) -> Vec<Given> {
    let mut draw = draws(seed);
    let mut grower = Grower::new(network);
    let mut ends = vec![(grower.place.clone(), [0_u64; STORY_SIGNERS])];
    let mut late: Vec<(u64, CheckedBlock)> = Vec::new();
    let mut given = Vec::new();
    for number in 0..blocks {
        let back = match draw(10) {
            0 => draw(ends.len()),
            1..=3 => draw(ends.len().min(5)),
            _ => 0,
        };
        let (place, mut sequences) = ends[ends.len() - 1 - back].clone();
        grower.place = place;
        let mut transactions = Vec::new();
        for _ in 0..draw(4) {
            let signer = draw(STORY_SIGNERS);
            // Seldom a sequence is left out, which makes the block and its descendants invalid.
            let sequence = sequences[signer] + u64::from(draw(30) == 0);
            sequences[signer] = sequence + 1;
            transactions.push(story_write(&mut grower, signer, sequence, draw(5)));
        }
        let block = grower.grow(account(9), &transactions);
        ends.push((grower.place.clone(), sequences));
        let headers = check_headers(network, &[*block.header()]).expect("it has work");
        given.push(Given::Headers(headers));
        late.push((number + draw(STORY_DELAY) as u64, block));
        let due = late.extract_if(.., |(due, _)| *due <= number || number + 1 == blocks);
        given.extend(due.map(|(_, block)| Given::Block(block)));
        let signer = draw(STORY_SIGNERS);
        let loose = story_write(&mut grower, signer, sequences[signer] + draw(3) as u64, 5);
        given.push(Given::Transaction(loose));
    }
    given
}

fn story_write(
    grower: &mut Grower,
    signer: usize,
    sequence: u64,
    key: usize,
) -> CheckedTransaction {
    let signer = signing_key(u8::try_from(signer).expect("few signers"));
    let (key, value) = ([u8::try_from(key).expect("few keys")], sequence.to_le_bytes());
    let put = Operation::Put { key: &key, value: &value, expect: Expect::Any, policy: None };
    grower.sign(&signer, unsigned(&signer, sequence, &[put]))
}

/// Numbers below what is asked for (xorshift64*).
fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |below| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let high = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % below
    }
}
