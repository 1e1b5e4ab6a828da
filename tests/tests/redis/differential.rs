//! Requests and replies against another implementation of the protocol.

use cli::resp::parser::{Limits, Parser};
use cli::resp::reply::{Reply, Version};
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as decode2;
use redis_protocol::resp2::encode::encode as encode2;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::decode::complete::decode as decode3;
use redis_protocol::resp3::types::OwnedFrame as Frame3;

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[*$\r\n0-9 -]{0,12}".prop_map(String::into_bytes),
    ]
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(word(), 1..6)
}

/// What the other implementation makes of requests.
fn encoded(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for words in requests {
        let frame = Frame2::Array(words.iter().cloned().map(Frame2::BulkString).collect());
        let mut buffer = vec![0; frame_bytes(words)];
        let length = encode2(&mut buffer, &frame, false).unwrap();
        bytes.extend_from_slice(&buffer[..length]);
    }
    bytes
}

fn frame_bytes(words: &[Vec<u8>]) -> usize {
    32 + words.iter().map(|word| word.len() + 32).sum::<usize>()
}

/// A reply of every kind that has lists in it or not.
fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        Just(Reply::OK),
        "[ -~]{0,20}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        word().prop_map(Reply::Bulk),
        Just(Reply::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let pairs = || proptest::collection::vec((word(), inner.clone()), 0..4);
        let named = |pairs: Vec<(Vec<u8>, Reply)>| {
            // The other implementation keeps a map as one, so no name may come twice.
            let pairs: std::collections::BTreeMap<Vec<u8>, Reply> = pairs.into_iter().collect();
            pairs.into_iter().map(|(name, value)| (Reply::Bulk(name), value)).collect()
        };
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Reply::Array),
            pairs().prop_map(move |list| Reply::Map(named(list))),
            pairs().prop_map(move |list| Reply::Streams(named(list))),
        ]
    })
}

/// What the other implementation should have read, in RESP2.
fn as_frame2(reply: &Reply) -> Frame2 {
    let list = |list: &[Reply]| Frame2::Array(list.iter().map(as_frame2).collect());
    match reply {
        Reply::Simple(word) => Frame2::SimpleString(word.as_bytes().to_vec()),
        Reply::Error(text) => Frame2::Error(text.clone()),
        Reply::Integer(number) => Frame2::Integer(*number),
        Reply::Bulk(bytes) => Frame2::BulkString(bytes.clone()),
        Reply::Null | Reply::NullArray => Frame2::Null,
        Reply::Array(replies) | Reply::Push(replies) => list(replies),
        Reply::Map(pairs) => {
            Frame2::Array(pairs.iter().flat_map(|(a, b)| [as_frame2(a), as_frame2(b)]).collect())
        }
        Reply::Streams(pairs) => {
            let pair = |(a, b): &(Reply, Reply)| Frame2::Array(vec![as_frame2(a), as_frame2(b)]);
            Frame2::Array(pairs.iter().map(pair).collect())
        }
    }
}

/// The same in RESP3.
fn as_frame3(reply: &Reply) -> Frame3 {
    let list = |list: &[Reply]| list.iter().map(as_frame3).collect();
    let attributes = None;
    match reply {
        Reply::Simple(word) => Frame3::SimpleString { data: word.as_bytes().to_vec(), attributes },
        Reply::Error(text) => Frame3::SimpleError { data: text.clone(), attributes },
        Reply::Integer(data) => Frame3::Number { data: *data, attributes },
        Reply::Bulk(bytes) => Frame3::BlobString { data: bytes.clone(), attributes },
        Reply::Null | Reply::NullArray => Frame3::Null,
        Reply::Array(replies) => Frame3::Array { data: list(replies), attributes },
        Reply::Push(replies) => Frame3::Push { data: list(replies), attributes },
        Reply::Map(pairs) | Reply::Streams(pairs) => {
            let data = pairs.iter().map(|(a, b)| (as_frame3(a), as_frame3(b))).collect();
            Frame3::Map { data, attributes }
        }
    }
}

proptest! {
    #[test]
    fn requests_mean_what_the_other_implementation_has_written(
        requests in proptest::collection::vec(request(), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encoded(&requests);
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        let (first, second) = bytes.split_at(cut.index(bytes.len()));
        for part in [first, second] {
            parser.feed(part);
            while let Some(words) = parser.next(&Limits::authenticated(100_000)).unwrap() {
                found.push(words);
            }
        }
        prop_assert_eq!(found, requests);
        prop_assert_eq!(parser.waiting(), 0);
    }

    #[test]
    fn the_other_implementation_reads_every_reply(reply in reply()) {
        let bytes = reply.encode(Version::Two);
        let (frame, length) = decode2(&bytes).unwrap().unwrap();
        prop_assert_eq!((frame, length), (as_frame2(&reply), bytes.len()));
        let bytes = reply.encode(Version::Three);
        let (frame, length) = decode3(&bytes).unwrap().unwrap();
        prop_assert_eq!((frame, length), (as_frame3(&reply), bytes.len()));
    }
}
