use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::*;
use crate::protocol::{Reason, Served};
use crate::wire::{Hello, Message, PROTOCOL_VERSION, Role, Session, SessionEvent};
use chain::header::Header;

/// A peer made by hand, on a blocking socket.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) session: Session,
}

impl Peer {
    pub(super) fn dial(address: SocketAddr, seed: u8, genesis: Hash) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = Session::new(Role::Initiator, &identity(seed), &genesis);
        Peer { stream, session }
    }

    /// A peer that has shaken hands and said hello.
    pub(super) fn ready(address: SocketAddr, seed: u8) -> Peer {
        let mut peer = Peer::dial(address, seed, GENESIS);
        assert!(matches!(peer.next(), Some(SessionEvent::Established(_))));
        let agent = "test".to_string();
        let (protocol, height) = (PROTOCOL_VERSION, 0);
        peer.send(&Message::Hello(Hello { protocol, agent, height, listen_port: None }));
        peer
    }

    pub(super) fn send(&mut self, message: &Message) {
        self.session.send(message);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        // The other side may have closed already, which the test will see when it reads.
        let _ = self.stream.write_all(self.session.output());
        self.session.sent(self.session.output().len());
    }

    /// The next event; `None` at the end of the connection.
    pub(super) fn next(&mut self) -> Option<SessionEvent> {
        let mut buffer = [0; 4096];
        loop {
            self.flush();
            if let Some(event) = self.session.next_event().ok()? {
                return Some(event);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.session.receive(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads until the message comes that is looked for.
    pub(super) fn wait_for(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let event = self.next().expect("the connection is open");
            if let SessionEvent::Message(message) = event
                && wanted(&message)
            {
                return message;
            }
        }
    }

    /// Reads what has come, which must not be an answer to a ping.
    pub(super) fn assert_silent(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            while let Some(event) = self.session.next_event().unwrap() {
                assert!(!matches!(event, SessionEvent::Message(Message::Pong(_))), "answered");
            }
            match self.stream.read(&mut buffer) {
                Ok(count) => self.session.receive(&buffer[..count]),
                Err(error) => return assert_ne!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
    }

    /// Reads until the other side has closed the connection.
    pub(super) fn wait_closed(&mut self) {
        while self.next().is_some() {}
    }
}

#[test]
fn two_nodes_meet_and_exchange_hello() {
    let a = Setup::new(1).start();
    let b = Setup { peers: vec![a.address], ..Setup::new(2) }.start();
    let (seen_by_a, seen_by_b) = (a.wait_ready(1), b.wait_ready(1));
    assert_eq!(seen_by_a[0].node_id, identity(2).node_id());
    assert_eq!(seen_by_b[0].node_id, identity(1).node_id());
    assert_eq!(seen_by_b[0].address, a.address);
    assert!(seen_by_a[0].agent.starts_with("graven/"));
}

#[test]
fn a_node_that_comes_late_is_found() {
    // Nobody listens at first.
    let address = std::net::TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let b = Setup { peers: vec![address], ..Setup::new(2) }.start();
    let a = Setup { listen: address, ..Setup::new(1) }.start();
    b.wait_ready(1);
    a.wait_ready(1);
}

#[test]
fn requests_reach_the_pipeline_and_answers_the_peer() {
    let node = Setup::new(1).start();
    let mut peer = Peer::ready(node.address, 2);
    let hash = Hash([5; 32]);
    peer.send(&Message::GetBlocks { hashes: vec![hash] });
    let Work::ServeBlock { to, .. } = node.works.recv_timeout(PATIENCE).unwrap() else {
        panic!("a request for a block")
    };
    // Larger than any socket buffer, so that it is written in many parts.
    let bytes = Some(vec![7; 4 * 1024 * 1024]);
    node.input(Input::Served { peer: to, served: Served::Block { hash, bytes } });
    let block = peer.wait_for(|message| matches!(message, Message::Block(_)));
    assert_eq!(block, Message::Block(vec![7; 4 * 1024 * 1024]));
}

#[test]
fn nothing_is_lost_while_the_pipeline_is_full() {
    let node = Setup { work_queue: 1, ..Setup::new(1) }.start();
    let mut peer = Peer::ready(node.address, 2);
    let header = |nonce| Header { nonce, ..Header::decode(&[0; 80]) };
    for nonce in 0..8 {
        peer.send(&Message::Headers(vec![header(nonce)]));
    }
    for nonce in 0..8 {
        let Work::Headers { headers, .. } = node.works.recv_timeout(PATIENCE).unwrap() else {
            panic!("headers")
        };
        assert_eq!(headers, [header(nonce)]);
    }
}

#[test]
fn peers_are_not_late_while_they_are_not_read() {
    let mut setup = Setup { work_queue: 1, ..Setup::new(1) };
    setup.timing.pong_ms = 50;
    let node = setup.start();
    let mut peer = Peer::ready(node.address, 2);
    for nonce in 0..3 {
        peer.send(&Message::Headers(vec![Header { nonce, ..Header::decode(&[0; 80]) }]));
    }
    let ping = peer.wait_for(|message| matches!(message, Message::Ping(_)));
    // The pipeline is full, so the pong stays unread for several times the limit: the
    // connection must be open after that.
    let Message::Ping(nonce) = ping else { panic!("waited for it") };
    peer.send(&Message::Pong(nonce));
    peer.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = peer.stream.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    peer.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        node.works.recv_timeout(PATIENCE).unwrap();
    }
    peer.send(&Message::Ping(7));
    peer.wait_for(|message| *message == Message::Pong(7));
}

#[test]
fn another_network_is_refused() {
    let node = Setup::new(1).start();
    let mut peer = Peer::dial(node.address, 2, Hash([9; 32]));
    assert_eq!(peer.next(), None);
    // And the node goes on.
    let _good = Peer::ready(node.address, 3);
    node.wait_ready(1);
}

#[test]
fn handshake_garbage_is_cut_off() {
    let node = Setup::new(1).start();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[255; 100_000]] {
        let mut peer = Peer::dial(node.address, 2, GENESIS);
        // The node may close before all is written.
        let _ = peer.stream.write_all(garbage);
        peer.session = Session::new(Role::Responder, &identity(2), &GENESIS);
        peer.wait_closed();
    }
    // A message of the right length with garbage in it is answered, the next one is not.
    let mut peer = Peer::dial(node.address, 2, GENESIS);
    peer.stream.write_all(&[&[32, 0][..], &[1; 32], &[64, 0], &[1; 64]].concat()).unwrap();
    peer.session = Session::new(Role::Responder, &identity(2), &GENESIS);
    peer.wait_closed();
}

#[test]
fn a_connection_that_says_nothing_is_cut_off() {
    let node = Setup { handshake_ms: 50, ..Setup::new(1) }.start();
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind(any_port()).unwrap();
    let peers = vec![silent.local_addr().unwrap()];
    let _node = Setup { peers, handshake_ms: 50, ..Setup::new(1) }.start();
    // The node gives up the first connection and opens another.
    let (mut first, _) = silent.accept().unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = Vec::new();
    first.read_to_end(&mut hello).unwrap();
    assert_eq!(hello.len(), 2 + 32);
    silent.accept().unwrap();
}

/// Sends bytes in a frame-like shape after the handshake; they must end the connection.
fn is_cut_off_after(plain: &[u8]) {
    let node = Setup::new(1).start();
    let mut peer = Peer::ready(node.address, 2);
    node.wait_ready(1);
    peer.session.send_raw(plain);
    peer.flush();
    peer.wait_closed();
    node.wait_ready(0);
}

#[test]
fn an_unknown_message_is_cut_off() {
    is_cut_off_after(&[0, 0, 0, 0, 99]);
}

#[test]
fn an_oversized_message_is_cut_off_by_its_head() {
    is_cut_off_after(&[0xff, 0xff, 0xff, 0x7f, 7]);
}

#[test]
fn a_malformed_message_is_cut_off() {
    is_cut_off_after(&[3, 0, 0, 0, 4, 1, 2, 3]);
}

#[test]
fn a_bad_packet_is_cut_off() {
    let node = Setup::new(1).start();
    let mut peer = Peer::ready(node.address, 2);
    node.wait_ready(1);
    peer.stream.write_all(&[&[20, 0][..], &[0; 20]].concat()).unwrap();
    peer.wait_closed();
}

#[test]
fn an_unrequested_block_is_cut_off() {
    let node = Setup::new(1).start();
    let mut peer = Peer::ready(node.address, 2);
    peer.send(&Message::Block(vec![0; 200]));
    peer.wait_closed();
    let block = node.works.try_iter().find(|work| matches!(work, Work::Block { .. }));
    assert_eq!(block, None, "the block went nowhere");
}

#[test]
fn a_fault_found_behind_the_reactor_ends_the_connection() {
    let node = Setup::new(1).start();
    let mut peer = Peer::ready(node.address, 2);
    let id = node.wait_ready(1)[0].id;
    node.input(Input::BadPayload { peer: id, what: "merkle root".to_string() });
    peer.wait_closed();
}

#[test]
fn a_peer_that_leaves_is_forgotten() {
    let node = Setup::new(1).start();
    let peer = Peer::ready(node.address, 2);
    node.wait_ready(1);
    drop(peer);
    assert!(node.wait_ready(0).is_empty());
    assert!(!Reason::Closed.is_violation());
}

#[test]
fn a_stopping_node_saves_its_book() {
    let mut node = Setup::new(1).start();
    node.stop();
    let book = node.books.try_iter().last().expect("a book");
    assert_eq!(AddressBook::decode(&book), Ok(AddressBook::default()));
}
