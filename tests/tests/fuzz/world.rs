//! A short chain that all targets know, and what can be said about it.

use std::sync::LazyLock;

use chain::Hash;
use chain::block::CheckedBlock;
use chain::header::Header;
use chain::params::Network;
use chain::tx::CheckedTransaction;
use kv::{Expect, Operation};
use net::wire::message::KnownAddress;
use net::wire::{CompactBlock, Hello, ShortId};
use net::{Message, PROTOCOL_VERSION};
use tests::chains::{Grower, account, free_network, signing_key, unsigned};

/// Blocks of the main chain, each with one transaction more than the one before.
const BLOCKS: usize = 12;
/// Blocks of a branch from block 6 on, one more than the main chain has there.
const BRANCH: usize = 7;
/// Transactions that are in no block.
const LOOSE: usize = 6;

pub(super) struct World {
    pub(super) network: Network,
    pub(super) chain: Vec<CheckedBlock>,
    pub(super) branch: Vec<CheckedBlock>,
    pub(super) loose: Vec<CheckedTransaction>,
    /// Messages that make sense in some place.
    pub(super) messages: Vec<Message>,
}

pub(super) static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> World {
        let network = free_network();
        let mut grower = Grower::new(&network);
        let mut sequence = 0;
        let mut write = |grower: &mut Grower| {
            let low = u64::to_le_bytes(sequence)[0];
            let (key, value) = ([b'k', low % 5], [low; 40]);
            let put =
                Operation::Put { key: &key, value: &value, expect: Expect::Any, policy: None };
            let signed = unsigned(&signing_key(1), sequence, &[put]);
            sequence += 1;
            grower.sign(&signing_key(1), signed)
        };
        let (mut chain, mut fork) = (Vec::new(), grower.place.clone());
        for height in 0..BLOCKS {
            let with: Vec<CheckedTransaction> = (0..height).map(|_| write(&mut grower)).collect();
            chain.push(grower.grow(account(1), &with));
            if height + 1 == BLOCKS - BRANCH + 1 {
                fork = grower.place.clone();
            }
        }
        let loose: Vec<CheckedTransaction> = (0..LOOSE).map(|_| write(&mut grower)).collect();
        grower.place = fork;
        let branch = (0..BRANCH).map(|_| grower.grow(account(2), &[])).collect();
        let mut world = World { network, chain, branch, loose, messages: Vec::new() };
        world.messages = world.vocabulary();
        world
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &CheckedBlock> {
        self.chain.iter().chain(&self.branch)
    }

    pub(super) fn find(&self, hash: &Hash) -> Option<&CheckedBlock> {
        self.blocks().find(|block| block.hash() == *hash)
    }

    pub(super) fn transactions(&self) -> impl Iterator<Item = &CheckedTransaction> {
        self.chain.iter().flat_map(CheckedBlock::transactions).chain(&self.loose)
    }

    pub(super) fn headers(blocks: &[CheckedBlock]) -> Vec<Header> {
        blocks.iter().map(|block| *block.header()).collect()
    }

    fn vocabulary(&self) -> Vec<Message> {
        let hello = |height, agent: &str| {
            let agent = agent.to_string();
            Message::Hello(Hello { protocol: PROTOCOL_VERSION, agent, height, listen_port: None })
        };
        let hash = |at: usize| self.chain[at].hash();
        let (chain, branch) = (&self.chain, &self.branch);
        let txids: Vec<Hash> = self.transactions().map(|item| item.txid()).collect();
        let bytes: Vec<Vec<u8>> = self.transactions().map(|item| item.bytes().to_vec()).collect();
        let loose = bytes.len() - LOOSE;
        let address = |last: u8, last_seen_s| KnownAddress {
            ip: [198, 51, 100, last].into(),
            port: 7400,
            last_seen_s,
        };
        let mut list = vec![
            hello(0, "test"),
            hello(12, &"x".repeat(64)),
            hello(u32::MAX, ""),
            Message::Ping(7),
            Message::Pong(u64::MAX),
            Message::GetHeaders { locator: Vec::new() },
            Message::GetHeaders { locator: vec![hash(11), hash(3), self.network.genesis_hash()] },
            Message::Headers(Vec::new()),
            Message::Headers(World::headers(chain)),
            Message::Headers(World::headers(&chain[..4])),
            Message::Headers(World::headers(&chain[4..])),
            Message::Headers(World::headers(branch)),
            Message::GetBlocks { hashes: vec![hash(0), Hash::ZERO, branch[2].hash()] },
            Message::NotFound { hashes: vec![hash(0), hash(1)] },
            Message::AnnounceTransactions { txids: txids.clone() },
            Message::AnnounceTransactions { txids: txids[loose..].to_vec() },
            Message::GetTransactions { txids: txids.clone() },
            Message::Transactions(bytes[loose..].to_vec()),
            Message::Transactions(vec![Vec::new(), bytes[0].clone()]),
            Message::GetAddresses,
            Message::Addresses((0..30).map(|at| address(at, 1_795_132_800)).collect()),
            Message::Addresses(vec![address(7, u64::MAX)]),
            Message::GetBlockTransactions { hash: hash(11), indexes: vec![0, 1, 5, 10] },
            Message::GetBlockTransactions { hash: hash(11), indexes: vec![400] },
            Message::BlockTransactions { hash: hash(11), list: bytes[..2].to_vec() },
            Message::BlockTransactions { hash: Hash::ZERO, list: Vec::new() },
            Message::BodiesFrom { height: 3 },
            Message::BodiesFrom { height: u32::MAX },
        ];
        for block in [&chain[0], &chain[10], &chain[11], &branch[BRANCH - 1]] {
            let compact = CompactBlock::of(block, 7);
            let mut other = compact.clone();
            other.ids.push(ShortId([3; 6]));
            list.extend([
                Message::Headers(vec![*block.header()]),
                Message::Block(block.bytes().to_vec()),
                Message::AnnounceBlock(*block.header()),
                Message::GetCompactBlock { hash: block.hash() },
                Message::CompactBlock(compact),
                Message::CompactBlock(other),
            ]);
        }
        list
    }
}
