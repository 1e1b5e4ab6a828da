//! `graven mine --stratum` as a process, at a pool that checks every share by itself.

mod stratum_client {
    pub(crate) mod pool;
}

use serde_json::{Value, json};
use stratum_client::pool::{Job, Pool};
use tests::node::wait_until;

/// The bits that BIP 320 gives to miners.
const MASK: u32 = 0x1fff_e000;

fn is_accepted(event: &Value) -> bool {
    event["event"] == "share" && event["accepted"] == true
}

fn is(name: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

#[test]
fn shares_are_right_with_extranonces_of_any_size_with_rolling_and_without() {
    for mask in [Some(MASK), None] {
        for extranonce_2_bytes in [2, 4, 8, 12] {
            let pool = Pool::new();
            let miner = pool.start_miner();
            let mut connection = pool.accept();
            connection.greet(mask, extranonce_2_bytes);
            connection.notify(&Job::new("1a", 3));
            connection.take_shares(20);
            miner.wait_for("accepted shares", 20, is_accepted);
            let last = miner.terminate();
            assert!(last["accepted"].as_u64() >= Some(20), "{last}");
            assert_eq!((&last["rejected"], &last["stale"]), (&json!(0), &json!(0)), "{last}");
        }
    }
}

#[test]
fn a_new_extranonce_and_a_new_job_are_taken_on_a_running_connection() {
    let pool = Pool::new();
    let miner = pool.start_miner();
    let mut connection = pool.accept();
    connection.greet(Some(MASK), 4);
    connection.notify(&Job::new("1", 1));
    connection.take_shares(5);
    connection.set_extranonce(&[0xaa; 5], 3);
    connection.notify(&Job::new("2", 2));
    connection.take_shares(5);
    connection.set_extranonce(&[], 1);
    connection.notify(&Job::new("3", 0));
    connection.take_shares(5);
    miner.wait_for("accepted shares", 15, is_accepted);
    miner.terminate();
}

#[test]
fn a_pool_that_hangs_up_is_connected_to_again() {
    let pool = Pool::new();
    let miner = pool.start_miner();
    for round in 1..=2 {
        let mut connection = pool.accept();
        connection.greet(Some(MASK), 4);
        connection.notify(&Job::new("1a", 3));
        connection.take_shares(5);
        miner.wait_for("accepted shares", 5 * round, is_accepted);
        drop(connection);
        miner.wait_for("the loss being told", round, is("disconnected"));
    }
    let mut connection = pool.accept();
    connection.greet(None, 2);
    connection.notify(&Job::new("1a", 3));
    connection.take_shares(5);
    miner.wait_for("accepted shares", 15, is_accepted);
    miner.terminate();
}

#[test]
fn a_miner_whose_job_is_stale_rests_until_the_next() {
    let pool = Pool::new();
    let miner = pool.start_miner();
    let mut connection = pool.accept();
    connection.greet(Some(MASK), 4);
    connection.notify(&Job::new("1", 1));
    let share = connection.next_share();
    connection.refuse_as_stale(&share);
    connection.ping();
    miner.wait_for("the job being gone", 1, |event| {
        event["event"] == "job" && event["job"].is_null()
    });
    wait_until("nothing being tried", || {
        let events = miner.events();
        let mut tried = events.iter().filter(|event| is("status")(event)).map(|e| &e["hashes"]);
        let last = tried.next_back();
        last.is_some() && last == tried.next_back()
    });
    connection.ping();
    connection.notify(&Job::new("2", 2));
    connection.take_shares(5);
    miner.wait_for("accepted shares", 5, is_accepted);
    let last = miner.terminate();
    assert!(last["stale"].as_u64() >= Some(1), "{last}");
}

#[test]
fn garbage_ends_a_connection_and_the_next_is_as_good_as_new() {
    let pool = Pool::new();
    let miner = pool.start_miner();
    let long = "x".repeat(70 << 10);
    let garbage = ["hello?", r#"{"method":"mining.notify","params":[1]}"#, &long];
    for (round, line) in (1..).zip(garbage) {
        let mut connection = pool.accept();
        connection.greet(Some(MASK), 4);
        connection.try_send(line).ok(); // the miner may leave before all of it is sent
        miner.wait_for("the loss being told", round, is("disconnected"));
        let told = miner.events().into_iter().rfind(is("disconnected")).expect("waited for");
        let reason = told["reason"].as_str().expect("text");
        assert!(reason.contains("breaks the protocol"), "{reason}");
    }
    let mut connection = pool.accept();
    connection.greet(Some(MASK), 4);
    connection.notify(&Job::new("1a", 3));
    connection.take_shares(5);
    miner.terminate();
}

#[test]
fn a_user_that_is_not_authorised_is_told_so() {
    let pool = Pool::new();
    let mut miner = pool.start_miner();
    let mut connection = pool.accept();
    connection.expect("mining.configure");
    let subscribe = connection.expect("mining.subscribe");
    connection.answer(&subscribe, &json!([[], "00", 4]), &Value::Null);
    let authorise = connection.expect("mining.authorize");
    connection.answer(&authorise, &json!(false), &json!([24, "no such account", null]));
    assert_eq!(miner.wait().code(), Some(1));
    let log = miner.log();
    assert!(log.contains("graven: ") && log.contains("no such account"), "{log}");
}

#[test]
fn a_miner_without_its_pool_keeps_trying_and_can_be_stopped() {
    let pool = Pool::new();
    let miner = pool.start_miner();
    drop(pool.accept());
    miner.wait_for("the loss being told", 1, is("disconnected"));
    miner.terminate();

    // One that nobody has listened to from the beginning.
    let mut pool = Pool::new();
    pool.close();
    let miner = pool.start_miner();
    miner.wait_for("failures to connect", 2, is("disconnected"));
    assert!(!miner.events().iter().any(is("connected")));
    miner.terminate();
}
