//! Random blocks against the model.

use chain::execute::{BlockContext, Delta, ExecuteError, Order, StateMachine, TransactionFault};
use chain::params::{KeyPolicy, Network};
use chain::tx::CheckedTransaction;
use proptest::prelude::*;

use crate::model::Model;
use crate::query::{Scan, Values};
use crate::testing::{MapView, Tx, account_of, network};
use crate::{Expect, KeyValue, Operation, Outcome, Query};

const SIGNERS: u8 = 3;
const KEYS: [&[u8]; 5] = [b"a", b"ab", b"b", b"\xff", b"\xff\xff"];
const VALUES: [&[u8]; 3] = [b"", b"one", b"twenty-two"];

/// A transaction before it is known which sequence and height come next.
#[derive(Clone, Debug)]
struct Plan {
    signer: u8,
    /// Added to the right sequence.
    skew: u64,
    /// Blocks until it expires, counted from one block ago; `None` = never.
    expires_in: Option<u32>,
    fee: u64,
    operations: Vec<Operation<'static>>,
}

impl Plan {
    fn transaction(&self, network: &Network, model: &Model) -> CheckedTransaction {
        let sequence = model.account(&account_of(self.signer)).sequence + self.skew;
        let expires_at = self.expires_in.map_or(0, |blocks| model.height - 1 + blocks);
        let (fee, operations) = (self.fee, self.operations.clone());
        Tx { signer: self.signer, sequence, expires_at, fee, operations }.checked(network)
    }
}

fn operation() -> impl Strategy<Value = Operation<'static>> {
    let key = || prop::sample::select(&KEYS[..]);
    let expect = || {
        prop_oneof![
            4 => Just(Expect::Any),
            1 => Just(Expect::Absent),
            2 => (0..4_u64).prop_map(Expect::Version),
        ]
    };
    let policy = prop_oneof![
        6 => Just(None),
        1 => Just(Some(KeyPolicy::Owned)),
        1 => Just(Some(KeyPolicy::Open)),
    ];
    let to = || (0..SIGNERS).prop_map(account_of);
    prop_oneof![
        6 => (key(), prop::sample::select(&VALUES[..]), expect(), policy).prop_map(
            |(key, value, expect, policy)| Operation::Put { key, value, expect, policy }
        ),
        3 => (key(), expect()).prop_map(|(key, expect)| Operation::Delete { key, expect }),
        1 => (key(), to()).prop_map(|(key, to)| Operation::HandOver { key, to }),
        2 => (to(), 0..40_u64).prop_map(|(to, amount)| Operation::Pay { to, amount }),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        0..SIGNERS,
        prop_oneof![9 => Just(0_u64), 1 => 1..3_u64],
        prop_oneof![4 => Just(None), 1 => (0..3_u32).prop_map(Some)],
        prop_oneof![4 => Just(0_u64), 3 => 0..8_u64, 1 => 8..60_u64],
        prop::collection::vec(operation(), 1..4),
    )
        .prop_map(|(signer, skew, expires_in, fee, operations)| Plan {
            signer,
            skew,
            expires_in,
            fee,
            operations,
        })
}

fn blocks() -> impl Strategy<Value = Vec<(u8, Vec<Plan>)>> {
    prop::collection::vec((0..SIGNERS, prop::collection::vec(plan(), 0..8)), 1..10)
}

fn policies() -> impl Strategy<Value = KeyPolicy> {
    prop_oneof![Just(KeyPolicy::Owned), Just(KeyPolicy::Open)]
}

/// What the model says of a block's candidates, in order.
type Verdicts = Vec<Result<Outcome, TransactionFault>>;

/// Fills and executes a block, and compares both with the model's verdicts.
fn execute_as_the_model_says(
    view: &MapView,
    context: BlockContext<'_>,
    candidates: &[CheckedTransaction],
    verdicts: &Verdicts,
) -> Delta {
    let filled = KeyValue.fill(view, context, candidates).unwrap();
    let standing = (0..candidates.len()).filter(|at| verdicts[*at].is_ok());
    assert_eq!(filled.chosen, standing.collect::<Vec<_>>());
    let outcomes: Vec<&Outcome> = verdicts.iter().flatten().collect();
    let got: Vec<Outcome> =
        filled.delta.outcomes.iter().map(|bytes| Outcome::decode(bytes).unwrap()).collect();
    assert_eq!(got.iter().collect::<Vec<_>>(), outcomes);

    let chosen: Vec<_> = filled.chosen.iter().map(|at| candidates[*at].clone()).collect();
    let executed = KeyValue.execute(view, context, &chosen).unwrap();
    assert_eq!(executed, filled.delta, "a filled block is valid and does what was promised");

    let first_fault = verdicts
        .iter()
        .enumerate()
        .find_map(|(at, verdict)| verdict.as_ref().err().map(|fault| (at, fault.clone())));
    match (KeyValue.execute(view, context, candidates), first_fault) {
        (Ok(delta), None) => assert_eq!(delta, executed),
        (Err(ExecuteError::Invalid { position, fault }), Some(expected)) => {
            assert_eq!((position, fault), expected);
        }
        (got, expected) => panic!("executed all: {got:?}, expected fault {expected:?}"),
    }
    executed
}

fn state_is_the_models(view: &MapView, model: &Model) {
    assert_eq!(view.0.len(), model.row_count());
    let query = Query::new(view);
    for signer in 0..SIGNERS {
        let key = account_of(signer);
        assert_eq!(query.account(&key).unwrap(), model.account(&key));
    }
    for key in KEYS {
        assert_eq!(query.head(key).unwrap(), model.head(key));
        assert_eq!(query.latest(key).unwrap().as_ref(), model.history(key).last());
    }
}

fn histories_are_the_models(view: &MapView, model: &Model, limit: usize) {
    let query = Query::new(view);
    for key in KEYS {
        let expected = model.history(key);
        let end = expected.len() as u64 + 2;
        for number in 0..end {
            let entry = expected.iter().find(|entry| entry.version == number);
            assert_eq!(query.at_version(key, number).unwrap().as_ref(), entry);
        }
        for height in 0..=model.height {
            let entry = expected.iter().rfind(|entry| entry.height <= height);
            assert_eq!(query.at_height(key, height).unwrap().as_ref(), entry);
        }
        for order in [Order::Ascending, Order::Descending] {
            for after in [None, Some(0), Some(1), Some(2), Some(end), Some(u64::MAX)] {
                let mut wanted: Vec<_> = expected
                    .iter()
                    .filter(|entry| match (order, after) {
                        (_, None) => true,
                        (Order::Ascending, Some(after)) => entry.version > after,
                        (Order::Descending, Some(after)) => entry.version < after,
                    })
                    .cloned()
                    .collect();
                if order == Order::Descending {
                    wanted.reverse();
                }
                let (mut got, mut cursor) = (Vec::new(), after);
                loop {
                    let page = query.history(key, cursor, order, limit).unwrap();
                    assert!(page.entries.len() <= limit);
                    assert!(page.next.is_none() || page.entries.len() == limit);
                    got.extend(page.entries);
                    cursor = page.next;
                    if cursor.is_none() {
                        break;
                    }
                }
                assert_eq!(got, wanted, "{order:?} after {after:?}");
            }
        }
    }
}

fn scans_are_the_models(view: &MapView, model: &Model, limit: usize) {
    let query = Query::new(view);
    let prefixes = [&b""[..], b"c", b"aa"].into_iter().chain(KEYS);
    for prefix in prefixes {
        for values in [Values::Read, Values::Skip] {
            for start in [None, Some(&b"A"[..]), Some(b"a"), Some(b"ab"), Some(b"\xff")] {
                let above = |key: &Vec<u8>| start.is_none_or(|start| &key[..] > start);
                let wanted: Vec<_> = model.live_keys(prefix).into_iter().filter(above).collect();
                let (mut got, mut cursor) = (Vec::new(), start.map(<[u8]>::to_vec));
                loop {
                    let after = cursor.as_deref();
                    let page = query.scan(Scan { prefix, after, limit, values }).unwrap();
                    assert!(page.found.len() <= limit);
                    got.extend(page.found);
                    cursor = page.next;
                    if cursor.is_none() {
                        break;
                    }
                }
                let keys: Vec<_> = got.iter().map(|found| found.key.clone()).collect();
                assert_eq!(keys, wanted, "{prefix:?} after {start:?}");
                for found in got {
                    assert_eq!(Some(found.head), model.head(&found.key));
                    let entry = model.history(&found.key).pop();
                    assert_eq!(found.entry, entry.filter(|_| values == Values::Read));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn blocks_do_what_the_model_does_and_can_be_undone(
        policy in policies(),
        maturity_blocks in 0..4_u32,
        blocks in blocks(),
        limit in 1..4_usize,
    ) {
        let network = network(policy, maturity_blocks);
        let mut model = Model::new(network.clone());
        let mut view = MapView::default();
        let mut done = Vec::new();
        let mut created = 0;
        for (payee, plans) in &blocks {
            let payee = account_of(*payee);
            let context = BlockContext { network: &network, height: model.height, payee };
            created += network.subsidy.at(model.height);
            let (mut candidates, mut verdicts) = (Vec::new(), Vec::new());
            for plan in plans {
                let transaction = plan.transaction(&network, &model);
                verdicts.push(model.include(&transaction));
                candidates.push(transaction);
            }
            model.end_block(payee);
            let delta = execute_as_the_model_says(&view, context, &candidates, &verdicts);
            let before = view.clone();
            view.apply(&delta);
            state_is_the_models(&view, &model);
            prop_assert_eq!(model.coins(), created, "coins come from subsidies alone");
            done.push((before, delta));
        }
        histories_are_the_models(&view, &model, limit);
        scans_are_the_models(&view, &model, limit);
        for (before, delta) in done.iter().rev() {
            view.undo(delta);
            prop_assert_eq!(&view, before);
        }
    }
}
