//! One connection's wire state, from the first byte to the last: handshake, then messages.

use chain::Hash;

use super::codec::{self, FrameDecoder, FrameError};
use super::message::Message;
use super::noise::{
    HANDSHAKE_BYTES, Handshake, HandshakeError, Identity, NodeId, PACKET_HEAD_BYTES, PacketError,
    Role, TAG_BYTES, Transport,
};

/// Why a connection's bytes make no sense. Always the other side's fault (or its network's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A packet after the handshake does not decrypt or carries nothing.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The decrypted bytes are no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// What a session has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The handshake is done; this is the other side.
    Established(NodeId),
    /// A message.
    Message(Message),
}

/// Turns received bytes into events and messages into bytes to send.
///
/// Memory is bounded if the caller asks for [`Session::next_event`] until there is none before it
/// gives more bytes: at most one packet, what was given last, and one message are held.
pub struct Session {
    channel: Channel,
    input: Buffer,
    output: Buffer,
    plain: Vec<u8>,
    plain_used: usize,
    decoder: FrameDecoder,
}

enum Channel {
    /// The other side speaks first. No key is touched before it has said something that can be a
    /// handshake: connections cost whoever opens them nothing, and keys cost us much.
    Expecting(Box<(Identity, Hash)>),
    Handshake(Box<Handshake>),
    Transport(Box<Transport>),
    /// An error was returned; nothing more can be read.
    Broken,
}

/// An empty buffer keeps this much memory: a few packets.
const KEPT_BYTES: usize = 128 * 1024;

/// Bytes with a read position, so that taking from the front moves nothing.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

impl Buffer {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
        if self.used == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.used = 0;
        }
    }

    /// The vector to append to, after what was used is gone.
    fn tail(&mut self) -> &mut Vec<u8> {
        if self.used > 0 && self.used >= self.bytes.len() / 2 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        &mut self.bytes
    }
}

impl Session {
    /// Starts a connection's handshake; an initiator has bytes to send at once.
    pub fn new(role: Role, identity: &Identity, genesis: &Hash) -> Session {
        let mut output = Buffer::default();
        let channel = match role {
            Role::Responder => Channel::Expecting(Box::new((identity.clone(), *genesis))),
            Role::Initiator => {
                let mut handshake = Handshake::new(role, identity, genesis);
                handshake.write(output.tail());
                Channel::Handshake(Box::new(handshake))
            }
        };
        Session {
            channel,
            input: Buffer::default(),
            output,
            plain: Vec::new(),
            plain_used: 0,
            decoder: FrameDecoder::default(),
        }
    }

    /// Takes bytes that arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.tail().extend(bytes);
    }

    /// Reads on until something has happened; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes make no sense. Nothing more can be read after that.
    pub fn next_event(&mut self) -> Result<Option<SessionEvent>, WireError> {
        let event = self.try_next();
        if event.is_err() {
            self.channel = Channel::Broken;
        }
        event
    }

    fn try_next(&mut self) -> Result<Option<SessionEvent>, WireError> {
        if matches!(self.channel, Channel::Broken) {
            return Ok(None); // what is left of the last packet means nothing now
        }
        loop {
            if let Some(message) = self.next_message()? {
                return Ok(Some(SessionEvent::Message(message)));
            }
            let Some(length) = self.packet_length()? else { return Ok(None) };
            let packet = &self.input.rest()[PACKET_HEAD_BYTES..];
            let Some(packet) = packet.get(..length) else { return Ok(None) };
            let mut established = None;
            if let Channel::Expecting(keys) = &self.channel {
                let handshake = Handshake::new(Role::Responder, &keys.0, &keys.1);
                self.channel = Channel::Handshake(Box::new(handshake));
            }
            match &mut self.channel {
                Channel::Handshake(handshake) => {
                    handshake.read(packet)?;
                    handshake.write(self.output.tail());
                    if handshake.is_finished() {
                        established = Some(self.establish()?);
                    }
                }
                Channel::Transport(transport) => {
                    transport.open(packet, &mut self.plain)?;
                    self.plain_used = 0;
                }
                Channel::Expecting(_) | Channel::Broken => return Ok(None),
            }
            self.input.advance(PACKET_HEAD_BYTES + length);
            if let Some(node_id) = established {
                return Ok(Some(SessionEvent::Established(node_id)));
            }
        }
    }

    fn establish(&mut self) -> Result<NodeId, WireError> {
        let channel = std::mem::replace(&mut self.channel, Channel::Broken);
        let Channel::Handshake(handshake) = channel else { return Err(PacketError.into()) };
        let (transport, node_id) = handshake.into_transport()?;
        self.channel = Channel::Transport(Box::new(transport));
        Ok(node_id)
    }

    fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        let mut rest = &self.plain[self.plain_used..];
        if rest.is_empty() {
            return Ok(None);
        }
        let message = self.decoder.take(&mut rest)?;
        self.plain_used = self.plain.len() - rest.len();
        Ok(message)
    }

    /// Length of the packet at the front, if its head is there; checked as soon as it is.
    fn packet_length(&self) -> Result<Option<usize>, WireError> {
        let Some(head) = self.input.rest().first_chunk::<PACKET_HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_le_bytes(*head));
        let expected = match &self.channel {
            Channel::Expecting(_) => Some(HANDSHAKE_BYTES[0]),
            Channel::Handshake(handshake) => Some(handshake.expected_bytes()),
            Channel::Transport(_) | Channel::Broken => None,
        };
        if let Some(expected) = expected.filter(|expected| length != *expected) {
            return Err(HandshakeError::Length { got: length, expected }.into());
        }
        match &self.channel {
            Channel::Transport(_) if length <= TAG_BYTES => return Err(PacketError.into()),
            Channel::Broken => return Ok(None),
            _ => {}
        }
        Ok(Some(length))
    }

    /// Encrypts a message for sending. Before the handshake is done nothing can be sent, and the
    /// message is dropped.
    pub fn send(&mut self, message: &Message) {
        if let Channel::Transport(transport) = &mut self.channel {
            transport.seal(&codec::encode(message), self.output.tail());
        }
    }

    /// Encrypts bytes that are no message, to test what the other side makes of them.
    #[cfg(test)]
    pub(crate) fn send_raw(&mut self, plain: &[u8]) {
        if let Channel::Transport(transport) = &mut self.channel {
            transport.seal(plain, self.output.tail());
        }
    }

    /// Bytes to put on the wire.
    pub fn output(&self) -> &[u8] {
        self.output.rest()
    }

    /// Bytes of memory that wait for the other side: to say the rest of something, or to read.
    pub fn held_bytes(&self) -> usize {
        self.decoder.held_bytes() + self.input.rest().len() + self.output.rest().len()
    }

    /// Notes that so many bytes of [`Session::output`] are on the wire.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn sent(&mut self, count: usize) {
        assert!(count <= self.output.rest().len(), "more sent than there was");
        self.output.advance(count);
    }
}

#[cfg(test)]
mod tests;
