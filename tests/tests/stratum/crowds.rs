//! More miners than there is room for, and miners that do not read.

use std::time::Duration;

use serde_json::json;
use tests::node::wait_until;

use super::rig::{Free, Rig, start};

/// Miners that a node takes at a time.
const MAX_MINERS: usize = 512;

/// Those beyond may get an answer, or a closed door when too many of them knock.
#[test]
fn a_thousand_connections_leave_the_others_mining() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut good = Rig::connect(&node);
    let mut job = good.log_in("good");
    let mut crowd: Vec<Rig> = (0..1000).map(|_| Rig::connect(&node)).collect();
    let (mut served, mut refused) = (0, 0);
    for rig in &mut crowd {
        rig.try_send(b"{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": []}\n");
        match rig.line() {
            Some(line) if line["result"].is_array() => served += 1,
            Some(line) => {
                assert_eq!(line["error"][0], 20, "{line}");
                refused += 1;
            }
            None => refused += 1,
        }
    }
    assert_eq!((served, refused), (MAX_MINERS - 1, 1000 - (MAX_MINERS - 1)));
    for height in 1..=5u8 {
        let free = Free { extranonce2: [height, 0, 0, 0], time: job.time, rolled: 0 };
        let (nonce, _) = good.search(&job, free, true);
        let words = json!([
            "good",
            job.id,
            format!("{height:02x}000000"),
            format!("{:08x}", job.time),
            format!("{nonce:08x}")
        ]);
        let reply = good.ask(&json!({"id": 4, "method": "mining.submit", "params": words}));
        assert_eq!(reply["result"], true, "{reply}");
        job = good.next_job();
    }
    // Miners have the next job before the block is on disk.
    wait_until("the fifth block", || node.status()["height"] == 5);
    drop(crowd);
    wait_until("room for the next", || {
        let mut rig = Rig::connect(&node);
        rig.try_send(b"{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": []}\n");
        rig.line().is_some_and(|line| line["result"].is_array())
    });
    assert!(node.is_running());
}

/// Asks for ever more and reads nothing: what waits for it is bounded, and others go on.
#[test]
fn a_miner_that_never_reads_is_held_back() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let mut deaf = std::net::TcpStream::connect(node.stratum.unwrap()).unwrap();
    deaf.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let lines = b"{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(1000);
    let mut sent = 0;
    while sent < 64 * 1024 * 1024 {
        match std::io::Write::write(&mut deaf, &lines) {
            Ok(count) => sent += count,
            Err(_) => break, // it is held back
        }
    }
    assert!(sent < 16 * 1024 * 1024, "the node took {sent} bytes of pings");
    let mut good = Rig::connect(&node);
    let job = good.log_in("good");
    let free = Free { extranonce2: [0; 4], time: job.time, rolled: 0 };
    let (nonce, _) = good.search(&job, free, true);
    let words =
        json!(["good", job.id, "00000000", format!("{:08x}", job.time), format!("{nonce:08x}")]);
    let reply = good.ask(&json!({"id": 4, "method": "mining.submit", "params": words}));
    assert_eq!(reply["result"], true, "{reply}");
    assert!(node.is_running());
}
