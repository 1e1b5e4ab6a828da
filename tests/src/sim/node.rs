//! One simulated node: the protocol and the ledger of a real one, and the glue between them that
//! `cli/src/node/{stage,joints}.rs` is there.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use chain::block::Assembly;
use chain::ledger::{Input, Ledger, LedgerOptions, Output, PeerId, Source, Time};
use chain::rules::RuleError;
use chain::rules::isolation::BlockFault;
use chain::store::Archive;
use chain::template::Template;
use chain::tx::{PublicKey, SigningKey};
use chain::{Hash, Work as ChainWork, sha256d};
use kv::KeyValue;
use net::wire::message::MAX_HEADERS;
use net::{AddressBook, Config, NodeId, Protocol, Served, Work};
use rand::RngExt;

use super::disk::Disk;
use super::events::{Event, Ms};
use super::network::LinkId;
use super::{OUTBOUND_SLOTS, PORT, Simulation};
use crate::chains::options;

/// How long the stages take for what waits, in milliseconds.
const STAGES_MS: std::ops::RangeInclusive<u64> = 1..=10;

/// Nodes that a node knows from the start, and at every start.
pub(super) const ENTRIES_KNOWN: usize = 3;

/// A node that is woken each millisecond for so long has a timer that is never reset.
const MAX_WAKES_IN_A_ROW: u32 = 1_000;

static MACHINE: LazyLock<Arc<KeyValue>> = LazyLock::new(|| Arc::new(KeyValue));

/// A node, whether it runs or not.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) node_id: NodeId,
    pub(super) key: SigningKey,
    /// Of the hash rate of all.
    pub(super) share: f64,
    pub(super) byzantine: bool,
    /// How far its clock is ahead.
    pub(super) skew_ms: i64,
    /// It gets no events before.
    pub(super) paused_until: Ms,
    /// Counts its starts.
    pub(super) life: u32,
    pub(super) live: Option<Box<Live>>,
    /// What it left behind when it ended.
    pub(super) rest: Option<(Disk, Vec<u8>)>,
    /// Its tip and the work of that, as last said.
    pub(super) tip: Hash,
    pub(super) work: ChainWork,
    /// It lost power at least once.
    pub(super) power_lost: bool,
}

/// A node that runs.
pub(super) struct Live {
    pub(super) protocol: Protocol,
    pub(super) ledger: Ledger<Disk>,
    /// The reactor's clock does not jump: it runs on from what the clock said at the start.
    pub(super) started_skew_ms: i64,
    pub(super) links: BTreeMap<PeerId, (LinkId, usize)>,
    next_peer: u64,
    work: VecDeque<Work>,
    /// When the next [`Event::Wake`] is due.
    wake: Option<Ms>,
    /// The last one, and how many came before it, a millisecond apart.
    wakes_in_a_row: (Ms, u32),
    pub(super) template: Option<Arc<Template>>,
    /// The parent of the block that is searched.
    pub(super) searched: Option<Hash>,
    pub(super) search: u64,
    pub(super) book: Vec<u8>,
}

impl Live {
    /// Names a new connection.
    pub(super) fn meet(&mut self, link: LinkId, side: usize) -> PeerId {
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        self.links.insert(peer, (link, side));
        peer
    }
}

/// Every node in a network of its own, as far as addresses tell.
pub(super) fn address(number: usize) -> SocketAddr {
    let byte = |value: usize| u8::try_from(value % 256).expect("below 256");
    let ip = Ipv4Addr::new(byte(11 + number / 256), byte(number), 0, 1);
    SocketAddr::new(IpAddr::V4(ip), PORT)
}

/// A node id that follows from a number.
pub(super) fn node_id(seed: u64, number: usize) -> NodeId {
    NodeId(sha256d(&[seed.to_le_bytes(), (number as u64).to_le_bytes()].concat()).0)
}

impl Site {
    /// A node that was never started.
    pub(super) fn new(number: usize, node_id: NodeId, genesis: Hash) -> Site {
        let secret = sha256d(&[b"signer".as_slice(), &node_id.0].concat()).0;
        Site {
            address: address(number),
            node_id,
            key: SigningKey::from(secret),
            share: 0.0,
            byzantine: false,
            skew_ms: 0,
            paused_until: 0,
            life: 0,
            live: None,
            rest: None,
            tip: genesis,
            work: ChainWork::ZERO,
            power_lost: false,
        }
    }
}

impl Simulation {
    /// A node that runs.
    pub(super) fn live(&mut self, node: usize) -> &mut Live {
        self.nodes[node].live.as_mut().expect("only nodes that run are asked")
    }

    /// The time on a node's wall clock.
    fn wall_time(&self, node: usize) -> Time {
        Time { unix_ms: self.now.saturating_add_signed(self.nodes[node].skew_ms) }
    }

    /// Starts a node on what it left, or anew.
    pub(super) fn start(&mut self, node: usize) {
        let now = self.wall_time(node);
        let network = self.network.clone();
        let site = &mut self.nodes[node];
        let disk = || match self.meter {
            Some(_) => Disk::lean(&network),
            None => Disk::new(&network, self.options.plant),
        };
        let (disk, book) = site.rest.take().unwrap_or_else(|| (disk(), Vec::new()));
        if disk.unindexed() > 0 {
            self.counts.add("restarts with blocks to index again");
        }
        let options = LedgerOptions {
            machine: MACHINE.clone(),
            key: Some(site.key),
            payee: (site.share > 0.0).then(|| PublicKey::from(&site.key)),
            secret: self.draws.nodes.random(),
            ..options(&network)
        };
        let ledger = match Ledger::open(options, disk, now, &mut |_| ()) {
            Ok(ledger) => ledger,
            Err(error) => return self.fail(format!("node {node} cannot open: {error}")),
        };
        let mut config = Config::new(site.node_id);
        config.listen_port = Some(PORT);
        config.outbound_slots = OUTBOUND_SLOTS;
        config.timing = self.timing;
        let known = AddressBook::decode(&book).unwrap_or_default();
        let known = with_entries(known, node, self.entries, now);
        let protocol = Protocol::new(config, known, self.draws.nodes.random());
        site.life += 1;
        site.live = Some(Box::new(Live {
            protocol,
            ledger,
            started_skew_ms: site.skew_ms,
            links: BTreeMap::new(),
            next_peer: u64::from(site.life) << 32,
            work: VecDeque::new(),
            wake: None,
            wakes_in_a_row: (0, 0),
            template: None,
            searched: None,
            search: 0,
            book,
        }));
        self.check_start(node);
        self.listen_to_ledger(node);
        self.tell(node, net::Input::Tick);
    }

    /// Ends a node; returns what it had.
    pub(super) fn take_down(&mut self, node: usize) -> Option<Box<Live>> {
        let live = self.nodes[node].live.take()?;
        self.nodes[node].life += 1;
        Some(live)
    }

    /// Tells a protocol something, after what it was told before.
    pub(super) fn tell(&mut self, node: usize, input: net::Input) {
        self.told.push_back((node, input));
    }

    /// Passes on everything that nodes were told, and what follows from it.
    pub(super) fn settle(&mut self) {
        let mut last = None;
        while let Some((node, input)) = self.told.pop_front() {
            if let Some(before) = last.replace(node)
                && before != node
            {
                self.schedule_wake(before);
            }
            let now = match &self.nodes[node].live {
                Some(_) => self.protocol_time(node),
                None => continue,
            };
            self.live(node).protocol.handle(now, input);
            while let Some(output) =
                self.nodes[node].live.as_mut().and_then(|live| live.protocol.poll())
            {
                self.obey(node, output);
            }
        }
        last.into_iter().for_each(|node| self.schedule_wake(node));
    }

    /// Sees to it that a node is woken when time alone matters.
    pub(super) fn schedule_wake(&mut self, node: usize) {
        let (now, skew_ms) = (self.now, self.nodes[node].skew_ms);
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        let protocol = live.protocol.wake_at();
        let protocol = protocol.map(|at| at.0.saturating_add_signed(-live.started_skew_ms));
        let ledger = live.ledger.wake_at();
        let ledger = ledger.map(|at| at.unix_ms.saturating_add_signed(-skew_ms));
        let Some(at) = protocol.into_iter().chain(ledger).min() else { return };
        let at = at.max(now + 1);
        if live.wake.is_none_or(|wake| at < wake || wake < now) {
            live.wake = Some(at);
            self.queue.push(at, Event::Wake { node, life: self.nodes[node].life });
        }
    }

    /// Something may be due.
    pub(super) fn wake(&mut self, node: usize) {
        let (now, wall) = (self.now, self.wall_time(node));
        let protocol_now = self.protocol_time(node);
        let live = self.live(node);
        if live.wake.is_some_and(|wake| wake > now) {
            return; // another one was scheduled for an earlier time and has been here
        }
        live.wake = None;
        live.wakes_in_a_row = match live.wakes_in_a_row {
            (before, count) if before + 1 >= now => (now, count + 1),
            _ => (now, 1),
        };
        if live.wakes_in_a_row.1 > MAX_WAKES_IN_A_ROW {
            return self.fail(format!("node {node} never sleeps: something stays due"));
        }
        let ledger_due = live.ledger.wake_at().is_some_and(|at| at <= wall);
        let protocol_due = live.protocol.wake_at().is_some_and(|at| at <= protocol_now);
        if ledger_due {
            self.feed(node, Input::Tick);
        }
        if protocol_due {
            self.tell(node, net::Input::Tick);
        }
        if !ledger_due && !protocol_due {
            self.schedule_wake(node);
        }
    }

    /// Queues work for the stages behind a node's reactor.
    pub(super) fn queue_work(&mut self, node: usize, work: Work) {
        let life = self.nodes[node].life;
        let live = self.live(node);
        live.work.push_back(work);
        if live.work.len() == 1 {
            let at = self.now + self.draws.nodes.random_range(STAGES_MS);
            self.queue.push(at, Event::Stages { node, life });
        }
    }

    /// A block put together by the protocol, as the verify stage takes it.
    fn rebuilt(&mut self, node: usize, from: PeerId, assembly: Assembly) {
        let hash = assembly.header.hash();
        match self.verified.assembly(assembly) {
            Ok(block) => {
                self.tell(node, net::Input::Rebuilt { peer: from, block: block.clone() });
                self.feed(node, Input::Relayed { block });
            }
            Err(BlockFault {
                error: RuleError::MerkleRoot { .. } | RuleError::MerkleMutated,
                condemned: None,
            }) => self.tell(node, net::Input::NotRebuilt { hash }),
            Err(fault) => self.blame(node, from, fault),
        }
    }

    fn blame(&mut self, node: usize, from: PeerId, fault: BlockFault) {
        let BlockFault { error, condemned } = fault;
        match condemned {
            Some(hash) => self.feed(node, Input::InvalidBlock { from, hash, error }),
            None => self.bad_payload(node, from, error.to_string()),
        }
    }

    /// The stages work off what waits.
    pub(super) fn run_stages(&mut self, node: usize) {
        for work in std::mem::take(&mut self.live(node).work) {
            match work {
                Work::Headers { from, headers } => match self.verified.headers(&headers) {
                    Ok(headers) => self.feed(node, Input::Headers { from, headers }),
                    Err(error) => self.bad_payload(node, from, error.to_string()),
                },
                Work::Gone { peer } => self.feed(node, Input::PeerGone { peer }),
                Work::Block { from, bytes, .. } => match self.verified.block(bytes) {
                    Ok(block) => self.feed(node, Input::Block { from, block }),
                    Err(fault) => self.blame(node, from, fault),
                },
                Work::Announced { from, header } => match self.verified.headers(&[header]) {
                    Ok(all) => self.feed(node, Input::Announced { from, header: all[0] }),
                    Err(error) => self.bad_payload(node, from, error.to_string()),
                },
                Work::Rebuilt { from, assembly } => self.rebuilt(node, from, *assembly),
                Work::Transactions { from, list } => {
                    for bytes in list {
                        match self.verified.transaction(bytes) {
                            Ok(transaction) => {
                                let source = Source::Peer(from);
                                self.feed(node, Input::Transaction { source, transaction });
                            }
                            Err(error) => self.bad_payload(node, from, error.to_string()),
                        }
                    }
                }
                Work::ServeHeaders { to, locator } => {
                    let store = self.live(node).ledger.store();
                    let headers = store.headers_after(&locator, MAX_HEADERS);
                    let served = Served::Headers(headers.expect("memory does not fail"));
                    self.tell(node, net::Input::Served { peer: to, served });
                }
                Work::ServeBlock { to, hash } => {
                    let bytes = match self.forged.get(&hash) {
                        Some(None) if self.nodes[node].byzantine => continue,
                        Some(Some(bytes)) if self.nodes[node].byzantine => Some(bytes.clone()),
                        _ => self.live(node).ledger.store().servable_block(&hash),
                    };
                    let served = Served::Block { hash, bytes };
                    self.tell(node, net::Input::Served { peer: to, served });
                }
            }
        }
    }

    fn bad_payload(&mut self, node: usize, peer: PeerId, what: String) {
        self.tell(node, net::Input::BadPayload { peer, what });
    }

    /// Gives a ledger an input and passes on what it says.
    pub(super) fn feed(&mut self, node: usize, input: Input) {
        let now = self.wall_time(node);
        if self.nodes[node].live.is_none() {
            return;
        }
        if let Err(error) = self.live(node).ledger.handle(now, input) {
            self.fail(format!("the store of node {node} failed: {error}"));
        }
        self.listen_to_ledger(node);
        self.tell_nothing(node);
    }

    /// Makes sure that a node is looked at for its next wake.
    fn tell_nothing(&mut self, node: usize) {
        if !self.told.iter().any(|(told, _)| *told == node) {
            self.schedule_wake(node);
        }
    }

    fn listen_to_ledger(&mut self, node: usize) {
        while let Some(output) = self.live(node).ledger.poll() {
            match output {
                Output::Template(template) => self.mine(node, template),
                Output::Answer { request, answer } => self.answered(node, request, &answer),
                Output::PoolSize { .. } | Output::Storage(_) => {}
                output => {
                    self.check_output(node, &output);
                    self.tell(node, net::Input::Ledger(output));
                }
            }
        }
    }
}

/// Adds to a node's book whom it knows from the start: three of the first `entries` nodes.
fn with_entries(mut book: AddressBook, node: usize, entries: usize, now: Time) -> AddressBook {
    let known = (0..ENTRIES_KNOWN).map(|place| (ENTRIES_KNOWN * node + place) % entries);
    for entry in known.filter(|entry| *entry != node) {
        let (address, now) = (address(entry), net::Millis(now.unix_ms));
        book.heard(address, address.ip(), now.0 / 1000, now);
    }
    book
}
