//! Messages: a body is what its message encodes to, or it is refused; caps hold.

use net::Message;
use net::wire::FrameError;
use net::wire::message::{
    KINDS, MAX_ADDRESSES, MAX_AGENT_BYTES, MAX_BLOCKS_ASKED, MAX_HEADERS, MAX_LOCATOR,
    MAX_TRANSACTIONS, MAX_TXIDS,
};

use super::draw::Draw;
use super::frames::end;
use super::target::{Memory, Target};
use super::world::WORLD;

/// As for frames, once.
pub(super) const TARGET: Target =
    Target { name: "messages", samples, run, memory: Memory { per_byte: 64, fixed: 8 * 1024 } };

fn samples() -> Vec<Vec<u8>> {
    let sample = |message: &Message| {
        let mut sample = vec![message.kind().tag - 1, 0];
        message.encode_body(&mut sample);
        sample
    };
    WORLD.messages.iter().map(sample).collect()
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let kind = draw.pick(&KINDS);
    let stretch = draw.byte() == 255 && kind.max_bytes < 4096;
    let mut body = draw.rest().to_vec();
    if stretch {
        body.resize(kind.max_bytes + 1, 0);
    }
    let length = body.len();
    match Message::decode_body(kind, body.clone()) {
        Ok(message) => {
            let mut again = Vec::new();
            message.encode_body(&mut again);
            assert!(again == body && length <= kind.max_bytes && message.kind() == kind);
            assert!(is_within_caps(&message), "{message:?}");
            kind.name.to_string()
        }
        Err(error) => {
            let is_long = matches!(error, FrameError::TooLong { .. });
            assert_eq!(is_long, length > kind.max_bytes, "{error}");
            end(&error)
        }
    }
}

fn is_within_caps(message: &Message) -> bool {
    match message {
        Message::Hello(hello) => hello.agent.len() <= MAX_AGENT_BYTES,
        Message::GetHeaders { locator } => locator.len() <= MAX_LOCATOR,
        Message::Headers(list) => list.len() <= MAX_HEADERS,
        Message::GetBlocks { hashes } | Message::NotFound { hashes } => {
            hashes.len() <= MAX_BLOCKS_ASKED
        }
        Message::AnnounceTransactions { txids } | Message::GetTransactions { txids } => {
            txids.len() <= MAX_TXIDS
        }
        Message::Transactions(list) => list.len() <= MAX_TRANSACTIONS,
        Message::Addresses(list) => list.len() <= MAX_ADDRESSES,
        Message::GetBlockTransactions { indexes, .. } => indexes.is_sorted_by(|a, b| a < b),
        _ => true,
    }
}
