//! The power is cut, or the process ends, at every sync.

use chain::Hash;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::check::{Expected, Truth, kept, scratch};
use super::disk::{Disk, LOSSES, Loss, read_files, write_files};
use super::hooks::{self, Op};
use super::script::{Lived, Script};

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) syncs: usize,
    pub(crate) images: usize,
}

/// Runs a script and opens what a disk may hold right before and after each sync. Of all kinds of
/// loss `share` are tried at each, in turn.
pub(crate) fn cut_at_every_sync(seed: u64, blocks: usize, share: usize) -> Counts {
    let is_pruned = seed % 2 == 1;
    let script = if is_pruned { Script::pruned } else { Script::new };
    let mut truth = Truth::new(script(seed, blocks));
    let folder = scratch();
    hooks::watch(folder.path(), None);
    let lived = truth.script.run(folder.path());
    let (ops, _) = hooks::unwatch();
    assert!(lived.error.is_none(), "seed {seed}: {:?}", lived.error);
    let holes = ops.iter().filter(|op| matches!(op, Op::Hole { .. })).count();
    assert!(!is_pruned || holes > 10, "seed {seed}: {holes} holes are too few to mean anything");
    let mut draw = StdRng::seed_from_u64(seed);
    let mut counts = Counts::default();
    let mut disk = Disk::default();
    let mut losses = LOSSES.into_iter().cycle();
    for (at, op) in ops.iter().enumerate() {
        if matches!(op, Op::Sync { .. } | Op::SyncFolder) {
            counts.syncs += 1;
            for loss in losses.by_ref().take(share) {
                look(&mut truth, &lived, &disk, loss, at, &mut draw);
                counts.images += 1;
            }
        }
        disk.apply(op);
    }
    look(&mut truth, &lived, &disk, Loss::All, ops.len(), &mut draw);
    look(&mut truth, &lived, &disk, Loss::Nothing, ops.len(), &mut draw);
    counts.images += 2;
    // Nothing was done to the files that the hooks did not see.
    let seen = disk.after(Loss::Nothing, &mut draw);
    assert!(seen == read_files(folder.path()), "seed {seed}: a call was missed");
    counts
}

/// Opens what is left of a disk after so many calls.
fn look(truth: &mut Truth, lived: &Lived, disk: &Disk, loss: Loss, at: usize, draw: &mut StdRng) {
    let image = scratch();
    write_files(image.path(), &disk.after(loss, draw));
    let tips = tips_at(truth, lived, at);
    let expected = Expected::at(lived, &tips, at, loss != Loss::Nothing);
    if let Err(error) = truth.check(image.path(), &expected) {
        let place = kept(image);
        panic!("{loss:?} after {at} calls: {error}; see {}", place.display());
    }
}

/// The tip that was last told, and the one that was told next.
pub(crate) fn tips_at(truth: &Truth, lived: &Lived, at: usize) -> Vec<Hash> {
    let told = lived.acks.partition_point(|ack| ack.ops <= at);
    let genesis = truth.script.network.genesis_hash();
    let before = told.checked_sub(1).map_or(genesis, |last| lived.acks[last].tip);
    let next = lived.acks.get(told).map(|ack| ack.tip);
    [before].into_iter().chain(next).collect()
}
