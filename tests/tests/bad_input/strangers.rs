//! Connections to the peer port that never become peers.

use std::io::Write;
use std::time::Duration;

use chain::params::Network;
use net::Identity;
use net::wire::Role;
use net::wire::noise::Handshake;
use tests::node::{Setup, now};

use super::rogue::{assert_closed, connect};
use super::support::{
    PROGRAM, assert_well_among_peers, free_network, start_talkative, wait_for_log,
};

#[test]
fn whoever_does_not_shake_hands_is_disconnected() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start_talkative(temp.path(), "dev");
    let zeros = [0; 1000];
    for bytes in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &zeros, &[0xff; 65_537]] {
        let mut stream = connect(&node);
        stream.write_all(bytes).ok(); // the node may have closed before it has all
        assert_closed(stream);
    }
    let http = u16::from_le_bytes(*b"GE");
    for length in [http, 0, u16::MAX] {
        let why = format!("not a Graven handshake: message length {length}, expected 32");
        wait_for_log(&node, &why);
    }
    assert_well_among_peers(&mut node);
}

#[test]
fn a_handshake_that_goes_wrong_in_its_last_message_is_none() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start_talkative(temp.path(), "dev");
    let mut stream = connect(&node);
    let genesis = Network::dev().genesis_hash();
    let mut handshake = Handshake::new(Role::Initiator, &Identity::from_secret([9; 32]), &genesis);
    let mut out = Vec::new();
    handshake.write(&mut out);
    stream.write_all(&out).unwrap();
    stream.write_all(&[&64_u16.to_le_bytes()[..], &[0x55; 64]].concat()).unwrap();
    assert_closed(stream);
    wait_for_log(&node, "handshake does not decrypt");
    assert_well_among_peers(&mut node);
}

#[test]
fn who_says_nothing_is_disconnected_after_ten_seconds() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start_talkative(temp.path(), "dev");
    let (silent, started) = (connect(&node), now());
    let mut slow = connect(&node);
    slow.write_all(&32_u16.to_le_bytes()).unwrap();
    assert_closed(silent);
    let took = started.elapsed();
    assert!((9..30).contains(&took.as_secs()), "disconnected after {took:?}");
    assert_closed(slow);
    assert!(started.elapsed() < took + Duration::from_secs(15), "half a handshake helps");
    wait_for_log(&node, "no handshake in time");
    assert_well_among_peers(&mut node);
}

#[test]
fn nodes_of_different_networks_do_not_connect_and_say_why() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start_talkative(temp.path(), "dev");
    let mut setup = Setup::new(PROGRAM, temp.path().join("other"));
    setup.network = free_network(temp.path()).1.display().to_string();
    setup.peers = vec![node.peers];
    let other = setup.start();
    // Whoever dials is told by its log as it is for everybody.
    wait_for_log(&other, "handshake does not decrypt: another network");
    // Both ways fail alike, and again.
    node.ask(&format!("ADDPEER {}", other.peers)).unwrap();
    wait_for_log(&node, &format!("address={} direction=Outbound", other.peers));
    for node in [&node, &other] {
        assert_eq!(node.status()["peers"], 0);
    }
    assert_well_among_peers(&mut node);
}
