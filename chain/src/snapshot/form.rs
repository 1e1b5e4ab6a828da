//! The bytes of a snapshot: a head, then chunks with checksums.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use miner::Hash;
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::params::MAX_BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"GRVNSNAP";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 8 + 4 + 32 + 4;
const CHUNK_HEAD_BYTES: usize = 4 + 4 + 1;

/// A chunk of rows is closed when it has so many bytes.
pub(super) const ROWS_BYTES: usize = 256 * 1024;

/// No chunk is longer, in bytes: a row or a block more than one that is about to be closed.
const MAX_CHUNK_BYTES: u32 = MAX_BLOCK_BYTES + 512 * 1024;
const _: () = assert!(MAX_CHUNK_BYTES as usize == MAX_BLOCK_BYTES as usize + 2 * ROWS_BYTES);

/// Headers in a chunk, at most.
pub(super) const HEADERS_A_CHUNK: usize = 2_048;

/// Coinbases in a chunk, at most.
pub(super) const COINBASES_A_CHUNK: usize = 128;

/// What a chunk holds, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Headers of 80 bytes, from height 1 on.
    Headers = 1,
    /// postcard: list of [`ShownCoinbase`], ascending, but for the last block's.
    Coinbases = 2,
    /// The last block.
    Block = 3,
    /// postcard: list of key and value, ascending.
    Rows = 4,
    /// Number of rows, 8 bytes little-endian.
    End = 5,
}

/// A coinbase with the way to its header's merkle root.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShownCoinbase<'a> {
    #[serde(borrow, with = "serde_bytes")]
    pub(super) coinbase: &'a [u8],
    pub(super) branch: Vec<Hash>,
}

/// Writes a snapshot.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl Writer<'_> {
    pub(super) fn begin<'a>(
        out: &'a mut dyn Write,
        genesis: &Hash,
        height: u32,
    ) -> Result<Writer<'a>, SnapshotError> {
        let mut writer = Writer { out, bytes: 0 };
        let head = [&MAGIC[..], &VERSION.to_le_bytes(), &genesis.0, &height.to_le_bytes()];
        writer.write(&head.concat())?;
        Ok(writer)
    }

    pub(super) fn chunk(&mut self, kind: Kind, payload: &[u8]) -> Result<(), SnapshotError> {
        let length = u32::try_from(payload.len()).expect("the maker closes chunks in time");
        assert!(length <= MAX_CHUNK_BYTES, "the maker closes chunks in time");
        let kind = [kind as u8];
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&kind), payload);
        self.write(&[&length.to_le_bytes()[..], &checksum.to_le_bytes(), &kind].concat())?;
        self.write(payload)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.out.write_all(bytes).map_err(io_error)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Reads a snapshot.
pub(super) struct Reader<'a> {
    input: &'a mut dyn Read,
    offset: u64,
    last: Kind,
}

impl Reader<'_> {
    /// Reads the head; returns the height that it names.
    pub(super) fn begin<'a>(
        input: &'a mut dyn Read,
        wanted: &Hash,
    ) -> Result<(Reader<'a>, u32), SnapshotError> {
        let mut reader = Reader { input, offset: 0, last: Kind::Headers };
        let head = reader.read::<HEAD_BYTES>()?.ok_or(SnapshotError::NotSnapshot)?;
        let number = |at: usize| {
            u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes of the head"))
        };
        if head[..8] != MAGIC || number(8) == 0 {
            return Err(SnapshotError::NotSnapshot);
        }
        if number(8) > VERSION {
            return Err(SnapshotError::TooNew { found: number(8), known: VERSION });
        }
        let found = Hash(head[12..44].try_into().expect("32 bytes of the head"));
        if found != *wanted {
            return Err(SnapshotError::OtherNetwork { found, wanted: *wanted });
        }
        Ok((reader, number(44)))
    }

    /// The next chunk. Kinds come in their order, and nothing follows the end.
    pub(super) fn chunk(&mut self) -> Result<(Kind, Vec<u8>), SnapshotError> {
        let start = self.offset;
        let damaged = |what| SnapshotError::Damaged { offset: start, what };
        let cut = damaged("it ends in the middle");
        let Some(head) = self.read::<CHUNK_HEAD_BYTES>()? else { return Err(cut) };
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| head[at + byte]));
        let (length, checksum) = (number(0), number(4));
        if length > MAX_CHUNK_BYTES {
            return Err(damaged("a chunk's length is impossible"));
        }
        let mut payload = Vec::new();
        let limit = u64::from(length);
        (&mut *self.input).take(limit).read_to_end(&mut payload).map_err(io_error)?;
        self.offset += payload.len() as u64;
        if payload.len() < length as usize {
            return Err(cut);
        }
        if crc32c::crc32c_append(crc32c::crc32c(&head[8..]), &payload) != checksum {
            return Err(damaged("a checksum does not match"));
        }
        let kinds = [Kind::Headers, Kind::Coinbases, Kind::Block, Kind::Rows, Kind::End];
        let kind = kinds.into_iter().find(|kind| *kind as u8 == head[8]);
        let kind = kind.filter(|kind| *kind >= self.last);
        self.last = kind.ok_or_else(|| damaged("a part is where it does not belong"))?;
        if self.last == Kind::End && self.read::<1>()?.is_some() {
            return Err(damaged("something follows the end"));
        }
        Ok((self.last, payload))
    }

    /// Where the next chunk begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Exactly so many bytes; `None` when there are fewer.
    fn read<const N: usize>(&mut self) -> Result<Option<[u8; N]>, SnapshotError> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => {
                self.offset += N as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }
}

/// Who gave the stream knows its name.
fn io_error(source: io::Error) -> SnapshotError {
    SnapshotError::Io { path: PathBuf::from("snapshot"), source }
}
