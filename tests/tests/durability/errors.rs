//! One call after the other fails.

use chain::Hash;
use chain::ledger::{Input, PeerId};
use chain::store::StoreError;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tests::chains::{account, clock};

use super::check::{Expected, Truth, kept, scratch};
use super::disk::{Disk, Loss, write_files};
use super::hooks::{self, Call, Fault, Op, Trouble};
use super::script::{Lived, Script, open};

const CHANGES: &[Call] = &[Call::Create, Call::Write, Call::Truncate];
const ALL: &[Call] = &[Call::Create, Call::Write, Call::Truncate, Call::Sync, Call::Name];

const fn once(trouble: Trouble, calls: &'static [Call]) -> Fault {
    Fault { trouble, calls, at: 1, stays: false }
}

const fn from_then_on(trouble: Trouble, calls: &'static [Call]) -> Fault {
    Fault { stays: true, ..once(trouble, calls) }
}

/// What goes wrong, and whether the run must get over it.
pub(crate) const FAULTS: [(&str, Fault, bool); 8] = [
    ("full once", once(Trouble::Error(libc::ENOSPC), CHANGES), false),
    ("full", from_then_on(Trouble::Error(libc::ENOSPC), CHANGES), false),
    ("broken once", once(Trouble::Error(libc::EIO), ALL), false),
    ("broken", from_then_on(Trouble::Error(libc::EIO), ALL), false),
    ("not synced", once(Trouble::Error(libc::EIO), &[Call::Sync]), false),
    ("unreadable once", once(Trouble::Error(libc::EIO), &[Call::Read]), false),
    ("short", once(Trouble::Short, &[Call::Write]), true),
    ("interrupted", once(Trouble::Error(libc::EINTR), CHANGES), true),
];

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) errors: usize,
    /// Runs that ended by an error.
    pub(crate) stopped: usize,
}

/// Calls at the start of a run that are all tried: they make the files.
const START_CALLS: u64 = 24;

/// Runs a script with the first call failing, then with a later one, until there is none: each of
/// those at the start, and one of `every` after these.
pub(crate) fn fail_each_call(
    seed: u64,
    blocks: usize,
    every: u64,
    (name, fault, gets_over): (&str, Fault, bool),
) -> Counts {
    let script = if fault.stays { Script::new } else { Script::pruned };
    let mut truth = Truth::new(script(seed, blocks));
    let unharmed = truth.script.run(scratch().path());
    let mut counts = Counts::default();
    let mut at = 1;
    loop {
        let folder = scratch();
        hooks::watch(folder.path(), Some(Fault { at, ..fault }));
        let lived = truth.script.run(folder.path());
        let (ops, was_hit) = hooks::unwatch();
        if !was_hit {
            return counts;
        }
        counts.errors += 1;
        counts.stopped += usize::from(lived.error.is_some());
        let context = format!("{name}, call {at}, {:?}", lived.error);
        if let Some(error) = &lived.error {
            assert!(!gets_over, "{context}");
            let names_a_file = error.to_string().contains(&folder.path().display().to_string());
            assert!(names_a_file, "{context}");
        }
        let tips = tips_of(&lived, &unharmed, truth.script.network.genesis_hash());
        let expected = Expected::at(&lived, &tips, ops.len(), false);
        let after_an_end = truth.check(folder.path(), &expected);
        after_an_end.unwrap_or_else(|e| panic!("{context}: {e}; see {}", kept(folder).display()));
        let image = scratch();
        write_files(image.path(), &synced(&ops).after(Loss::All, &mut StdRng::seed_from_u64(at)));
        let expected = Expected::at(&lived, &tips, ops.len(), true);
        let after_a_cut = truth.check(image.path(), &expected);
        after_a_cut.unwrap_or_else(|e| panic!("{context}: {e}; see {}", kept(image).display()));
        at += if at < START_CALLS { 1 } else { every };
    }
}

/// The tip last told, and that which the step that failed leads to.
fn tips_of(lived: &Lived, unharmed: &Lived, genesis: Hash) -> Vec<Hash> {
    let next = unharmed.acks.get(lived.acks.len()).map(|ack| ack.tip);
    [lived.acks.last().map_or(genesis, |ack| ack.tip)].into_iter().chain(next).collect()
}

fn synced(ops: &[Op]) -> Disk {
    let mut disk = Disk::default();
    ops.iter().for_each(|op| disk.apply(op));
    disk
}

/// Linux forgets what it could not write, and the next sync says that all is well.
pub(crate) fn nothing_is_acknowledged_after_a_failed_sync() {
    let mut script = Script::new(0, 0);
    let folder = scratch();
    hooks::watch(folder.path(), None);
    let network = script.network.clone();
    let mut ledger = open(folder.path(), &network).expect("no fault yet");
    let blocks = [(); 3].map(|()| script.grower.grow(account(0), &[]));
    let mut results = Vec::new();
    for (number, block) in blocks.into_iter().enumerate() {
        let not_synced = once(Trouble::Error(libc::EIO), &[Call::Sync]);
        hooks::set_fault((number == 1).then_some(not_synced));
        let input = Input::Block { from: PeerId(1), block };
        results.push(ledger.handle(clock(&network, 1000), input));
    }
    results.push(ledger.commit(clock(&network, 1000)));
    results.push(ledger.flush());
    drop(ledger);
    hooks::unwatch();
    let [first, second, rest @ ..] = &results[..] else { unreachable!("five were pushed") };
    assert!(first.is_ok(), "{first:?}");
    assert!(matches!(second, Err(StoreError::Io { .. })), "{second:?}");
    for result in rest {
        assert!(matches!(result, Err(StoreError::Stopped)), "{result:?}");
    }
}
