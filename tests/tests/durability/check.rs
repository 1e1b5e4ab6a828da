//! What must hold of a folder that is found.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::Hash;
use chain::audit::audit;
use chain::block::CheckedBlock;
use chain::execute::{Order, Range, Row, StateMachine, View};
use chain::ledger::{Input, Ledger, PeerId};
use chain::store::{Archive, Body, SqliteArchive, SqliteStore};
use chain::tx::CheckedTransaction;
use kv::KeyValue;
use tempfile::TempDir;
use tests::chains::{account, clock};
use tests::replay::Replay;

use super::script::{Lived, Script, open};

/// The state after a block.
#[derive(Clone)]
pub(crate) struct State {
    rows: Vec<Row>,
    pages: Vec<Row>,
}

/// What is true of the blocks of a script.
pub(crate) struct Truth {
    pub(crate) script: Script,
    replay: Replay,
    states: BTreeMap<Hash, State>,
    /// One more block, by the block before it.
    next: BTreeMap<Hash, CheckedBlock>,
}

/// What must be in a folder.
pub(crate) struct Expected<'a> {
    /// The tip is one of these.
    pub(crate) tips: &'a [Hash],
    pub(crate) bodies: &'a [Hash],
    /// They wait or are in the chain.
    pub(crate) promised: Vec<&'a CheckedTransaction>,
}

impl<'a> Expected<'a> {
    /// What was acknowledged before a call. With `only_lasting` the power was cut, else the process
    /// ended.
    pub(crate) fn at(lived: &'a Lived, tips: &'a [Hash], op: usize, only_lasting: bool) -> Self {
        let ack = lived.acks.iter().rfind(|ack| ack.ops <= op);
        let (bodies, promised) = ack.map_or((0, 0), |ack| {
            (ack.bodies, if only_lasting { ack.lasting } else { ack.promised })
        });
        // What a block had and lost again waits in memory alone.
        let waits = |transaction: &&CheckedTransaction| {
            lived.included.get(&transaction.txid()).is_none_or(|&included| included > op)
        };
        let promised = lived.promised[..promised].iter().filter(waits).collect();
        Expected { tips, bodies: &lived.bodies[..bodies], promised }
    }
}

/// A folder in memory, if the machine has such.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let below = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    TempDir::new_in(below).expect("there is room")
}

impl Truth {
    pub(crate) fn new(script: Script) -> Truth {
        let mut replay = Replay::new(&script.network);
        for (height, block) in script.blocks.values() {
            replay.learn(*height, block);
        }
        Truth { script, replay, states: BTreeMap::new(), next: BTreeMap::new() }
    }

    /// Opens a folder and looks at everything in it; then it must go on.
    pub(crate) fn check(&mut self, folder: &Path, expected: &Expected<'_>) -> Result<(), String> {
        let opened = catch_unwind(|| open(folder, &self.script.network));
        let opened = opened.map_err(|_| "a panic at the start".to_string())?;
        let mut ledger = opened.map_err(|error| format!("it does not open: {error}"))?;
        let tip = ledger.store().tip().map_err(|error| error.to_string())?.hash;
        if !expected.tips.contains(&tip) {
            return Err(format!("tip {tip}, not one of {:?}", expected.tips));
        }
        self.read_all(ledger.store(), tip)?;
        self.read_bodies(ledger.store(), expected.bodies)?;
        for (number, transaction) in expected.promised.iter().enumerate() {
            let txid = transaction.txid();
            let inclusion = ledger.store().inclusion(&txid).map_err(|error| error.to_string())?;
            if inclusion.is_none() && ledger.pool().get(&txid).is_none() {
                return Err(format!("promise {number}, transaction {txid}, is lost"));
            }
        }
        self.audit(folder)?;
        self.go_on(&mut ledger, tip)
    }

    /// Reads every row, block and outcome of the main chain up to `tip`.
    pub(crate) fn read_all(&mut self, store: &dyn Archive, tip: Hash) -> Result<(), String> {
        let state = self.state(tip)?;
        let text = |error: chain::store::StoreError| error.to_string();
        if all_rows(store).map_err(text)? != state.rows {
            return Err("WRONG rows of the state".to_string());
        }
        if all_pages(store).map_err(text)? != state.pages {
            return Err("WRONG pages of the commitment".to_string());
        }
        let pruned = store.pruned().map_err(text)?;
        let mut hash = tip;
        while let Some((height, block)) = self.script.blocks.get(&hash).cloned() {
            let (main, headers) = (store.main_hash(height), store.main_headers(height, 1));
            if main.map_err(text)? != Some(hash)
                || headers.map_err(text)?.first() != Some(block.header())
                || store.main_height(&hash).map_err(text)? != Some(height)
            {
                return Err(format!("WRONG main chain at height {height}"));
            }
            let model = self.replay.at(tip)?;
            let undo = store.undo(height).map_err(text)?;
            if height <= pruned {
                if store.body(&hash).map_err(text)? != Body::Pruned || !undo.is_empty() {
                    return Err(format!("WRONG: block {hash} is not pruned"));
                }
            } else if !body_is_right(store, &hash, block.bytes())? {
                return Err(format!("WRONG bytes of block {hash}"));
            } else if undo != model.undo(height).map_err(text)? {
                return Err(format!("WRONG undo of height {height}"));
            }
            for txid in block.transactions().iter().map(|transaction| transaction.txid()) {
                let inclusion = store.inclusion(&txid).map_err(text)?;
                if inclusion != model.inclusion(&txid).map_err(text)? {
                    return Err(format!("WRONG place or outcome of transaction {txid}"));
                }
            }
            hash = block.header().prev;
        }
        Ok(())
    }

    /// Reads blocks, on the main chain or not.
    pub(crate) fn read_bodies(&self, store: &dyn Archive, bodies: &[Hash]) -> Result<(), String> {
        let pruned = store.pruned().map_err(|error| error.to_string())?;
        for hash in bodies {
            let (height, block) = &self.script.blocks[hash];
            if *height > pruned && !body_is_right(store, hash, block.bytes())? {
                return Err(format!("WRONG: block {hash} is lost"));
            }
        }
        Ok(())
    }

    /// As `verify-chain` does it.
    pub(crate) fn audit(&self, folder: &Path) -> Result<(), String> {
        let network = &self.script.network;
        let machine: Arc<dyn StateMachine> = Arc::new(KeyValue);
        let archive = SqliteArchive::open(folder, network).map_err(|error| error.to_string())?;
        let report = audit(&archive, network, &machine, &mut |_| ());
        report.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Gives one more block on the tip.
    pub(crate) fn go_on(
        &mut self,
        ledger: &mut Ledger<SqliteStore>,
        tip: Hash,
    ) -> Result<(), String> {
        let block = self.block_after(tip);
        self.give(ledger, block.clone())?;
        let now = ledger.store().tip().map_err(|error| error.to_string())?.hash;
        if now != block.hash() {
            return Err(format!("WRONG: it does not take the next block, it stays at {now}"));
        }
        Ok(())
    }

    /// Gives a block. An error of the ledger is one, a panic another.
    pub(crate) fn give(
        &self,
        ledger: &mut Ledger<SqliteStore>,
        block: CheckedBlock,
    ) -> Result<(), String> {
        let now = clock(&self.script.network, 1000);
        let input = Input::Block { from: PeerId(1), block };
        catch_unwind(AssertUnwindSafe(|| ledger.handle(now, input)))
            .map_err(|_| "PANIC while it took a block".to_string())?
            .map_err(|error| error.to_string())
    }

    /// An empty block on another one.
    pub(crate) fn block_after(&mut self, parent: Hash) -> CheckedBlock {
        if !self.next.contains_key(&parent) {
            self.script.grower.place = self.script.places[&parent].clone();
            let block = self.script.grower.grow(account(0), &[]);
            let place = self.script.grower.place.clone();
            let height = place.facts.height;
            self.replay.learn(height, &block);
            self.script.blocks.insert(block.hash(), (height, block.clone()));
            self.script.places.insert(block.hash(), place);
            self.next.insert(parent, block);
        }
        self.next[&parent].clone()
    }

    fn state(&mut self, tip: Hash) -> Result<State, String> {
        if !self.states.contains_key(&tip) {
            let store = self.replay.at(tip)?;
            let rows = all_rows(store).map_err(|error| error.to_string())?;
            let pages = all_pages(store).map_err(|error| error.to_string())?;
            self.states.insert(tip, State { rows, pages });
        }
        Ok(self.states[&tip].clone())
    }
}

/// Compares a stored body. That it is damaged is an error, as it is named.
pub(crate) fn body_is_right(
    store: &dyn Archive,
    hash: &Hash,
    bytes: &[u8],
) -> Result<bool, String> {
    match store.body(hash).map_err(|error| error.to_string())? {
        Body::Damaged(damage) => Err(format!("block {hash} is {damage}")),
        body => Ok(body.here().as_deref() == Some(bytes)),
    }
}

fn all_rows<A: View + ?Sized>(view: &A) -> Result<Vec<Row>, chain::store::StoreError> {
    let range = Range { from: &[], to: &[0xff; 300], order: Order::Ascending, limit: usize::MAX };
    view.range(range)
}

fn all_pages(archive: &dyn Archive) -> Result<Vec<Row>, chain::store::StoreError> {
    let range = Range { from: &[], to: &[16], order: Order::Ascending, limit: usize::MAX };
    archive.page_range(range)
}

/// Where the files of a failure are left.
pub(crate) fn kept(folder: TempDir) -> PathBuf {
    folder.keep()
}
