//! A peer that shakes hands as it should, and then says what the test wants it to.

use std::io::{Read, Write};
use std::net::TcpStream;

use chain::Hash;
use chain::params::Network;
use net::wire::codec::encode;
use net::wire::noise::{Handshake, Transport};
use net::wire::{FrameDecoder, Hello, Role};
use net::{Identity, Message, PROTOCOL_VERSION};
use tests::node::{Node, PATIENCE};

/// A connection to a node's peer port, after handshake and hello.
pub(super) struct Rogue {
    stream: TcpStream,
    transport: Transport,
    decoder: FrameDecoder,
    /// Decrypted and not decoded yet.
    plain: Vec<u8>,
}

/// A bare connection to a node's peer port.
pub(super) fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.peers).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    stream
}

/// Reads until the node closes the connection.
pub(super) fn assert_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(reset, "the node keeps the connection: {error}");
    }
}

impl Rogue {
    /// Shakes hands, and exchanges hellos in which it claims to have one block.
    pub(super) fn connect(node: &Node, network: &Network) -> Rogue {
        let mut stream = connect(node);
        let identity = Identity::from_secret([66; 32]);
        let mut handshake = Handshake::new(Role::Initiator, &identity, &network.genesis_hash());
        let mut out = Vec::new();
        handshake.write(&mut out);
        stream.write_all(&out).expect("the node listens");
        let answer = read_packet(&mut stream).expect("the node shakes hands");
        handshake.read(&answer).expect("the node is of this network");
        out.clear();
        handshake.write(&mut out);
        stream.write_all(&out).expect("the node listens");
        let (transport, _) = handshake.into_transport().expect("all three messages have passed");
        let (decoder, plain) = (FrameDecoder::default(), Vec::new());
        let mut rogue = Rogue { stream, transport, decoder, plain };
        rogue.send(&Message::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            agent: "rogue".to_string(),
            height: 1,
            listen_port: None,
        }));
        rogue.wait_for("its hello", |message| matches!(message, Message::Hello(_)).then_some(()));
        rogue
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &Message) {
        self.send_plain(&encode(message));
    }

    /// Sends bytes that need be no message, encrypted.
    pub(super) fn send_plain(&mut self, plain: &[u8]) {
        let mut out = Vec::new();
        self.transport.seal(plain, &mut out);
        self.send_packets(&out);
    }

    /// Sends bytes that need be no packets, as they are.
    pub(super) fn send_packets(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the node keeps the connection until now");
    }

    /// Reads messages until one has what is wanted.
    pub(super) fn wait_for<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&Message) -> Option<T>,
    ) -> T {
        loop {
            let message = self.receive();
            let message = message.unwrap_or_else(|| panic!("closed before {what}"));
            if let Some(found) = pick(&message) {
                return found;
            }
        }
    }

    /// Waits until the node asks for a block.
    pub(super) fn wait_until_asked_for(&mut self, wanted: Hash) {
        self.wait_for("being asked for the block", |message| match message {
            Message::GetBlocks { hashes } => hashes.contains(&wanted).then_some(()),
            _ => None,
        });
    }

    /// Reads until the node closes the connection.
    pub(super) fn assert_closed(self) {
        assert_closed(self.stream);
    }

    fn receive(&mut self) -> Option<Message> {
        loop {
            let mut rest = &self.plain[..];
            let message = self.decoder.take(&mut rest).expect("nodes send frames");
            self.plain = rest.to_vec();
            if message.is_some() {
                return message;
            }
            let packet = read_packet(&mut self.stream)?;
            self.transport.open(&packet, &mut self.plain).expect("nodes send whole packets");
        }
    }
}

/// Reads a packet without its length; `None` at the end.
fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut packet = vec![0; usize::from(u16::from_le_bytes(length))];
    stream.read_exact(&mut packet).ok()?;
    Some(packet)
}
