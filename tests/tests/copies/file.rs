//! A snapshot's bytes, taken apart and put together again by the letter of docs/format.md.

use serde::Deserialize;

/// Bytes before the first chunk.
pub(crate) const HEAD_BYTES: usize = 48;
/// Bytes of a chunk before its payload.
pub(crate) const CHUNK_HEAD_BYTES: usize = 9;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const COINBASES: u8 = 2;
pub(crate) const BLOCK: u8 = 3;
pub(crate) const ROWS: u8 = 4;
pub(crate) const END: u8 = 5;

/// Key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);
/// Coinbase and branch.
pub(crate) type Shown = (Vec<u8>, Vec<[u8; 32]>);

/// A snapshot in parts.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) head: Vec<u8>,
    pub(crate) chunks: Vec<(u8, Vec<u8>)>,
}

impl Parts {
    pub(crate) fn of(bytes: &[u8]) -> Parts {
        let (head, mut rest) = bytes.split_at(HEAD_BYTES);
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(CHUNK_HEAD_BYTES);
            let length = u32::from_le_bytes(chunk[..4].try_into().unwrap()) as usize;
            let (payload, after) = after.split_at(length);
            chunks.push((chunk[8], payload.to_vec()));
            rest = after;
        }
        Parts { head: head.to_vec(), chunks }
    }

    /// The bytes, with checksums that fit.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        for (kind, payload) in &self.chunks {
            let checked = [&[*kind][..], payload].concat();
            bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
            bytes.extend(crc32c::crc32c(&checked).to_le_bytes());
            bytes.extend(checked);
        }
        bytes
    }

    /// Where chunks begin, and where the last ends.
    pub(crate) fn borders(&self) -> Vec<usize> {
        let mut borders = vec![self.head.len()];
        for (_, payload) in &self.chunks {
            borders.push(borders.last().unwrap() + CHUNK_HEAD_BYTES + payload.len());
        }
        borders
    }

    /// The payload of the first chunk of a kind.
    pub(crate) fn payload(&mut self, kind: u8) -> &mut Vec<u8> {
        let chunk = self.chunks.iter_mut().find(|(found, _)| *found == kind);
        &mut chunk.expect("there is one").1
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let chunks = self.chunks.iter().filter(|(kind, _)| *kind == ROWS);
        chunks.flat_map(|(_, payload)| list::<Row>(payload)).collect()
    }

    /// With other rows, counted.
    pub(crate) fn with_rows(&self, rows: &[Row]) -> Parts {
        let mut parts = self.clone();
        parts.chunks.retain(|(kind, _)| *kind < ROWS);
        parts.chunks.push((ROWS, postcard::to_stdvec(rows).unwrap()));
        parts.chunks.push((END, (rows.len() as u64).to_le_bytes().to_vec()));
        parts
    }

    pub(crate) fn coinbases(&self) -> Vec<Shown> {
        let chunks = self.chunks.iter().filter(|(kind, _)| *kind == COINBASES);
        chunks.flat_map(|(_, payload)| list::<Shown>(payload)).collect()
    }

    pub(crate) fn with_coinbases(&self, coinbases: &[Shown]) -> Parts {
        let mut parts = self.clone();
        *parts.payload(COINBASES) = postcard::to_stdvec(coinbases).unwrap();
        parts
    }
}

fn list<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Vec<T> {
    postcard::from_bytes(bytes).unwrap()
}
