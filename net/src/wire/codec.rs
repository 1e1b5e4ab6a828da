//! Frames: `u32 length of the body ‖ tag ‖ body`, little-endian, one after the other.
//!
//! Promises bounded memory: what a frame claims to be is checked when its first five bytes are
//! there, and the body's buffer grows with the bytes that really arrive.

use super::message::{Kind, Message, kind_of};

/// Bytes before a body: its length and the tag.
pub const FRAME_HEAD_BYTES: usize = 5;

/// Memory set aside for a body before its bytes arrive.
const FIRST_ALLOCATION_BYTES: usize = 4 * 1024;

/// Why bytes are not a frame. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No message has this tag.
    #[error("unknown message tag {0}")]
    UnknownTag(u8),
    /// Longer than its kind allows.
    #[error("{name} message of {got} bytes is above its cap")]
    TooLong {
        /// Kind of message.
        name: &'static str,
        /// Length of the body, in bytes.
        got: usize,
    },
    /// The body does not decode.
    #[error("{0} message is malformed")]
    Malformed(&'static str),
    /// The body decodes, but would be encoded otherwise.
    #[error("{0} message is not in its canonical form")]
    NotCanonical(&'static str),
}

/// Encodes a message with its frame.
///
/// # Panics
/// When the message is above its cap, which its maker must prevent.
pub fn encode(message: &Message) -> Vec<u8> {
    let kind = message.kind();
    let mut out = vec![0; FRAME_HEAD_BYTES];
    message.encode_body(&mut out);
    let length = out.len() - FRAME_HEAD_BYTES;
    assert!(length <= kind.max_bytes, "{} message of {length} bytes was made", kind.name);
    let length = u32::try_from(length).expect("every cap is below 2^32");
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4] = kind.tag;
    out
}

/// Takes a stream of frames apart, however it is cut.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    head: Vec<u8>,
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    kind: &'static Kind,
    length: usize,
    body: Vec<u8>,
}

impl FrameDecoder {
    /// Takes bytes off the front of `input` until a message is complete or the input is used up.
    ///
    /// # Errors
    /// When the bytes are no frame. The decoder is of no use after that.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Message>, FrameError> {
        if self.frame.is_none() {
            move_bytes(input, &mut self.head, FRAME_HEAD_BYTES);
            if self.head.len() < FRAME_HEAD_BYTES {
                return Ok(None);
            }
            self.frame = Some(parse_head(&self.head)?);
            self.head.clear();
        }
        let frame = self.frame.as_mut().expect("set above");
        move_bytes(input, &mut frame.body, frame.length);
        if frame.body.len() < frame.length {
            return Ok(None);
        }
        let frame = self.frame.take().expect("set above");
        Message::decode_body(frame.kind, frame.body).map(Some)
    }
}

impl FrameDecoder {
    /// Bytes of a message whose rest has not come.
    pub fn held_bytes(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.body.len())
    }
}

fn parse_head(head: &[u8]) -> Result<Frame, FrameError> {
    let length = u32::from_le_bytes(head[..4].try_into().expect("five bytes are there"));
    let length = usize::try_from(length).expect("usize has at least 32 bits");
    let kind = kind_of(head[4]).ok_or(FrameError::UnknownTag(head[4]))?;
    if length > kind.max_bytes {
        return Err(FrameError::TooLong { name: kind.name, got: length });
    }
    Ok(Frame { kind, length, body: Vec::with_capacity(length.min(FIRST_ALLOCATION_BYTES)) })
}

/// Moves bytes until `to` has `length` of them.
fn move_bytes(from: &mut &[u8], to: &mut Vec<u8>, length: usize) {
    let (taken, rest) = from.split_at(from.len().min(length - to.len()));
    to.extend(taken);
    *from = rest;
}

#[cfg(test)]
mod tests;
