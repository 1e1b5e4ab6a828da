//! A clean stop while a commit is under way.

use chain::ledger::{Input, PeerId, RequestId, Source};
use chain::store::Store;
use kv::{Expect, Operation};
use tests::chains::{Grower, account, clock, free_network, signing_key, unsigned};

use super::hooks::{self, Op};
use super::script::open;

/// A power cut in between would lose both.
#[expect(clippy::disallowed_methods, reason = "the thread that writes is the test's own")]
pub(crate) fn a_transaction_is_forgotten_after_its_block_was_synced() {
    let network = free_network();
    let now = clock(&network, 1000);
    let folder = tempfile::tempdir().expect("there is room");
    hooks::watch(folder.path(), None);
    let mut ledger = open(folder.path(), &network).expect("a new folder");
    let (writer, _) = ledger.store_mut().write_elsewhere().expect("it can be opened again");
    let mut grower = Grower::new(&network);
    let key = signing_key(1);
    let put = Operation::Put { key: b"k", value: b"v", expect: Expect::Any, policy: None };
    let transaction = grower.sign(&key, unsigned(&key, 0, &[put]));
    let first = grower.grow(account(0), &[]);
    let second = grower.grow(account(0), std::slice::from_ref(&transaction));
    let from = PeerId(1);
    let source = Source::Client(RequestId(1));
    for input in [
        Input::Block { from, block: first },
        Input::Transaction { source, transaction },
        Input::Block { from, block: second },
    ] {
        ledger.take(now, input).expect("nothing fails");
        ledger.commit(now).expect("nothing fails");
    }
    let kept = ledger.store_mut().pending().expect("nothing fails");
    assert_eq!(kept.len(), 1, "the node promised to keep it");
    let watch = hooks::shared();
    let writing = std::thread::spawn(move || {
        hooks::join(watch);
        writer.run();
    });
    ledger.flush().expect("nothing fails");
    drop(ledger);
    writing.join().expect("it ends with the store");
    let (ops, _) = hooks::unwatch();
    let log = ops.iter().find_map(|op| match op {
        Op::Create { id, name } if name == "blocks.log" => Some(*id),
        _ => None,
    });
    let log = log.expect("it was made");
    let last = |is: &dyn Fn(&Op) -> bool| ops.iter().rposition(is).expect("it was done");
    let written = last(&|op| matches!(op, Op::Write { id, .. } if *id == log));
    let forgotten = last(&|op| matches!(op, Op::Rename { to, .. } if to == "pending.log"));
    let is_synced = |op: &Op| matches!(op, Op::Sync { id } if *id == log);
    assert!(written < forgotten, "the second block came before the stop");
    assert!(ops[written..forgotten].iter().any(is_synced), "{:?}", &ops[written..]);
}
