//! The encrypted channel: `Noise_XX_25519_ChaChaPoly_BLAKE2s` (Noise specification, revision 34).
//!
//! The prologue is `"graven" ‖ protocol version ‖ genesis hash`, so nodes of different networks
//! cannot shake hands. A node's static public key is its id. Handshake and transport messages
//! travel as packets: `u16 length ‖ bytes`, little-endian.

use std::fmt;

use chain::Hash;
use snow::params::{DHChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::{Builder, HandshakeState, TransportState};

use super::PROTOCOL_VERSION;

/// Bytes of the length before every packet.
pub const PACKET_HEAD_BYTES: usize = 2;
/// Longest packet, its length not counted (Noise's limit).
pub const MAX_PACKET_BYTES: usize = 65_535;
/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;
/// Most plaintext in one packet.
pub const MAX_PLAIN_BYTES: usize = MAX_PACKET_BYTES - TAG_BYTES;

/// Lengths of the three handshake messages, whose payloads are empty: `e`; `e, ee, s, es`;
/// `s, se`. Nothing else is accepted, so garbage is noticed after two bytes.
pub const HANDSHAKE_BYTES: [usize; 3] = [32, 32 + 48 + 16, 48 + 16];

/// Each direction takes a new key after this many packets, so that a key that leaks tells
/// little about the past of a long connection.
pub const REKEY_PACKETS: u64 = 1 << 16;

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE_CONTEXT: &[u8] = b"graven";

/// A node's static public key. Shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node's static key pair. Never shows its secret.
#[derive(Clone)]
pub struct Identity {
    secret: [u8; 32],
    node_id: NodeId,
}

impl Identity {
    /// Makes the key pair of a secret: any 32 random bytes.
    pub fn from_secret(secret: [u8; 32]) -> Identity {
        let mut key = DefaultResolver
            .resolve_dh(&DHChoice::Curve25519)
            .expect("the default resolver knows Curve25519");
        key.set(&secret);
        let mut public = [0; 32];
        public.copy_from_slice(key.pubkey());
        Identity { secret, node_id: NodeId(public) }
    }

    /// The public half.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.node_id).finish()
    }
}

/// Which side of a handshake we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We opened the connection and speak first.
    Initiator,
    /// We accepted it.
    Responder,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first bytes are no length that a handshake message has.
    #[error("not a Graven handshake: message length {got}, expected {expected}")]
    Length {
        /// On the wire.
        got: usize,
        /// What it must be here.
        expected: usize,
    },
    /// The keys do not agree.
    #[error("handshake does not decrypt: another network, another protocol version or garbage")]
    Decrypt,
}

/// A handshake under way: three messages in turns.
pub struct Handshake {
    state: HandshakeState,
    turn: usize,
}

impl Handshake {
    /// Starts a handshake for the network with this genesis hash. The ephemeral key is taken
    /// from the operating system's randomness.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn new(role: Role, identity: &Identity, genesis: &Hash) -> Handshake {
        let parameters: NoiseParams = PATTERN.parse().expect("the pattern is well-formed");
        let prologue = [PROLOGUE_CONTEXT, &PROTOCOL_VERSION.to_le_bytes(), &genesis.0].concat();
        let builder = Builder::new(parameters)
            .local_private_key(&identity.secret)
            .and_then(|builder| builder.prologue(&prologue))
            .expect("key and prologue are set once");
        let state = match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        };
        Handshake { state: state.expect("the pattern's parts are all there"), turn: 0 }
    }

    /// Writes the messages that are ours to send now, as packets.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        while !self.state.is_handshake_finished() && self.state.is_my_turn() {
            let mut message = [0; HANDSHAKE_BYTES[1]];
            let written = self
                .state
                .write_message(&[], &mut message)
                .expect("the buffer holds the longest message and randomness is there");
            put_packet(&message[..written], out);
            self.turn += 1;
        }
    }

    /// Length of the message that must come next.
    pub fn expected_bytes(&self) -> usize {
        HANDSHAKE_BYTES[self.turn.min(HANDSHAKE_BYTES.len() - 1)]
    }

    /// Reads the other side's next message, without its length.
    ///
    /// # Errors
    /// When it does not belong to this handshake.
    pub fn read(&mut self, message: &[u8]) -> Result<(), HandshakeError> {
        let mut payload = [0; HANDSHAKE_BYTES[1]];
        self.state.read_message(message, &mut payload).map_err(|_| HandshakeError::Decrypt)?;
        self.turn += 1;
        Ok(())
    }

    /// Whether all three messages have passed.
    pub fn is_finished(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// The channel and whom it leads to.
    ///
    /// # Errors
    /// When the handshake is not finished.
    pub fn into_transport(self) -> Result<(Transport, NodeId), HandshakeError> {
        let remote = self.state.get_remote_static().and_then(|key| key.try_into().ok());
        let remote = NodeId(remote.ok_or(HandshakeError::Decrypt)?);
        let state = self.state.into_transport_mode().map_err(|_| HandshakeError::Decrypt)?;
        Ok((Transport { state }, remote))
    }
}

/// An established channel.
pub struct Transport {
    state: TransportState,
}

/// A packet was cut, changed, repeated or is of another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet does not decrypt")]
pub struct PacketError;

impl Transport {
    /// Encrypts `plain` and appends it to `out` as packets.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        for part in plain.chunks(MAX_PLAIN_BYTES) {
            let length = part.len() + TAG_BYTES;
            out.extend(packet_head(length));
            let start = out.len();
            out.resize(start + length, 0);
            self.state
                .write_message(part, &mut out[start..])
                .expect("parts are within Noise's limit and nonces do not run out");
            if self.state.sending_nonce().is_multiple_of(REKEY_PACKETS) {
                self.state.rekey_outgoing();
            }
        }
    }

    /// Decrypts one packet, without its length, into `plain`, whose content it replaces.
    ///
    /// # Errors
    /// When it does not decrypt.
    pub fn open(&mut self, packet: &[u8], plain: &mut Vec<u8>) -> Result<(), PacketError> {
        let length = packet.len().checked_sub(TAG_BYTES).ok_or(PacketError)?;
        plain.resize(length, 0);
        self.state.read_message(packet, plain).map_err(|_| PacketError)?;
        if self.state.receiving_nonce().is_multiple_of(REKEY_PACKETS) {
            self.state.rekey_incoming();
        }
        Ok(())
    }
}

fn put_packet(message: &[u8], out: &mut Vec<u8>) {
    out.extend(packet_head(message.len()));
    out.extend(message);
}

fn packet_head(length: usize) -> [u8; PACKET_HEAD_BYTES] {
    u16::try_from(length).expect("packets are within Noise's limit").to_le_bytes()
}

#[cfg(test)]
mod tests;
