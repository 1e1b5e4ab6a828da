use chain::header::HEADER_BYTES;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::compact::{MAX_SHORT_IDS, SHORT_ID_BYTES};
use crate::wire::message::{
    KINDS, MAX_ADDRESSES, MAX_AGENT_BYTES, MAX_BLOCKS_ASKED, MAX_HEADERS, MAX_LOCATOR,
    MAX_TRANSACTIONS, MAX_TXIDS, max_bytes,
};
use crate::wire::{CompactBlock, Hello, KnownAddress, ShortId};
use chain::Hash;
use chain::block::MAX_COINBASE_BYTES;
use chain::header::Header;

fn hashes(max: usize) -> impl Strategy<Value = Vec<Hash>> {
    vec(any::<[u8; 32]>().prop_map(Hash), 0..=max)
}

fn headers() -> impl Strategy<Value = Vec<Header>> {
    vec(vec(any::<u8>(), HEADER_BYTES), 0..20).prop_map(|list| {
        list.iter().map(|bytes| Header::decode(bytes.first_chunk().unwrap())).collect()
    })
}

fn addresses() -> impl Strategy<Value = Vec<KnownAddress>> {
    let address = (any::<std::net::IpAddr>(), any::<u16>(), any::<u64>())
        .prop_map(|(ip, port, last_seen_s)| KnownAddress { ip, port, last_seen_s });
    vec(address, 0..50)
}

fn compact_block() -> impl Strategy<Value = CompactBlock> {
    let header = vec(any::<u8>(), HEADER_BYTES)
        .prop_map(|bytes| Header::decode(bytes.first_chunk().unwrap()));
    let coinbase = vec(any::<u8>(), 0..=MAX_COINBASE_BYTES);
    let ids = vec(any::<[u8; SHORT_ID_BYTES]>().prop_map(ShortId), 0..40);
    (header, any::<u64>(), coinbase, ids).prop_map(|(header, salt, coinbase, ids)| CompactBlock {
        header,
        salt,
        coinbase,
        ids,
    })
}

/// What is said of one new block.
fn block_relay() -> impl Strategy<Value = Message> {
    let hash = any::<[u8; 32]>().prop_map(Hash);
    let indexes = proptest::collection::btree_set(any::<u16>(), 0..50)
        .prop_map(|set| set.into_iter().collect());
    let list = vec(vec(any::<u8>(), 0..300), 0..20);
    prop_oneof![
        compact_block().prop_map(|block| Message::AnnounceBlock(block.header)),
        hash.clone().prop_map(|hash| Message::GetCompactBlock { hash }),
        compact_block().prop_map(Message::CompactBlock),
        (hash.clone(), indexes)
            .prop_map(|(hash, indexes)| Message::GetBlockTransactions { hash, indexes }),
        (hash, list).prop_map(|(hash, list)| Message::BlockTransactions { hash, list }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let hello = (any::<u16>(), "[a-z/.0-9]{0,64}", any::<u32>(), any::<Option<u16>>()).prop_map(
        |(protocol, agent, height, listen_port)| {
            Message::Hello(Hello { protocol, agent, height, listen_port })
        },
    );
    prop_oneof![
        hello,
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
        any::<u32>().prop_map(|height| Message::BodiesFrom { height }),
        hashes(MAX_LOCATOR).prop_map(|locator| Message::GetHeaders { locator }),
        headers().prop_map(Message::Headers),
        hashes(MAX_BLOCKS_ASKED).prop_map(|hashes| Message::GetBlocks { hashes }),
        vec(any::<u8>(), 0..5000).prop_map(Message::Block),
        hashes(MAX_BLOCKS_ASKED).prop_map(|hashes| Message::NotFound { hashes }),
        hashes(40).prop_map(|txids| Message::AnnounceTransactions { txids }),
        hashes(40).prop_map(|txids| Message::GetTransactions { txids }),
        vec(vec(any::<u8>(), 0..300), 0..20).prop_map(Message::Transactions),
        Just(Message::GetAddresses),
        addresses().prop_map(Message::Addresses),
        block_relay(),
    ]
}

fn decode_all(bytes: &[u8]) -> Result<Vec<Message>, FrameError> {
    let (mut decoder, mut input, mut messages) = (FrameDecoder::default(), bytes, Vec::new());
    while let Some(message) = decoder.take(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_le_bytes()[..], &[tag], body].concat()
}

proptest! {
    #[test]
    fn messages_survive_any_cut(
        messages in vec(message(), 1..6),
        sizes in vec(1..200_usize, 1..50),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
        let (mut decoder, mut decoded) = (FrameDecoder::default(), Vec::new());
        let mut rest = &bytes[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (mut part, after) = rest.split_at(rest.len().min(*size));
            rest = after;
            while let Some(message) = decoder.take(&mut part).unwrap() {
                decoded.push(message);
            }
            prop_assert!(part.is_empty());
        }
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn garbage_never_panics_and_what_decodes_is_canonical(
        tag in 0..20_u8,
        body in vec(any::<u8>(), 0..400),
    ) {
        let bytes = frame(tag, &body);
        if let Ok(messages) = decode_all(&bytes) {
            let again: Vec<u8> = messages.iter().flat_map(encode).collect();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_stream_of_garbage_never_panics(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode_all(&bytes);
    }
}

#[test]
fn every_cap_is_enforced_by_the_first_five_bytes() {
    for kind in &KINDS {
        assert_eq!(max_bytes(kind.tag), Some(kind.max_bytes));
        let too_long = u32::try_from(kind.max_bytes + 1).unwrap();
        let head = [&too_long.to_le_bytes()[..], &[kind.tag]].concat();
        let expected = FrameError::TooLong { name: kind.name, got: kind.max_bytes + 1 };
        assert_eq!(decode_all(&head), Err(expected), "{}", kind.name);
    }
}

#[test]
fn unknown_tags_are_named() {
    for tag in [0, 20, 255] {
        assert_eq!(max_bytes(tag), None);
        assert_eq!(decode_all(&frame(tag, &[])), Err(FrameError::UnknownTag(tag)));
    }
}

#[test]
fn the_largest_messages_fit_and_one_more_does_not() {
    let hashes = |count| vec![Hash([7; 32]); count];
    let address = KnownAddress { ip: [255_u8; 16].into(), port: u16::MAX, last_seen_s: u64::MAX };
    let full = |extra: usize| {
        vec![
            Message::GetHeaders { locator: hashes(MAX_LOCATOR + extra) },
            Message::GetBlocks { hashes: hashes(MAX_BLOCKS_ASKED + extra) },
            Message::NotFound { hashes: hashes(MAX_BLOCKS_ASKED + extra) },
            Message::AnnounceTransactions { txids: hashes(MAX_TXIDS + extra) },
            Message::GetTransactions { txids: hashes(MAX_TXIDS + extra) },
            Message::Transactions(vec![Vec::new(); MAX_TRANSACTIONS + extra]),
            Message::Addresses(vec![address; MAX_ADDRESSES + extra]),
            Message::Headers(vec![Header::decode(&[9; 80]); MAX_HEADERS + extra]),
            Message::CompactBlock(CompactBlock {
                header: Header::decode(&[9; 80]),
                salt: u64::MAX,
                coinbase: vec![1; MAX_COINBASE_BYTES],
                ids: vec![ShortId([7; SHORT_ID_BYTES]); MAX_SHORT_IDS + extra],
            }),
            Message::CompactBlock(CompactBlock {
                header: Header::decode(&[9; 80]),
                salt: 0,
                coinbase: vec![1; MAX_COINBASE_BYTES + extra],
                ids: Vec::new(),
            }),
            Message::GetBlockTransactions {
                hash: Hash([7; 32]),
                indexes: (0..u16::try_from(MAX_SHORT_IDS + extra).unwrap()).collect(),
            },
            Message::BlockTransactions {
                hash: Hash([7; 32]),
                list: vec![Vec::new(); MAX_SHORT_IDS + extra],
            },
            Message::Hello(Hello {
                protocol: u16::MAX,
                agent: "x".repeat(MAX_AGENT_BYTES + extra),
                height: u32::MAX,
                listen_port: Some(u16::MAX),
            }),
        ]
    };
    for message in full(0) {
        assert_eq!(decode_all(&encode(&message)), Ok(vec![message]));
    }
    for message in full(1) {
        let mut body = Vec::new();
        message.encode_body(&mut body);
        let kind = message.kind();
        assert!(decode_all(&frame(kind.tag, &body)).is_err(), "{}", kind.name);
    }
}

#[test]
fn counts_are_checked_before_items_are_read() {
    // A count of 2^32 - 1 with no items behind it.
    let body = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for tag in [4, 6, 8, 9, 10, 11, 13] {
        assert!(matches!(decode_all(&frame(tag, &body)), Err(FrameError::Malformed(_))));
    }
    for tag in [17, 18] {
        let body = [&[0; 32], &body[..]].concat();
        assert!(matches!(decode_all(&frame(tag, &body)), Err(FrameError::Malformed(_))));
    }
}

#[test]
fn other_encodings_of_the_same_message_are_refused() {
    // Ping 1 with a varint of two bytes.
    assert_eq!(decode_all(&frame(2, &[0x81, 0x00])), Err(FrameError::NotCanonical("ping")));
    // Bytes after the message.
    assert!(decode_all(&frame(2, &[0x01, 0x00])).is_err());
    assert!(decode_all(&frame(5, &[0; 81])).is_err());
    // Positions that two bytes cannot hold: 65,534 and 65,535 can, the next cannot.
    for (gaps, fits) in [(&[2, 0xfe, 0xff, 3, 0][..], true), (&[3, 0xfe, 0xff, 3, 0, 0], false)] {
        let body = [&[0; 32], gaps].concat();
        assert_eq!(decode_all(&frame(17, &body)).is_ok(), fits);
    }
    // A short id cut off.
    assert!(decode_all(&frame(16, &[0; 90 + 5])).is_err());
    assert!(decode_all(&frame(16, &[0; 90 + 6])).is_ok());
}
