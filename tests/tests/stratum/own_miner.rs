//! Our own miner at our own node.

use std::collections::BTreeMap;

use chain::CompactTarget;
use serde_json::Value;
use tests::chains::account;
use tests::miner::Miner;
use tests::node::wait_until;

use super::rig::{PROGRAM, start_at};

const BLOCKS: u64 = 50;

/// A block takes 2^18 hashes: dozens of milliseconds.
const BITS: CompactTarget = CompactTarget(0x1e3f_ffff);

/// What a block pays on these networks, and what is spendable at once.
const REWARD: u64 = 50 * 100_000_000;

fn total(last: &Value, name: &str) -> u64 {
    last[name].as_u64().unwrap_or_else(|| panic!("no {name} in {last}"))
}

#[test]
fn two_miners_make_fifty_blocks_and_each_is_paid() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start_at(temp.path(), BITS);
    let users = [account(1).to_string(), account(2).to_string()];
    let port = node.stratum.unwrap();
    let miners = [0, 1].map(|number| {
        let events = temp.path().join(format!("miner{number}"));
        let user = format!("{}.rig{number}", users[number]);
        Miner::start(PROGRAM, &events, port, &user)
    });
    let height = || node.status()["height"].as_u64().unwrap();
    let coins = |user: &String| {
        let answer = node.ask(&format!("BALANCE {user}")).unwrap();
        answer["balance"].as_u64().unwrap()
    };
    wait_until("fifty blocks of both miners", || {
        height() >= BLOCKS && users.iter().all(|user| coins(user) > 0)
    });
    let last = miners.map(Miner::terminate);
    for last in &last {
        assert_eq!(
            total(last, "rejected"),
            0,
            "only a share that comes too late is refused: {last}"
        );
        assert!(total(last, "accepted") > 0, "{last}");
    }
    // What the miners hold for accepted, the node has counted, and every block is theirs.
    let height = height();
    let mut blocks: BTreeMap<String, u64> = BTreeMap::new();
    for number in 1..=height {
        let block = node.ask(&format!("BLOCK {number}")).unwrap();
        *blocks.entry(block["payee"].as_str().unwrap().to_string()).or_default() += 1;
    }
    assert_eq!(blocks.values().sum::<u64>(), height);
    for user in &users {
        assert_eq!(coins(user), blocks[user] * REWARD);
    }
    let counted = node.ask("MINERS").unwrap();
    for (user, last) in users.iter().zip(&last) {
        let is_of = |miner: &&Value| miner["payee"] == *user;
        let miner = counted.as_array().unwrap().iter().find(is_of).unwrap();
        assert!(total(miner, "accepted") >= total(last, "accepted"), "{miner} {last}");
        let wrong = total(miner, "low") + total(miner, "duplicate") + total(miner, "invalid");
        assert_eq!(wrong, 0, "{miner}");
    }
    assert!(node.is_running());
}
