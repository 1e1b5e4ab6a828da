//! Transactions that clients have signed, and should not have.

use chain::Hash;
use chain::params::{KeyPolicy, Network};
use chain::tx::{PublicKey, SigningKey, TRANSACTION_VERSION, Transaction, Unsigned};
use data_encoding::HEXLOWER;
use kv::{Expect, Operation};
use tests::node::Client;

use super::support::{assert_refused, assert_well, start, stranger};

/// A put of a client with its own key.
fn put(sequence: u64, key: &[u8]) -> Unsigned {
    let policy = Some(KeyPolicy::Open);
    let operation = Operation::Put { key, value: b"signed", expect: Expect::Any, policy };
    Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(&signing_key()),
        sequence,
        expires_at: 0,
        fee: 0,
        operations: vec![operation.encode()],
    }
}

fn signing_key() -> SigningKey {
    SigningKey::from([7; 32])
}

fn sign(unsigned: Unsigned) -> Transaction {
    unsigned.sign(&signing_key(), &Network::dev().genesis_hash())
}

fn submit(client: &mut Client, bytes: &[u8]) -> Result<serde_json::Value, String> {
    client.ask(&format!("SUBMIT {} WAIT 1", cli::words::encode(bytes)))
}

#[test]
fn what_is_no_transaction_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let whole = sign(put(0, b"key"));
    let longer = [whole.bytes(), &[0][..]].concat();
    let shorter = &whole.bytes()[..whole.bytes().len() - 1];
    for bytes in [&b"\x00"[..], &[0xff; 300], &longer, shorter] {
        assert_refused(submit(&mut client, bytes), "-REFUSED", &["transaction"]);
    }
    assert_refused(client.ask("SUBMIT base64:*"), "-USAGE", &["base64"]);
    submit(&mut client, whole.bytes()).unwrap();
    assert_well(&mut node);
}

#[test]
fn a_signature_that_does_not_verify_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let mut changed = sign(put(0, b"key")).bytes().to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let elsewhere = put(0, b"key").sign(&signing_key(), &Network::main().genesis_hash());
    let forged = put(0, b"key").sign(&SigningKey::from([8; 32]), &Network::dev().genesis_hash());
    for bytes in [&changed[..], elsewhere.bytes(), forged.bytes()] {
        assert_refused(submit(&mut client, bytes), "-REFUSED", &["signature", "network"]);
    }
    assert_refused(client.ask("RETRIEVE key"), "-NOTFOUND", &["key"]);
    assert_well(&mut node);
}

#[test]
fn a_sequence_that_is_used_up_is_refused_and_the_next_one_named() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    submit(&mut client, sign(put(0, b"first")).bytes()).unwrap();
    let again = submit(&mut client, sign(put(0, b"again")).bytes());
    assert_refused(again, "-REFUSED", &["sequence 0 is used up", "next is 1"]);
    let far = submit(&mut client, sign(put(1_000_000, b"far")).bytes());
    assert_refused(far, "-REFUSED", &["too far ahead", "next is 1"]);
    submit(&mut client, sign(put(1, b"next")).bytes()).unwrap();
    assert_well(&mut node);
}

#[test]
fn a_fee_that_the_account_cannot_pay_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    for fee in [1, u64::MAX] {
        let poor = submit(&mut client, sign(Unsigned { fee, ..put(0, b"key") }).bytes());
        assert_refused(poor, "-REFUSED", &["exceed the spendable balance 0", &fee.to_string()]);
    }
    assert_well(&mut node);
}

#[test]
fn operations_that_no_command_makes_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let with = |operations| sign(Unsigned { operations, ..put(0, b"key") });
    let nameless = sign(put(0, b""));
    let rubbish = with(vec![vec![0xff; 40].into()]);
    let nothing = with(Vec::new());
    let many = with(vec![put(0, b"key").operations[0].clone(); 1025]);
    let cases: [(&Transaction, &str); 4] = [
        (&nameless, "the key is empty"),
        (&rubbish, "operation"),
        (&nothing, "0 operations"),
        (&many, "1025 operations"),
    ];
    for (transaction, what) in cases {
        assert_refused(submit(&mut client, transaction.bytes()), "-REFUSED", &[what]);
    }
    let version = sign(Unsigned { version: 2, ..put(0, b"key") });
    assert_refused(submit(&mut client, version.bytes()), "-REFUSED", &["version 2"]);
    let unknown = client.ask(&format!("WAIT {} 1 TIMEOUT 1", Hash::ZERO));
    assert_refused(unknown, "-NOTFOUND", &["neither in the chain nor"]);
    assert_well(&mut node);
}

#[test]
fn of_transactions_on_one_line_those_before_the_first_refused_one_count() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut client = stranger(&node);
    let word = |transaction: &Transaction| format!("hex:{}", HEXLOWER.encode(transaction.bytes()));
    let list: Vec<Transaction> =
        (0..5).map(|sequence| sign(put(sequence, format!("key{sequence}").as_bytes()))).collect();
    let mut forged = list[1].bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    // What breaks a rule by itself spoils the line.
    let line = format!("SUBMIT {} hex:{}", word(&list[0]), HEXLOWER.encode(&forged));
    assert_refused(
        client.ask(&line),
        "-REFUSED",
        &["signature", "transaction 2", "none was taken"],
    );
    // What only comes at the wrong time leaves those before it.
    let line = format!("SUBMIT {} {} {} WAIT 1", word(&list[0]), word(&list[1]), word(&list[1]));
    let what = ["already in the pool", "transaction 3", "2 before it are pending"];
    assert_refused(client.ask(&line), "-REFUSED", &what);
    let rest: Vec<String> = list[2..].iter().map(word).collect();
    let answer = client.ask(&format!("SUBMIT {} WAIT 1", rest.join(" "))).unwrap();
    assert_eq!(answer["txid"], list[4].txid().to_string(), "the answer is of the last one");
    assert_eq!(answer["status"], "confirmed");
    for number in 0..5 {
        assert_eq!(client.ask(&format!("RETRIEVE key{number}")).unwrap()["value"], "signed");
    }
    let many = "SUBMIT".to_string() + &" hex:00".repeat(1025);
    assert_refused(client.ask(&many), "-USAGE", &["at most 1024"]);
    assert_well(&mut node);
}
