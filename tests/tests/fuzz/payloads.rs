//! Blocks, transactions, coinbases, operations and outcomes: bytes are what they encode to, or
//! they are refused.

use chain::block::{Block, BlockDecodeError, Coinbase};
use chain::params::KeyPolicy;
use chain::tx::{DecodeError, Transaction};
use kv::{Effect, Expect, Operation, Outcome};
use tests::chains::{account, verifier};

use super::draw::Draw;
use super::target::{Memory, Target};
use super::world::WORLD;

/// A list is given a mebibyte at most before its items are there (serde's caution); a block's
/// transactions have an encoding, an id and a copy each.
pub(super) const TARGET: Target = Target {
    name: "payloads",
    samples,
    run,
    memory: Memory { per_byte: 256, fixed: 1024 * 1024 + 32 * 1024 },
};

fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    let mut add = |kind: u8, bytes: &[u8]| samples.push([&[kind][..], bytes].concat());
    for block in [&WORLD.chain[0], &WORLD.chain[3], &WORLD.chain[11]] {
        add(0, block.bytes());
        add(2, &block.coinbase().encode());
    }
    for transaction in WORLD.transactions().take(2) {
        add(1, transaction.bytes());
    }
    let (key, value) = (&b"key"[..], &[7; 300][..]);
    for operation in [
        Operation::Put { key, value, expect: Expect::Any, policy: None },
        Operation::Put {
            key: &[1; 255],
            value: b"",
            expect: Expect::Version(9),
            policy: Some(KeyPolicy::Owned),
        },
        Operation::Put { key: &[1; 256], value: b"", expect: Expect::Any, policy: None },
        Operation::Delete { key, expect: Expect::Absent },
        Operation::HandOver { key, to: account(3) },
        Operation::Pay { to: account(3), amount: u64::MAX },
        Operation::Delete { key: b"", expect: Expect::Any },
    ] {
        add(3, &operation.encode());
    }
    let effects = vec![Effect::Version(300), Effect::None];
    let owner = account(2);
    let policy = KeyPolicy::Open;
    for reason in [
        kv::Reason::VersionMismatch { expected: 1, latest: u64::MAX },
        kv::Reason::NotOwner { owner },
        kv::Reason::NotFound,
        kv::Reason::PolicyDiffers { policy },
        kv::Reason::InsufficientFunds { balance: 1, amount: 2 },
    ] {
        add(4, &Outcome::Failed { operation: 7, reason }.encode());
    }
    add(4, &Outcome::Applied(effects).encode());
    samples
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let kind = draw.byte() % 5;
    let bytes = draw.rest();
    match kind {
        0 => block(bytes),
        1 => transaction(bytes),
        2 => match Coinbase::decode(bytes) {
            Ok(coinbase) => {
                assert_eq!(coinbase.encode(), bytes);
                "coinbase".to_string()
            }
            Err(_) => "no coinbase".to_string(),
        },
        3 => operation(bytes),
        _ => match Outcome::decode(bytes) {
            Ok(outcome) => {
                assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome.clone()));
                match outcome {
                    Outcome::Applied(list) => format!("applied {}", list.len().min(3)),
                    Outcome::Failed { reason, .. } => reason.code().to_string(),
                }
            }
            Err(_) => "no outcome".to_string(),
        },
    }
}

fn block(bytes: &[u8]) -> String {
    let decoded = match Block::decode(bytes) {
        Ok(block) => block,
        Err(BlockDecodeError::Transaction { fault, .. }) => return format!("block with {fault:?}"),
        Err(error) => {
            let error = format!("{error:?}");
            return format!("block {}", error.split('(').next().unwrap_or_default());
        }
    };
    assert_eq!(decoded.encode(), bytes, "a block is not what it encodes to");
    match verifier(&WORLD.network).block(bytes.to_vec()) {
        Ok(checked) => {
            assert_eq!(checked.bytes(), bytes);
            "block".to_string()
        }
        Err(error) => {
            let words: Vec<String> =
                error.to_string().split(' ').take(3).map(str::to_string).collect();
            let plain = words.iter().filter(|word| word.chars().all(char::is_alphabetic));
            format!("block rule {}", plain.cloned().collect::<Vec<_>>().join(" "))
        }
    }
}

fn transaction(bytes: &[u8]) -> String {
    let taken = Transaction::take(bytes).map(|(transaction, rest)| {
        assert_eq!([transaction.bytes(), rest].concat(), bytes);
        rest.len()
    });
    match Transaction::decode(bytes) {
        Ok(decoded) => {
            assert_eq!((decoded.bytes(), taken), (bytes, Ok(0)));
            let mut verifier = verifier(&WORLD.network);
            let verdict = verifier.transactions(&[bytes.to_vec()]).remove(0);
            let verdict = verdict.map_err(|error| error.to_string());
            let words = verdict.err().unwrap_or_default();
            let words = words.split(' ').filter(|word| word.chars().all(char::is_alphabetic));
            format!("transaction {}", words.take(3).collect::<Vec<_>>().join(" "))
        }
        Err(DecodeError::Trailing(rest)) => {
            assert_eq!(taken, Ok(rest));
            "transaction and more".to_string()
        }
        Err(error) => {
            assert_eq!(taken, Err(error));
            format!("transaction {error:?}")
        }
    }
}

fn operation(bytes: &[u8]) -> String {
    match Operation::decode(bytes) {
        Ok(operation) => {
            assert_eq!(operation.encode(), bytes);
            let checked = operation.check(&WORLD.network.limits);
            let name = match operation {
                Operation::Put { .. } => "put",
                Operation::Delete { .. } => "delete",
                Operation::HandOver { .. } => "hand over",
                Operation::Pay { .. } => "pay",
            };
            let good = if checked.is_ok() { "good" } else { "bad" };
            format!("{name} {good}")
        }
        Err(error) => format!("operation {error:?}"),
    }
}
