//! Frames: however a stream is cut, the same messages come of it, and they are what was sent.

use net::Message;
use net::wire::{FrameDecoder, FrameError, codec};

use super::draw::{Draw, stretched};
use super::target::{Memory, Target};
use super::world::WORLD;

/// Read twice and kept. A list of empty byte strings takes most: 24 bytes for each byte, and
/// almost as many again while it is compared with its encoding.
pub(super) const TARGET: Target =
    Target { name: "frames", samples, run, memory: Memory { per_byte: 160, fixed: 16 * 1024 } };

fn samples() -> Vec<Vec<u8>> {
    let frames: Vec<Vec<u8>> = WORLD.messages.iter().map(codec::encode).collect();
    let short = frames.iter().filter(|frame| frame.len() < 200).flatten().copied().collect();
    frames.into_iter().chain([short]).map(|stream| [&[5][..], &stream].concat()).collect()
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let seed = [draw.byte()];
    let stream = draw.rest();
    let (messages, error) = read(stream, || usize::MAX);
    let sizes = stretched(&seed);
    let mut sizes = sizes.iter().cycle();
    let cut = read(stream, || sizes.next().map_or(1, |size| usize::from(*size).max(1)));
    assert_eq!(cut, (messages.clone(), error), "it matters how a stream is cut");
    let again: Vec<u8> = messages.iter().flat_map(codec::encode).collect();
    assert!(stream.starts_with(&again), "what was decoded was not sent");
    match error {
        Some(error) => end(&error),
        None => messages.last().map_or("nothing", |last| last.kind().name).to_string(),
    }
}

/// What is wrong with a frame, in a word.
pub(super) fn end(error: &FrameError) -> String {
    match error {
        FrameError::UnknownTag(_) => "unknown tag".to_string(),
        FrameError::TooLong { name, .. } => format!("{name} too long"),
        FrameError::Malformed(name) => format!("{name} malformed"),
        FrameError::NotCanonical(name) => format!("{name} not canonical"),
    }
}

fn read(mut stream: &[u8], mut size: impl FnMut() -> usize) -> (Vec<Message>, Option<FrameError>) {
    let (mut decoder, mut messages) = (FrameDecoder::default(), Vec::new());
    while !stream.is_empty() {
        let (mut part, rest) = stream.split_at(size().min(stream.len()));
        stream = rest;
        loop {
            match decoder.take(&mut part) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(part.is_empty(), "the decoder leaves something lying");
    }
    (messages, None)
}
