//! The pages of the commitment over rows that come in the order of their keys, in bounded memory:
//! paths are spread over files by their first byte, and each file is sorted on its own.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::commitment::{EMPTY, LeafChange, Root, update};
use crate::store::{Foundation, StoreError};

const BUCKETS: usize = 256;
const LEAF_BYTES: usize = 32 + 32;
const BUFFER_BYTES: usize = 16 * 1024;

/// Rows that are sorted at a time. A bucket with more only takes longer.
const LEAVES_A_BATCH: usize = 256 * 1024;

/// Rows that have come, as the trie is told of them.
pub(super) struct Leaves {
    buckets: Vec<BufWriter<File>>,
    folder: PathBuf,
}

impl Leaves {
    /// None yet. Makes files in a folder that is thrown away afterwards.
    pub(super) fn begin(folder: &Path) -> Result<Leaves, StoreError> {
        let bucket = |number: usize| {
            let path = folder.join(format!("leaves-{number:02x}"));
            let file = File::options().read(true).write(true).create_new(true).open(&path);
            let file = file.map_err(|source| StoreError::Io { path, source })?;
            Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
        };
        let buckets = (0..BUCKETS).map(bucket).collect::<Result<_, StoreError>>()?;
        Ok(Leaves { buckets, folder: folder.to_path_buf() })
    }

    /// Takes a row.
    pub(super) fn add(&mut self, path: &[u8; 32], value: &[u8; 32]) -> Result<(), StoreError> {
        let bucket = &mut self.buckets[usize::from(path[0])];
        let written = bucket.write_all(path).and_then(|()| bucket.write_all(value));
        written.map_err(|source| StoreError::Io { path: self.folder.clone(), source })
    }

    /// Writes the pages and returns the root; `progress` hears of each bucket.
    pub(super) fn build(
        self,
        target: &mut Foundation,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Root, StoreError> {
        let Leaves { buckets, folder } = self;
        let fail = |source| StoreError::Io { path: folder.clone(), source };
        let mut root = EMPTY;
        for (number, bucket) in (1..).zip(buckets) {
            let mut file = bucket.into_inner().map_err(|error| fail(error.into_error()))?;
            file.rewind().map_err(fail)?;
            let mut input = BufReader::new(file);
            loop {
                let leaves = read_batch(&mut input).map_err(fail)?;
                if leaves.is_empty() {
                    break;
                }
                let made = update(&*target, &leaves)?;
                target.put_pages(&made.pages)?;
                root = made.root;
            }
            progress(number);
        }
        Ok(root)
    }
}

fn read_batch(input: &mut impl Read) -> io::Result<Vec<LeafChange>> {
    let mut bytes = Vec::new();
    input.take((LEAVES_A_BATCH * LEAF_BYTES) as u64).read_to_end(&mut bytes)?;
    let (whole, rest) = bytes.as_chunks::<LEAF_BYTES>();
    if !rest.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let half = |leaf: &[u8; LEAF_BYTES], at: usize| -> [u8; 32] {
        leaf[at..at + 32].try_into().expect("a leaf has two halves")
    };
    let leaf = |leaf| LeafChange { path: half(leaf, 0), value: Some(half(leaf, 32)) };
    let mut leaves: Vec<LeafChange> = whole.iter().map(leaf).collect();
    leaves.sort_unstable();
    Ok(leaves)
}
