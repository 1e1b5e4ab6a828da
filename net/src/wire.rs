//! Bytes on the wire: messages, frames and the encrypted channel that carries them.
//!
//! Nothing here does IO or keeps time. A [`Session`] is one connection's state: bytes go in and
//! come out, and in between stand a Noise handshake ([`noise`]) and a stream of [`Message`]s in
//! frames ([`codec`]). Every length read from outside is checked against a cap before memory is
//! set aside for it. The formats are written down in docs/protocol.md.

pub mod codec;
pub mod compact;
pub mod message;
pub mod noise;
mod session;

pub use codec::{FrameDecoder, FrameError};
pub use compact::{CompactBlock, ShortId, ShortIds};
pub use message::{Hello, KnownAddress, Message};
pub use noise::{HandshakeError, Identity, NodeId, Role};
pub use session::{Session, SessionEvent, WireError};

/// The version this program speaks. Nodes of different versions cannot shake hands, because the
/// version is part of the handshake's prologue. Version 2 brought blocks in compact form.
pub const PROTOCOL_VERSION: u16 = 2;

/// The newest version this program speaks, as its hello says. Version 3 brought
/// [`Message::BodiesFrom`], which is for those alone who speak it, so its prologue is version 2's.
pub const NEWEST_VERSION: u16 = 3;
