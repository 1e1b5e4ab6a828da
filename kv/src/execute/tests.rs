//! The rules by example: keys here, accounts in `tests/coins.rs`.

mod coins;

use chain::execute::{Account, Delta, ExecuteError, StateMachine};
use chain::params::{KeyPolicy, Network};
use chain::tx::{OperationBytes, PublicKey, TRANSACTION_VERSION, Unsigned};

use crate::state::{Head, account_row, encode};
use crate::testing::{Chain, MapView, Tx, account_of, network, signing_key};
use crate::{Effect, Expect, KeyValue, Operation, Outcome, Query, Reason, VersionKind};

const ALICE: u8 = 0;
const BOB: u8 = 1;
const MINER: u8 = 2;

fn owned() -> Chain {
    Chain::new(network(KeyPolicy::Owned, 0))
}

fn put<'a>(key: &'a [u8], value: &'a [u8], expect: Expect) -> Operation<'a> {
    Operation::Put { key, value, expect, policy: None }
}

fn delete(key: &[u8], expect: Expect) -> Operation<'_> {
    Operation::Delete { key, expect }
}

fn outcomes(delta: &Delta) -> Vec<Outcome> {
    delta.outcomes.iter().map(|bytes| Outcome::decode(bytes).unwrap()).collect()
}

fn wrote(version: u64) -> Outcome {
    Outcome::Applied(vec![Effect::Version(version)])
}

fn failed(reason: Reason) -> Outcome {
    Outcome::Failed { operation: 0, reason }
}

fn account(chain: &Chain, signer: u8) -> Account {
    Query::new(&chain.view).account(&account_of(signer)).unwrap()
}

fn head(chain: &Chain, key: &[u8]) -> Option<Head> {
    Query::new(&chain.view).head(key).unwrap()
}

#[test]
fn of_two_writers_that_expect_the_same_version_the_first_wins() {
    let mut chain = Chain::new(network(KeyPolicy::Open, 0));
    let writes = [(); 3].map(|()| put(b"k", b"old", Expect::Any));
    chain.block(MINER, &[Tx::of(MINER, 0, &writes)]);
    let write = |signer, value| Tx::of(signer, 0, &[put(b"k", value, Expect::Version(3))]);
    let delta = chain.block(MINER, &[write(ALICE, b"alice"), write(BOB, b"bob")]);
    let mismatch = Reason::VersionMismatch { expected: 3, latest: 4 };
    assert_eq!(outcomes(&delta), [wrote(4), failed(mismatch)]);
    let latest = Query::new(&chain.view).latest(b"k").unwrap().unwrap();
    assert_eq!((&latest.value[..], latest.version, latest.height), (&b"alice"[..], 4, 2));
    assert_eq!(latest.writer, account_of(ALICE));
}

#[test]
fn an_operation_sees_what_those_before_it_did() {
    let mut chain = owned();
    let operations = [
        put(b"k", b"1", Expect::Absent),
        put(b"k", b"2", Expect::Version(1)),
        delete(b"k", Expect::Version(2)),
        put(b"k", b"4", Expect::Absent),
        Operation::HandOver { key: b"k", to: account_of(BOB) },
        put(b"k", b"5", Expect::Any),
    ];
    let delta = chain.block(MINER, &[Tx::of(ALICE, 0, &operations[..5])]);
    let versions = [1, 2, 3, 4].map(Effect::Version).into_iter().chain([Effect::None]);
    assert_eq!(outcomes(&delta), [Outcome::Applied(versions.collect())]);
    let delta = chain.block(MINER, &[Tx::of(ALICE, 1, &operations[5..])]);
    assert_eq!(outcomes(&delta), [failed(Reason::NotOwner { owner: account_of(BOB) })]);
}

#[test]
fn a_deleted_key_keeps_its_numbers_and_its_owner() {
    let mut chain = owned();
    let twice = [put(b"k", b"v", Expect::Any), delete(b"k", Expect::Any)];
    chain.block(MINER, &[Tx::of(ALICE, 0, &twice)]);
    let owner = account_of(ALICE);
    let found = head(&chain, b"k").unwrap();
    let history = found.history;
    let expected = Head { owner, policy: KeyPolicy::Owned, version: 2, deleted: true, history };
    assert_eq!(found, expected);
    let delta = chain.block(
        MINER,
        &[
            Tx::of(BOB, 0, &[put(b"k", b"w", Expect::Absent)]),
            Tx::of(ALICE, 1, &[delete(b"k", Expect::Any)]),
            Tx::of(ALICE, 2, &[put(b"k", b"w", Expect::Version(0))]),
            Tx::of(ALICE, 3, &[put(b"k", b"w", Expect::Absent)]),
            Tx::of(ALICE, 4, &[put(b"k", b"x", Expect::Absent)]),
        ],
    );
    let mismatch = Reason::VersionMismatch { expected: 0, latest: 2 };
    let not_absent = Reason::NotAbsent { latest: 3 };
    let reasons = [Reason::NotOwner { owner }, Reason::NotFound, mismatch].map(failed);
    assert_eq!(outcomes(&delta)[..3], reasons);
    assert_eq!(outcomes(&delta)[3..], [wrote(3), failed(not_absent)]);
    let tombstone = Query::new(&chain.view).at_version(b"k", 2).unwrap().unwrap();
    assert_eq!((tombstone.kind, &tombstone.value[..]), (VersionKind::Delete, &b""[..]));
}

#[test]
fn a_policy_is_set_by_the_first_put_for_good() {
    let mut chain = owned();
    let open = |value, policy| Operation::Put { key: b"k", value, expect: Expect::Any, policy };
    let delta = chain.block(
        MINER,
        &[
            Tx::of(ALICE, 0, &[open(b"1", Some(KeyPolicy::Open))]),
            Tx::of(BOB, 0, &[open(b"2", None)]),
            Tx::of(BOB, 1, &[open(b"3", Some(KeyPolicy::Open))]),
            Tx::of(ALICE, 1, &[open(b"4", Some(KeyPolicy::Owned))]),
            Tx::of(BOB, 2, &[Operation::HandOver { key: b"k", to: account_of(BOB) }]),
            Tx::of(BOB, 3, &[put(b"other", b"", Expect::Any)]),
        ],
    );
    let differs = Reason::PolicyDiffers { policy: KeyPolicy::Open };
    let not_owner = Reason::NotOwner { owner: account_of(ALICE) };
    assert_eq!(outcomes(&delta)[..3], [1, 2, 3].map(wrote));
    assert_eq!(outcomes(&delta)[3..5], [differs, not_owner].map(failed));
    assert_eq!(head(&chain, b"other").unwrap().policy, KeyPolicy::Owned);
}

#[test]
fn check_names_the_operation_and_its_fault() {
    let network = Network::dev();
    let check = |operations: &[OperationBytes]| {
        let key = signing_key(ALICE);
        let unsigned = Unsigned {
            version: TRANSACTION_VERSION,
            signer: PublicKey::from(&key),
            sequence: 0,
            expires_at: 0,
            fee: 0,
            operations: operations.to_vec(),
        };
        KeyValue.check(&network, &unsigned.sign(&key, &network.genesis_hash()))
    };
    let good = put(b"k", b"v", Expect::Any).encode();
    assert_eq!(check(&[good.clone(), good.clone()]), Ok(()));
    let long = vec![0; network.limits.value_bytes as usize + 1];
    for (bad, words) in [
        (OperationBytes::from(vec![9]), "malformed"),
        (put(b"", b"", Expect::Any).encode(), "the key is empty"),
        (put(&[1; 256], b"", Expect::Any).encode(), "the key has 256 bytes"),
        (put(b"k", &long, Expect::Any).encode(), "the value has 65537 bytes"),
    ] {
        let error = check(&[good.clone(), bad]).unwrap_err();
        assert!(error.starts_with("operation 1: ") && error.contains(words), "{error}");
    }
}

#[test]
fn a_damaged_row_is_the_stores_fault_and_not_the_blocks() {
    let mut chain = owned();
    let mut row = encode(&Account { balance: 1, sequence: 0 });
    row.push(0);
    chain.view = MapView([(account_row(&account_of(ALICE)), row)].into());
    let tx = Tx::of(ALICE, 0, &[put(b"k", b"v", Expect::Any)]).checked(&chain.network);
    let result = KeyValue.execute(&chain.view, chain.context(MINER), &[tx]);
    assert!(matches!(result, Err(ExecuteError::Store(_))), "{result:?}");
}
