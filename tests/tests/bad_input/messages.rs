//! Peers that shake hands and then break the protocol.

use chain::Hash;
use chain::params::Network;
use net::Message;
use net::wire::Hello;

use super::rogue::Rogue;
use super::support::{assert_well_among_peers, start_talkative, wait_for_log};

/// Lets a peer misbehave; asserts that it is disconnected for this reason, and nobody else.
fn assert_dropped(why: &str, misbehave: impl FnOnce(&mut Rogue)) {
    let temp = tempfile::tempdir().expect("there is room for a test");
    let mut node = start_talkative(temp.path(), "dev");
    let mut rogue = Rogue::connect(&node, &Network::dev());
    misbehave(&mut rogue);
    rogue.assert_closed();
    wait_for_log(&node, why);
    assert_well_among_peers(&mut node);
}

/// A frame as its head says it, whatever follows.
fn frame(length: u32, tag: u8, body: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], &[tag], body].concat()
}

#[test]
fn a_message_with_an_unknown_tag() {
    assert_dropped("unknown message tag 99", |rogue| rogue.send_plain(&frame(0, 99, &[])));
}

#[test]
fn a_message_with_tag_zero() {
    assert_dropped("unknown message tag 0", |rogue| rogue.send_plain(&frame(0, 0, &[])));
}

#[test]
fn a_message_that_claims_to_be_larger_than_its_kind_may_be() {
    let why = "block message of 4294967295 bytes is above its cap";
    assert_dropped(why, |rogue| rogue.send_plain(&frame(u32::MAX, 7, &[])));
}

#[test]
fn a_message_whose_body_does_not_decode() {
    // Nine hashes are announced, and none follows.
    assert_dropped("announce-transactions message is malformed", |rogue| {
        rogue.send_plain(&frame(1, 9, &[9]));
    });
}

#[test]
fn a_message_that_is_encoded_in_another_way() {
    // A ping with the number 0 in two bytes instead of one.
    assert_dropped("ping message is", |rogue| rogue.send_plain(&frame(2, 2, &[0x80, 0x00])));
}

#[test]
fn a_packet_that_does_not_decrypt() {
    assert_dropped("packet does not decrypt", |rogue| {
        rogue.send_packets(&[&40_u16.to_le_bytes()[..], &[0x55; 40]].concat());
    });
}

#[test]
fn a_second_hello() {
    assert_dropped("broke the protocol: second hello", |rogue| {
        let (protocol, agent) = (net::PROTOCOL_VERSION, String::new());
        let hello = Hello { protocol, agent, height: 0, listen_port: None };
        rogue.send(&Message::Hello(hello));
    });
}

#[test]
fn a_block_that_nobody_asked_for() {
    assert_dropped("broke the protocol: block was not asked for", |rogue| {
        rogue.send(&Message::Block(Network::dev().genesis().encode()));
    });
}

#[test]
fn a_block_that_is_shorter_than_a_header() {
    assert_dropped("broke the protocol: block is shorter than a header", |rogue| {
        rogue.send(&Message::Block(vec![0; 79]));
    });
}

#[test]
fn a_denial_of_a_block_that_nobody_asked_for() {
    assert_dropped("broke the protocol", |rogue| {
        rogue.send(&Message::NotFound { hashes: vec![Hash([7; 32])] });
    });
}

#[test]
fn headers_that_are_no_chain() {
    assert_dropped("broke the protocol: headers are not a chain", |rogue| {
        let header = Network::dev().genesis().header;
        rogue.send(&Message::Headers(vec![header, header]));
    });
}

#[test]
fn a_transaction_nobody_asked_for() {
    assert_dropped("transaction was not asked for", |rogue| {
        rogue.send(&Message::Transactions(vec![vec![0xff; 200]]));
    });
}
