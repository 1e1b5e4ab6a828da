//! What `STATUS` and `PEERS` show.

use chain::Work;
use chain::header::Header;
use chain::ledger::TipChange;
use chain::params::{Network, Retarget};
use chain::store::{ChainPoint, Storage};
use net::{Direction, Millis, PeerInfo, PeerState};
use serde_json::{Value, json};

use crate::pace::Pace;

/// Least time over which a hash rate is measured, in milliseconds.
const RATE_SPAN_MS: u64 = 500;

/// The node's state, as told by the ledger.
pub(super) struct Status {
    tip: ChainPoint,
    header: Header,
    work: Work,
    best_header: ChainPoint,
    pace: Pace,
    pool_count: usize,
    pool_bytes: usize,
    storage: Storage,
    /// When hashes were last counted, and how many there were; first at the start.
    counted: (Millis, u64),
    rate: f64,
}

impl Status {
    pub(super) fn new(start: &TipChange) -> Status {
        Status {
            tip: start.tip,
            header: start.header,
            work: start.work,
            best_header: start.best_header,
            pace: Pace::default(),
            pool_count: 0,
            pool_bytes: 0,
            storage: Storage::default(),
            counted: (Millis(0), 0),
            rate: 0.0,
        }
    }

    /// Starts the clock of the hash rate, at the first call.
    pub(super) fn start(&mut self, now: Millis) {
        if self.counted.0 == Millis(0) {
            self.counted.0 = now;
        }
    }

    pub(super) fn tip_changed(&mut self, now: Millis, change: &TipChange) {
        self.pace.note(now.0, change.tip.height);
        (self.tip, self.header) = (change.tip, change.header);
        (self.work, self.best_header) = (change.work, change.best_header);
    }

    pub(super) fn pool_size(&mut self, count: usize, bytes: usize) {
        (self.pool_count, self.pool_bytes) = (count, bytes);
    }

    pub(super) fn stored(&mut self, storage: Storage) {
        self.storage = storage;
    }

    /// The tip, the best header, and what the pool holds: transactions and bytes.
    pub(super) fn standing(&self) -> (ChainPoint, ChainPoint, usize, usize) {
        (self.tip, self.best_header, self.pool_count, self.pool_bytes)
    }

    /// The tip's height.
    pub(super) fn height(&self) -> u32 {
        self.tip.height
    }

    pub(super) fn show(
        &mut self,
        now: Millis,
        network: &Network,
        peers: &[PeerInfo],
        search: Option<&miner::Search>,
    ) -> Value {
        let ready = peers.iter().filter(|peer| peer.state == PeerState::Ready).count();
        let outbound = peers.iter().filter(|peer| peer.direction == Direction::Outbound).count();
        let highest = peers.iter().map(|peer| peer.height).max().unwrap_or(0);
        let target_height = self.best_header.height.max(highest);
        let synced = self.tip.height >= target_height;
        let threads = search.map_or(0, |search| search.hashes().len());
        let mut shown = json!({
            "network": network.name,
            "genesis": network.genesis_hash().to_string(),
            "height": self.tip.height,
            "tip": self.tip.hash.to_string(),
            "tip_time": self.header.time,
            "work": self.work.to_string(),
            "bits": self.header.bits.to_string(),
            "difficulty": self.header.bits.decode().map_or(0.0, |target| target.difficulty()),
            "retarget": match network.retarget {
                Retarget::Fixed => "fixed",
                Retarget::Asert { .. } => "asert",
            },
            "state": if synced { "synced" } else { "syncing" },
            "best_header": self.best_header.height,
            "peers": ready,
            "peers_outbound": outbound,
            "mempool": self.pool_count,
            "mempool_bytes": self.pool_bytes,
            "log_bytes": self.storage.log_bytes,
            "pruned_height": self.storage.pruned,
            "history_from": self.storage.pruned + 1,
            "missing_bodies": self.storage.missing,
            "mining_threads": threads,
            "hash_rate": search.map_or(0.0, |search| self.rate(now, search)),
            "limits": network.limits,
            "version": env!("CARGO_PKG_VERSION"),
        });
        if !synced {
            shown["syncing"] = json!({
                "to": target_height,
                "blocks_per_second": self.pace.per_second(),
                "left_s": self.pace.seconds_to(target_height),
            });
        }
        shown
    }

    /// Hashes a second since the last time somebody asked.
    fn rate(&mut self, now: Millis, search: &miner::Search) -> f64 {
        let hashes: u64 = search.hashes().iter().sum();
        let (since, before) = self.counted;
        let elapsed_ms = now - since;
        if elapsed_ms >= RATE_SPAN_MS {
            self.rate = (hashes - before) as f64 * 1000.0 / elapsed_ms as f64;
            self.counted = (now, hashes);
        }
        self.rate
    }
}

/// The connected peers.
pub(super) fn show_peers(now: Millis, peers: &[PeerInfo]) -> Value {
    peers
        .iter()
        .map(|peer| {
            json!({
                "id": peer.id.0,
                "address": peer.address.to_string(),
                "node_id": data_encoding::HEXLOWER.encode(&peer.node_id.0),
                "direction": match peer.direction {
                    Direction::Inbound => "inbound",
                    Direction::Outbound => "outbound",
                },
                "group": peer.group.to_string(),
                "agent": peer.agent,
                "height": peer.height,
                "ping_ms": peer.ping_ms,
                "connected_s": (now - peer.connected_at) / 1000,
                "last_block_s": peer.last_block.map(|at| (now - at) / 1000),
                "last_transaction_s": peer.last_transaction.map(|at| (now - at) / 1000),
                "blocks_whole": peer.blocks_whole,
                "blocks_rebuilt": peer.blocks_rebuilt,
                "transactions_fetched": peer.transactions_fetched,
                "state": match peer.state {
                    PeerState::Greeting => "greeting",
                    PeerState::Ready => "ready",
                },
            })
        })
        .collect()
}
