//! What a broadcast costs each node, and when it is where: counted while real nodes run.

use std::collections::BTreeMap;

use chain::Hash;
use chain::ledger::Output;
use net::wire::Message;
use net::wire::message::KINDS;

use super::Simulation;
use super::events::{Event, Ms};
use super::lines::{Flight, on_line};
use super::network::{LinkId, Packet};
use crate::broadcast::{Cost, Role};

/// The messages that blocks cause.
const OF_BLOCKS: [&str; 10] = [
    "get-headers",
    "headers",
    "get-blocks",
    "block",
    "not-found",
    "announce-block",
    "get-compact-block",
    "compact-block",
    "get-block-transactions",
    "block-transactions",
];

/// The messages that transactions cause.
const OF_TRANSACTIONS: [&str; 3] = ["announce-transactions", "get-transactions", "transactions"];

/// What came in of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Frames, as the codec makes them.
    bytes: u64,
    /// With what Noise and TCP add.
    line_bytes: u64,
}

/// The counts of all nodes.
pub(super) struct Meter {
    roles: Vec<Role>,
    /// What is measured: the messages of blocks, or of transactions.
    of_blocks: bool,
    running: bool,
    taken: Vec<[Taken; KINDS.len()]>,
    /// Payloads that came in: compact or whole blocks, transactions.
    copies: Vec<u64>,
    /// Who took what into its pool or made it its tip, and when.
    had: BTreeMap<Hash, Vec<(usize, Ms)>>,
}

impl Meter {
    pub(super) fn new(nodes: usize, of_blocks: bool) -> Meter {
        Meter {
            roles: vec![Role::Honest; nodes],
            of_blocks,
            running: false,
            taken: vec![Default::default(); nodes],
            copies: vec![0; nodes],
            had: BTreeMap::new(),
        }
    }

    /// From now on everything counts, and who is not honest shows it.
    pub(super) fn run(&mut self, roles: Vec<Role>) {
        (self.roles, self.running) = (roles, true);
        self.had.clear();
    }

    /// Whether a node does not say what the protocol has it say.
    pub(super) fn withholds(&self, node: usize, message: &Message) -> bool {
        // Transactions are placed by hand where blocks are measured, and stay where they are.
        if self.of_blocks && matches!(message, Message::AnnounceTransactions { .. }) {
            return true;
        }
        let is_news = match message {
            Message::AnnounceBlock(_) | Message::AnnounceTransactions { .. } => true,
            Message::Headers(headers) => !headers.is_empty(),
            _ => false,
        };
        let is_body = matches!(
            message,
            Message::Block(_) | Message::BlockTransactions { .. } | Message::Transactions(_)
        );
        let is_compact = matches!(message, Message::CompactBlock(_));
        match self.roles[node] {
            Role::Honest => false,
            Role::Silent => is_body || is_compact,
            Role::Halting => is_body,
            Role::Mute | Role::Pruning => is_news || is_body || is_compact,
        }
    }

    /// A message has come in.
    pub(super) fn take(&mut self, node: usize, message: &Message, bytes: usize) {
        if !self.running {
            return;
        }
        let taken = &mut self.taken[node][usize::from(message.kind().tag) - 1];
        taken.bytes += bytes as u64;
        taken.line_bytes += on_line(bytes as u64);
        self.copies[node] += match message {
            Message::CompactBlock(_) | Message::Block(_) if self.of_blocks => 1,
            Message::Transactions(list) if !self.of_blocks => list.len() as u64,
            _ => 0,
        };
    }

    /// A ledger has said something.
    pub(super) fn hear(&mut self, now: Ms, node: usize, output: &Output) {
        let hash = match output {
            Output::TipChanged(change) if self.of_blocks => change.tip.hash,
            Output::Pooled { transaction, .. } if !self.of_blocks => transaction.txid(),
            _ => return,
        };
        if self.running {
            self.had.entry(hash).or_default().push((node, now));
        }
    }

    /// Who has something, and since when.
    pub(super) fn who_has(&self, hash: &Hash) -> &[(usize, Ms)] {
        self.had.get(hash).map_or(&[], Vec::as_slice)
    }

    /// What it has cost a node so far.
    pub(super) fn cost(&self, node: usize) -> Cost {
        let counted = if self.of_blocks { &OF_BLOCKS[..] } else { &OF_TRANSACTIONS };
        let mut cost = Cost { copies: self.copies[node], ..Cost::default() };
        for (kind, taken) in KINDS.iter().zip(&self.taken[node]) {
            if taken.bytes > 0 && counted.contains(&kind.name) {
                cost.bytes += taken.bytes;
                cost.line_bytes += taken.line_bytes;
                cost.by_kind.insert(kind.name, taken.bytes);
            }
        }
        cost
    }
}

impl Simulation {
    /// Puts a frame on the line of its sender.
    pub(super) fn launch(&mut self, id: LinkId, side: usize, bytes: Vec<u8>) {
        let Some(link) = self.net.links.get_mut(&id) else { return };
        let Some(lines) = &mut self.net.lines else { return };
        let way = (link.ends[1 - side].node, link.ends[side].node);
        let flight = lines.send(self.now * 1000, way, bytes.len(), link.median_ms);
        let end = &mut link.ends[side];
        end.inbox.push_back(Packet::Data(bytes));
        end.last_arrival = end.last_arrival.max(flight.first_us / 1000);
        self.queue.push(end.last_arrival, Event::Reach { link: id, side, flight });
    }

    /// A frame has reached the line of its receiver.
    pub(super) fn reach(&mut self, id: LinkId, side: usize, flight: Flight) {
        let Some(link) = self.net.links.get_mut(&id) else { return };
        let Some(lines) = &mut self.net.lines else { return };
        let end = &mut link.ends[side];
        let in_ms = lines.receive(end.node, flight).div_ceil(1000).max(self.now);
        end.in_order_ms = end.in_order_ms.max(in_ms);
        self.queue.push(end.in_order_ms, Event::Arrive { link: id, side });
    }
}
