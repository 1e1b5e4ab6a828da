//! Runs of a ledger on disk: blocks that fork and come late, writes of clients, and what an
//! operator does to the node meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use chain::Hash;
use chain::block::CheckedBlock;
use chain::execute::Delta;
use chain::ledger::{
    Answer, Input, Ledger, LedgerOptions, OpenError, Output, PeerId, Pruning, RequestId, Source,
};
use chain::params::Network;
use chain::rules::isolation::{check_headers, checked_genesis};
use chain::store::{Archive, SqliteStore};
use chain::tx::CheckedTransaction;
use kv::{Expect, Operation};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;
use tests::chains::{
    Given, Grower, Place, account, clock, free_network, options, signing_key, unsigned,
};

use super::hooks;

/// Signers whose transactions blocks bring; those after them are clients of the node. The first is
/// paid for all blocks.
const STRANGERS: usize = 3;
const SIGNERS: usize = 5;

/// What is done to a node.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It hears of something, and what it says is heard.
    Give(Given),
    /// SQLite brings its log into the index, as it does by itself when that is long.
    Checkpoint,
    /// Everything is brought to disk, as at a clean stop.
    Flush,
    /// The process ends and another one starts.
    Restart,
    /// The index is thrown away and made anew.
    Reindex,
}

/// A run, and every block that is in it.
pub(crate) struct Script {
    pub(crate) network: Network,
    /// Whether old bodies are removed meanwhile.
    pruning: Option<Pruning>,
    /// Whether another thread writes the index.
    elsewhere: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) grower: Grower,
    pub(crate) places: BTreeMap<Hash, Place>,
    pub(crate) blocks: BTreeMap<Hash, (u32, CheckedBlock)>,
}

/// What a run's owner knows at a moment: it was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    /// Calls until then.
    pub(crate) ops: usize,
    pub(crate) tip: Hash,
    /// How many of [`Lived::bodies`] are in the store.
    pub(crate) bodies: usize,
    /// How many of [`Lived::promised`] were.
    pub(crate) promised: usize,
    /// How many of those have outlived a start or a clean stop since.
    pub(crate) lasting: usize,
}

/// What became of a run.
#[derive(Default)]
pub(crate) struct Lived {
    pub(crate) acks: Vec<Ack>,
    pub(crate) bodies: Vec<Hash>,
    /// Transactions that clients were told are accepted.
    pub(crate) promised: Vec<CheckedTransaction>,
    /// Transactions that were in the chain once, and calls until that was known.
    pub(crate) included: BTreeMap<Hash, usize>,
    /// Why it ended before its end.
    pub(crate) error: Option<OpenError>,
}

/// Opens the store of a folder and its ledger.
pub(crate) fn open(folder: &Path, network: &Network) -> Result<Ledger<SqliteStore>, OpenError> {
    open_with(folder, options(network))
}

fn open_with(folder: &Path, options: LedgerOptions) -> Result<Ledger<SqliteStore>, OpenError> {
    let network = &options.network;
    let (genesis, now) = (checked_genesis(network), clock(network, 0));
    let store = SqliteStore::open(folder, network, &genesis, &Delta::default())?;
    Ledger::open(options, store, now, &mut |_| ())
}

/// Bodies are removed one by one, but not those that a run may take off the chain.
const ONE_BY_ONE: Pruning = Pruning { most_bytes: 1, kept_blocks: 7, least_blocks: 1 };

impl Script {
    /// The run of a pruned node: nothing forks deep, and the index is not made anew.
    pub(crate) fn pruned(seed: u64, blocks: usize) -> Script {
        let script = Script::with(seed, blocks, 3);
        let steps = script.steps.into_iter().map(|step| match step {
            Step::Reindex => Step::Restart,
            step => step,
        });
        Script { steps: steps.collect(), pruning: Some(ONE_BY_ONE), ..script }
    }

    /// A run of so many blocks; the same seed gives the same one.
    pub(crate) fn new(seed: u64, blocks: usize) -> Script {
        Script::with(seed, blocks, 8)
    }

    /// A run whose forks begin at one of so many last blocks.
    fn with(seed: u64, blocks: usize, most_back: usize) -> Script {
        let network = free_network();
        let mut draw = StdRng::seed_from_u64(seed);
        let grower = Grower::new(&network);
        let genesis = grower.place.clone();
        let mut script = Script {
            network,
            pruning: None,
            elsewhere: seed % 2 == 1,
            steps: Vec::new(),
            places: BTreeMap::from([(genesis.hash, genesis.clone())]),
            grower,
            blocks: BTreeMap::new(),
        };
        // The ends of all blocks, with the sequences of their chains.
        let mut ends = vec![(genesis, [0_u64; SIGNERS])];
        let mut clients: Vec<Vec<CheckedTransaction>> = vec![Vec::new(); SIGNERS];
        let mut late: Vec<(usize, CheckedBlock)> = Vec::new();
        for number in 0..blocks {
            let back = match draw.random_range(0..10) {
                0 => draw.random_range(0..ends.len().min(most_back)),
                1..=2 => draw.random_range(0..ends.len().min(most_back.min(4))),
                _ => 0,
            };
            script.client_writes(&mut clients, &mut draw);
            let parent = ends[ends.len() - 1 - back].clone();
            let (block, sequences) = script.block(parent, &clients, &mut draw);
            ends.push((script.grower.place.clone(), sequences));
            let headers = check_headers(&script.network, &[*block.header()]).expect("mined");
            script.steps.push(Step::Give(Given::Headers(headers)));
            late.push((number + draw.random_range(0..3_usize).saturating_sub(1), block));
            let due = late.extract_if(.., |(due, _)| *due <= number || number + 1 == blocks);
            script.steps.extend(due.map(|(_, block)| Step::Give(Given::Block(block))));
            script.steps.extend(match draw.random_range(0..24) {
                0..=3 => Some(Step::Checkpoint),
                4..=5 => Some(Step::Flush),
                6..=7 => Some(Step::Restart),
                8 => Some(Step::Reindex),
                _ => None,
            });
        }
        script
    }

    /// Some clients write, each at most so much ahead of the chain as the pool takes.
    fn client_writes(&mut self, clients: &mut [Vec<CheckedTransaction>], draw: &mut StdRng) {
        for (signer, written) in clients.iter_mut().enumerate().take(SIGNERS).skip(STRANGERS) {
            if draw.random_range(0..3) == 0 {
                let sequence = written.len() as u64;
                let transaction = self.write(signer, sequence, draw);
                written.push(transaction.clone());
                self.steps.push(Step::Give(Given::Transaction(transaction)));
            }
        }
    }

    fn block(
        &mut self,
        (place, mut sequences): (Place, [u64; SIGNERS]),
        clients: &[Vec<CheckedTransaction>],
        draw: &mut StdRng,
    ) -> (CheckedBlock, [u64; SIGNERS]) {
        let mut transactions = Vec::new();
        for _ in 0..draw.random_range(0..5) {
            let signer = draw.random_range(0..SIGNERS);
            // Seldom a sequence is left out, which makes the block and its descendants invalid.
            let sequence = sequences[signer] + u64::from(draw.random_range(0..60) == 0);
            let transaction = if signer < STRANGERS {
                self.write(signer, sequence, draw)
            } else {
                let Some(known) = clients[signer].get(usize::try_from(sequence).expect("few"))
                else {
                    continue;
                };
                known.clone()
            };
            sequences[signer] = sequence + 1;
            transactions.push(transaction);
        }
        self.grower.place = place;
        let block = self.grower.grow(account(0), &transactions);
        let place = self.grower.place.clone();
        self.blocks.insert(block.hash(), (place.facts.height, block.clone()));
        self.places.insert(place.hash, place);
        (block, sequences)
    }

    fn write(&mut self, signer: usize, sequence: u64, draw: &mut StdRng) -> CheckedTransaction {
        let key = [draw.random_range(0..12_u8)];
        let length = if draw.random_range(0..6) == 0 { 9_000 } else { 40 };
        let mut value = vec![0; draw.random_range(0..length)];
        draw.fill(&mut value[..]);
        let operation = match draw.random_range(0..8) {
            0 => Operation::Delete { key: &key, expect: Expect::Any },
            1 => Operation::Pay { to: account(1), amount: 1 },
            _ => Operation::Put { key: &key, value: &value, expect: Expect::Any, policy: None },
        };
        let signer = signing_key(u8::try_from(signer).expect("few signers"));
        self.grower.sign(&signer, unsigned(&signer, sequence, &[operation]))
    }

    /// Runs it in a folder, to its end or the first error.
    pub(crate) fn run(&self, folder: &Path) -> Lived {
        let mut lived = Lived::default();
        lived.error = self.run_into(folder, &mut lived).err();
        lived
    }

    #[expect(clippy::disallowed_methods, reason = "the thread that writes is the run's own")]
    fn open(&self, folder: &Path) -> Result<Ledger<SqliteStore>, OpenError> {
        let options = LedgerOptions { pruning: self.pruning, ..options(&self.network) };
        let mut ledger = open_with(folder, options)?;
        if self.elsewhere {
            let (writer, _) = ledger.store_mut().write_elsewhere()?;
            let watch = hooks::shared();
            std::thread::spawn(move || {
                hooks::join(watch);
                writer.run();
            });
        }
        Ok(ledger)
    }

    fn run_into(&self, folder: &Path, lived: &mut Lived) -> Result<(), OpenError> {
        let mut lasting = 0;
        let mut ledger = self.open(folder)?;
        lived.acknowledge(&ledger, lasting)?;
        for (number, step) in (1..).zip(&self.steps) {
            match step {
                Step::Give(given) => {
                    ledger.handle(clock(&self.network, 1000), input(given.clone(), number))?;
                    lived.hear(&mut ledger, given);
                }
                Step::Checkpoint => checkpoint(folder)?,
                Step::Flush => {
                    ledger.flush()?;
                    lasting = lived.promised.len();
                }
                Step::Restart | Step::Reindex => {
                    drop(ledger);
                    if matches!(step, Step::Reindex) {
                        SqliteStore::remove_index(folder)?;
                    }
                    ledger = self.open(folder)?;
                    lasting = lived.promised.len();
                }
            }
            lived.acknowledge(&ledger, lasting)?;
        }
        Ok(())
    }
}

impl Lived {
    /// Hears what the ledger has to say about what it was given.
    fn hear(&mut self, ledger: &mut Ledger<SqliteStore>, given: &Given) {
        while let Some(output) = ledger.poll() {
            if let (
                Output::Answer { answer: Answer::Accepted { .. }, .. },
                Given::Transaction(tx),
            ) = (&output, given)
            {
                self.promised.push(tx.clone());
            }
            if let Output::TipChanged(change) = output {
                let connected = change.connected.iter();
                for transaction in connected.flat_map(|block| block.block.transactions()) {
                    self.included.entry(transaction.txid()).or_insert_with(hooks::count);
                }
            }
        }
        if let Given::Block(block) = given
            && ledger.tree().find(&block.hash()).is_some_and(|id| ledger.tree().has_body(id))
        {
            self.bodies.push(block.hash());
        }
    }

    fn acknowledge(
        &mut self,
        ledger: &Ledger<SqliteStore>,
        lasting: usize,
    ) -> Result<(), OpenError> {
        let tip = ledger.store().tip()?.hash;
        let (bodies, promised) = (self.bodies.len(), self.promised.len());
        self.acks.push(Ack { ops: hooks::count(), tip, bodies, promised, lasting });
        Ok(())
    }
}

/// As a peer, or a client by a request of this number, would hand it in.
fn input(given: Given, number: u64) -> Input {
    let from = PeerId(1);
    match given {
        Given::Headers(headers) => Input::Headers { from, headers },
        Given::Block(block) => Input::Block { from, block },
        Given::Transaction(transaction) => {
            Input::Transaction { source: Source::Client(RequestId(number)), transaction }
        }
    }
}

/// The writer does it after 32,768 pages: more than these runs write.
fn checkpoint(folder: &Path) -> Result<(), OpenError> {
    let path = folder.join("index.sqlite");
    let run = || {
        let connection = Connection::open(&path)?;
        connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)")
    };
    run().map_err(|error| {
        let message = error.to_string();
        chain::store::StoreError::Index { path: path.clone(), message }.into()
    })
}
