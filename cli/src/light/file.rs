//! A file of headers: what a light client keeps (docs/format.md, "Headers").
//!
//! Nothing in it is believed: every header is checked again when the file is read. What a crash
//! left at the end, or what is not valid, is left out with all that follows it; headers can be had
//! again from any node.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chain::Hash;
use chain::header::{HEADER_BYTES, Header};
use chain::light::LightChain;
use chain::params::Network;
use chain::rules::RuleError;
use chain::store::ChainPoint;

const MAGIC: [u8; 8] = *b"GRVNHDRS";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 8 + 4 + 32;

/// Headers that are read and checked at a time.
const BATCH: usize = 4_096;

/// Why a file of headers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderFileError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else is in it.
    #[error("{0} is no file of headers")]
    NotHeaders(PathBuf),
    /// Written by a newer program.
    #[error("{path}: format version {found} is newer than this program's {VERSION}")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u32,
    },
    /// It holds another network's headers.
    #[error("{path} belongs to another network (genesis {found}, wanted {wanted})")]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Genesis hash in the file.
        found: Hash,
        /// Genesis hash of the network asked for.
        wanted: Hash,
    },
    /// It holds a chain that the network's landmarks rule out.
    #[error("{path}: {error}; move the file away and follow another node")]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// The checkpoint.
        error: RuleError,
    },
    /// Another process writes it.
    #[error("{0} is in use by another graven process")]
    InUse(PathBuf),
}

/// What a file held.
pub struct Contents {
    /// The headers that are valid.
    pub chain: LightChain,
    /// Why there are no more, if there is something behind them.
    pub left_out: Option<String>,
}

/// A file of headers that this process alone writes.
pub struct HeaderFile {
    file: File,
    path: PathBuf,
    /// The last header in it.
    end: ChainPoint,
}

/// Reads a file of headers, and leaves it as it is. It may be that of somebody else: what is too
/// new for this clock is not valid.
///
/// # Errors
/// When it cannot be read, or is none of this network.
pub fn read(path: &Path, network: &Network, now_s: u64) -> Result<Contents, HeaderFileError> {
    let fail = |source| HeaderFileError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(fail)?;
    contents(&file, path, network, now_s)
}

/// Puts a file with exactly this chain in the place of what is there, all or nothing.
///
/// # Errors
/// When it cannot be written.
pub fn write_new(path: &Path, chain: &LightChain) -> Result<(), HeaderFileError> {
    let fail = |source| HeaderFileError::Io { path: path.to_path_buf(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let temp = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(fail)?;
    let mut out = io::BufWriter::new(temp.as_file());
    out.write_all(&head(&chain.network().genesis_hash())).map_err(fail)?;
    for height in 1..=chain.tip().height {
        let header = chain.header(height).expect("it is below the tip");
        out.write_all(&header.encode()).map_err(fail)?;
    }
    out.flush().and_then(|()| temp.as_file().sync_all()).map_err(fail)?;
    drop(out);
    temp.persist(path).map(drop).map_err(|error| fail(error.error))
}

impl HeaderFile {
    /// Opens or creates a file, and cuts off what is not valid.
    ///
    /// # Errors
    /// When it cannot be written, is in use, or is none of this network.
    pub fn open(path: &Path, network: &Network) -> Result<(HeaderFile, Contents), HeaderFileError> {
        let fail = |source| HeaderFileError::Io { path: path.to_path_buf(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HeaderFileError::InUse(path.to_path_buf()));
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let (wanted, mut found) = (head(&network.genesis_hash()), Vec::new());
        (&file).take(HEAD_BYTES as u64).read_to_end(&mut found).map_err(fail)?;
        if found.len() < HEAD_BYTES && wanted.starts_with(&found) {
            // New, or the process died before the head was written: nothing follows it yet.
            file.write_all_at(&wanted, 0).map_err(fail)?;
        }
        (&file).rewind().map_err(fail)?;
        // A clock that was set back is no reason to cut off what was not too new once.
        let contents = contents(&file, path, network, u64::from(u32::MAX))?;
        let end = contents.chain.tip();
        file.set_len(offset(end.height)).map_err(fail)?;
        Ok((HeaderFile { file, path: path.to_path_buf(), end }, contents))
    }

    /// Brings the file up to the best chain. What is no longer on it is cut off first, so that a
    /// crash in between leaves a shorter chain.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self, chain: &LightChain) -> Result<(), HeaderFileError> {
        let tip = chain.tip();
        if tip == self.end {
            return Ok(());
        }
        let fail = |source| HeaderFileError::Io { path: self.path.clone(), source };
        let common = chain.common_height(&self.end.hash);
        self.file.set_len(offset(common)).map_err(fail)?;
        let headers = (common + 1..=tip.height).map(|height| chain.header(height));
        let bytes: Vec<u8> = headers.flatten().flat_map(Header::encode).collect();
        self.file.write_all_at(&bytes, offset(common)).map_err(fail)?;
        self.file.sync_data().map_err(fail)?;
        self.end = tip;
        Ok(())
    }
}

fn head(genesis: &Hash) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &genesis.0].concat()
}

/// Where the header after this height begins.
fn offset(height: u32) -> u64 {
    HEAD_BYTES as u64 + u64::from(height) * HEADER_BYTES as u64
}

fn contents(
    file: &File,
    path: &Path,
    network: &Network,
    now_s: u64,
) -> Result<Contents, HeaderFileError> {
    let fail = |source| HeaderFileError::Io { path: path.to_path_buf(), source };
    let mut input = io::BufReader::new(file);
    check_head(&mut input, path, network)?;
    let mut chain = LightChain::new(network.clone());
    loop {
        let mut bytes = Vec::with_capacity(BATCH * HEADER_BYTES);
        let limit = (BATCH * HEADER_BYTES) as u64;
        input.by_ref().take(limit).read_to_end(&mut bytes).map_err(fail)?;
        let (whole, torn) = bytes.as_chunks::<HEADER_BYTES>();
        let headers: Vec<Header> = whole.iter().map(Header::decode).collect();
        let left_out = match chain.restore(now_s, &headers) {
            (_, None) if torn.is_empty() => None,
            (_, None) => Some("the last header is not whole".to_string()),
            (_, Some(error @ RuleError::Checkpoint { .. })) => {
                return Err(HeaderFileError::OtherChain { path: path.to_path_buf(), error });
            }
            (_, Some(error)) => Some(error.to_string()),
        };
        if left_out.is_some() || bytes.len() < BATCH * HEADER_BYTES {
            return Ok(Contents { chain, left_out });
        }
    }
}

fn check_head(
    input: &mut impl Read,
    path: &Path,
    network: &Network,
) -> Result<(), HeaderFileError> {
    let mut head = [0; HEAD_BYTES];
    match input.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(HeaderFileError::NotHeaders(path.to_path_buf()));
        }
        Err(source) => return Err(HeaderFileError::Io { path: path.to_path_buf(), source }),
    }
    let (magic, rest) = head.split_at(MAGIC.len());
    let (version, genesis) = rest.split_at(4);
    let version = u32::from_le_bytes(version.try_into().expect("four bytes were split off"));
    if magic != MAGIC || version == 0 {
        return Err(HeaderFileError::NotHeaders(path.to_path_buf()));
    }
    if version > VERSION {
        return Err(HeaderFileError::TooNew { path: path.to_path_buf(), found: version });
    }
    let (found, wanted) = (Hash(genesis.try_into().expect("32 are left")), network.genesis_hash());
    if found != wanted {
        let path = path.to_path_buf();
        return Err(HeaderFileError::OtherNetwork { path, found, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
