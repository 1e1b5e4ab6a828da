//! The data folder: who uses it, and the small files in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

const LOCK_FILE: &str = "lock";
const COOKIE_FILE: &str = "admin.cookie";
const ADDRESSES_FILE: &str = "addresses.json";
const IDENTITY_FILE: &str = "node.key";
const BOOK_FILE: &str = "peers.book";
const BANS_FILE: &str = "bans.txt";

/// Bytes of the cookie, before hex.
const COOKIE_BYTES: usize = 32;

/// What is wrong with a data folder or a file in it.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process works on the folder.
    #[error("{path} is in use by another graven process; stop it or choose another --data")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The platform has no place for data.
    #[error("no home folder is known; name a data folder with --data")]
    NoHome,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(String),
}

/// A data folder, locked for this process until dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Where a network's data lies when nothing else is said.
///
/// # Errors
/// When the platform names no home.
pub fn default_path(network: &str) -> Result<PathBuf, FolderError> {
    let dirs = directories::ProjectDirs::from("", "", "graven").ok_or(FolderError::NoHome)?;
    Ok(dirs.data_dir().join(network))
}

/// Bytes from the operating system.
///
/// # Errors
/// When it has none.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, FolderError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).map_err(|error| FolderError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// A random number.
///
/// # Errors
/// When the system has no randomness.
pub fn random_u32() -> Result<u32, FolderError> {
    Ok(u32::from_le_bytes(*random()?))
}

impl Folder {
    /// Creates the folder if it is not there, and locks it.
    ///
    /// # Errors
    /// When it cannot be created or another process has it.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let fail = |source| FolderError::Io { path: path.to_path_buf(), source };
        std::fs::create_dir_all(path).map_err(fail)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|source| FolderError::Io { path: lock_path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(FolderError::Io { path: lock_path, source }),
        }
    }

    /// Removes a folder that has nothing but what [`Folder::open`] makes.
    pub fn remove_empty(path: &Path) {
        std::fs::remove_file(path.join(LOCK_FILE)).ok();
        std::fs::remove_dir(path).ok();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A fresh cookie, written with mode 0600.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new_cookie(&self) -> Result<String, FolderError> {
        let cookie = HEXLOWER.encode(&random::<COOKIE_BYTES>()?[..]);
        write_secret(&self.path.join(COOKIE_FILE), cookie.as_bytes())?;
        Ok(cookie)
    }

    /// Writes the chosen addresses, by the names of the listeners.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_addresses(&self, addresses: &[(&str, SocketAddr)]) -> Result<(), FolderError> {
        let object: Map<String, Value> = addresses
            .iter()
            .map(|(name, address)| ((*name).to_string(), address.to_string().into()))
            .collect();
        let text = format!("{}\n", Value::Object(object));
        replace(&self.path.join(ADDRESSES_FILE), text.as_bytes(), 0o644)
    }

    /// Removes what is true only while a node runs.
    pub fn forget_session(&self) {
        for name in [ADDRESSES_FILE, COOKIE_FILE] {
            std::fs::remove_file(self.path.join(name)).ok();
        }
    }

    /// The node's secret key for peers, made at the first call.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn identity(&self) -> Result<Zeroizing<[u8; 32]>, FolderError> {
        let path = self.path.join(IDENTITY_FILE);
        if !path.exists() {
            let secret = random::<32>()?;
            write_secret(&path, &secret[..])?;
        }
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|source| FolderError::Io { path: path.clone(), source })?;
        let secret = <[u8; 32]>::try_from(&bytes[..])
            .map_err(|_| FolderError::Content { path, what: "a node key has 32 bytes" })?;
        Ok(Zeroizing::new(secret))
    }

    /// The saved address book, if there is one.
    pub fn read_book(&self) -> Option<Vec<u8>> {
        std::fs::read(self.path.join(BOOK_FILE)).ok()
    }

    /// The saved bans, if there are any.
    pub fn read_bans(&self) -> Option<String> {
        let bytes = std::fs::read(self.path.join(BANS_FILE)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Where a folder's address book is.
pub fn book_path(folder: &Path) -> PathBuf {
    folder.join(BOOK_FILE)
}

/// Saves a folder's address book.
///
/// # Errors
/// When the file cannot be written.
pub fn write_book(folder: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    // A damaged book is begun anew.
    replace_lax(&book_path(folder), bytes)
}

/// Where a folder's bans are.
pub fn bans_path(folder: &Path) -> PathBuf {
    folder.join(BANS_FILE)
}

/// Saves a folder's bans.
///
/// # Errors
/// When the file cannot be written.
pub fn write_bans(folder: &Path, text: &str) -> Result<(), FolderError> {
    replace_lax(&bans_path(folder), text.as_bytes())
}

/// The addresses that a running node wrote, by name.
pub fn read_address(folder: &Path, name: &str) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(folder.join(ADDRESSES_FILE)).ok()?;
    let object: Value = serde_json::from_str(&text).ok()?;
    object[name].as_str()?.parse().ok()
}

/// The cookie of a running node.
pub fn read_cookie(folder: &Path) -> Option<String> {
    std::fs::read_to_string(folder.join(COOKIE_FILE)).ok()
}

/// Writes a file that only its owner can read, all or nothing.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    replace(path, bytes, 0o600)
}

/// Writes a file that only its owner can read, unless there is one: then `Ok(false)`.
///
/// # Errors
/// When it cannot be written.
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<bool, FolderError> {
    let create = || {
        let fresh = write_beside(path, bytes, 0o600, Durability::Synced)?;
        // Unlike a rename, a link never takes the place of another file.
        let linked = std::fs::hard_link(&fresh, path);
        std::fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    };
    create().map_err(|source| FolderError::Io { path: path.to_path_buf(), source })
}

/// Whether a file must survive a power cut once it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    Synced,
    Lax,
}

/// Puts a new file in the place of an old one, so that a crash leaves one of the two.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FolderError> {
    write_beside(path, bytes, mode, Durability::Synced)
        .and_then(|fresh| std::fs::rename(fresh, path))
        .map_err(|source| FolderError::Io { path: path.to_path_buf(), source })
}

/// Likewise, but a power cut soon after may lose both: nothing is synced, because this runs on the
/// reactor's thread, which never blocks.
fn replace_lax(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    write_beside(path, bytes, 0o600, Durability::Lax)
        .and_then(|fresh| std::fs::rename(fresh, path))
        .map_err(|source| FolderError::Io { path: path.to_path_buf(), source })
}

/// Writes a new file beside the one it is to become, and returns where.
fn write_beside(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    durability: Durability,
) -> std::io::Result<PathBuf> {
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let first = Folder::open(temp.path()).unwrap();
        let error = Folder::open(temp.path()).unwrap_err();
        assert!(matches!(error, FolderError::InUse { .. }), "{error}");
        drop(first);
        Folder::open(temp.path()).unwrap();
    }

    #[test]
    fn secrets_are_readable_by_their_owner_alone_and_stay() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let identity = folder.identity().unwrap();
        assert_eq!(folder.identity().unwrap(), identity);
        let cookie = folder.new_cookie().unwrap();
        assert_eq!(read_cookie(temp.path()).unwrap(), cookie);
        for name in [COOKIE_FILE, IDENTITY_FILE] {
            let mode = std::fs::metadata(temp.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
