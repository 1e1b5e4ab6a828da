//! Many connections at once, and peers that want too much.

use std::io::{Read, Write};
use std::net::TcpStream;

use chain::header::Header;

use super::peers::Peer;
use super::*;
use crate::protocol::Served;
use crate::wire::Message;

fn silent(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let node = Setup::new(1).start();
    let mut crowd: Vec<TcpStream> = (0..300).map(|_| silent(node.address)).collect();
    let _peer = Peer::ready(node.address, 2);
    node.wait_ready(1);
    // Whoever waited longest gave way, long before the time for a handshake was over.
    assert_eq!(crowd[0].read(&mut [0; 1]).unwrap(), 0);
    crowd[299].set_nonblocking(true).unwrap();
    let error = crowd[299].read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the last are still there");
}

#[test]
fn a_peer_that_asks_too_much_waits_and_nobody_else_does() {
    let node = Setup::new(1).start();
    let (mut greedy, mut modest) = (Peer::ready(node.address, 2), Peer::ready(node.address, 3));
    node.wait_ready(2);
    for _ in 0..400 {
        greedy.send(&Message::GetHeaders { locator: vec![Hash::ZERO] });
    }
    greedy.send(&Message::Ping(1));
    modest.send(&Message::Ping(2));
    modest.wait_for(|message| *message == Message::Pong(2));
    // 400 questions are more than a second's worth. Then it is read again.
    greedy.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    greedy.assert_silent();
    greedy.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    greedy.wait_for(|message| *message == Message::Pong(1));
}

#[test]
fn whoever_holds_most_memory_for_longest_goes_when_there_is_too_much() {
    let node = Setup::new(1).start();
    let mut hoarders: Vec<Peer> = (0..18).map(|n| Peer::ready(node.address, 10 + n)).collect();
    node.wait_ready(18);
    // A block of four MiB, of which the last byte does not come.
    let length: u32 = 4 * 1024 * 1024;
    let part = [&length.to_le_bytes()[..], &[7], &vec![0; length as usize - 1]].concat();
    for peer in &mut hoarders {
        peer.session.send_raw(&part);
        peer.flush();
    }
    hoarders[0].wait_closed();
    assert!(!node.wait_ready(16).iter().any(|info| info.node_id == identity(10).node_id()));
}

#[test]
fn a_peer_that_reads_nothing_of_what_it_asked_for_is_dropped() {
    let node = Setup { stall_ms: 200, ..Setup::new(1) }.start();
    let mut peer = Peer::ready(node.address, 2);
    node.wait_ready(1);
    peer.send(&Message::GetBlocks { hashes: vec![Hash([5; 32]); 16] });
    while let Ok(Work::ServeBlock { to, hash }) = node.works.recv_timeout(Duration::from_secs(2)) {
        // More than the buffers of any system take.
        let bytes = Some(vec![7; 4 * 1024 * 1024]);
        node.input(Input::Served { peer: to, served: Served::Block { hash, bytes } });
    }
    node.wait_ready(0);
}

#[test]
fn a_node_that_dials_itself_is_none_of_its_peers() {
    let own = std::net::TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let node = Setup { listen: own, peers: vec![own], ..Setup::new(1) }.start();
    // It dials before it looks at its door for the first time.
    let _peer = Peer::ready(node.address, 2);
    loop {
        let list = node.peers.recv_timeout(PATIENCE).expect("the other one becomes a peer");
        assert!(list.iter().all(|info| info.node_id != identity(1).node_id()), "{list:?}");
        if list.iter().any(|info| info.state == PeerState::Ready) {
            break;
        }
    }
}

#[test]
fn a_second_connection_of_the_same_node_is_closed() {
    let node = Setup::new(1).start();
    let mut first = Peer::ready(node.address, 2);
    node.wait_ready(1);
    let mut second = Peer::dial(node.address, 2, GENESIS);
    second.wait_closed();
    first.send(&Message::Ping(9));
    first.wait_for(|message| *message == Message::Pong(9));
}

#[test]
fn keys_are_touched_only_after_somebody_has_spoken() {
    let node = Setup { handshake_ms: 500, ..Setup::new(1) }.start();
    let mut half = silent(node.address);
    half.write_all(&[32, 0]).unwrap();
    half.write_all(&[9; 31]).unwrap();
    let mut answer = Vec::new();
    half.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "no answer to a half message");
}

#[test]
fn stale_headers_without_end_do_not_fill_the_queue() {
    let node = Setup { work_queue: 4, ..Setup::new(1) }.start();
    let mut flood = Peer::ready(node.address, 2);
    let header = |nonce| Header { nonce, ..Header::decode(&[0; 80]) };
    for nonce in 0..40 {
        flood.send(&Message::Headers(vec![header(nonce)]));
    }
    // Nobody judges them here. Of the first eight four are in the queue and hold everybody up; as
    // soon as there is room, the rest is not looked at, and others are served.
    for _ in 0..8 {
        assert!(matches!(node.works.recv_timeout(PATIENCE), Ok(Work::Headers { .. })));
    }
    let mut other = Peer::ready(node.address, 3);
    other.send(&Message::Ping(3));
    other.wait_for(|message| *message == Message::Pong(3));
    assert!(node.works.try_recv().is_err(), "a peer has eight in the queue at most");
}
