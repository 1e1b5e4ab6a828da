//! The wallet: one Ed25519 key in a file that only its owner can read, plain or encrypted.
//!
//! The plain form is the 32-byte seed in hex after a line that says what it is; the encrypted
//! form is the same text in the age format (scrypt), which the `age` tool can open too.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use chain::tx::{PublicKey, SigningKey};
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

use crate::folder::{self, FolderError};

/// The wallet's file in a data folder.
pub const WALLET_FILE: &str = "wallet.key";

const PLAIN_HEAD: &str = "graven-wallet-1 ";
const AGE_HEAD: &[u8] = b"age-encryption.org/";

/// Largest wallet file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What is wrong with a wallet.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is one already, and it is not overwritten.
    #[error("{0} exists already; a wallet is never overwritten")]
    Exists(PathBuf),
    /// The file is no wallet.
    #[error("{0} is no wallet file")]
    NotAWallet(PathBuf),
    /// The file is encrypted and no passphrase is given.
    #[error("{0} is encrypted: give its passphrase")]
    Locked(PathBuf),
    /// The passphrase is wrong.
    #[error("the passphrase does not open {0}")]
    WrongPassphrase(PathBuf),
    /// The text is no key.
    #[error("a key is 64 hex digits, or a wallet file as `graven wallet export` writes it")]
    NotAKey,
    /// Encryption failed.
    #[error("the wallet cannot be encrypted: {0}")]
    Encryption(String),
}

/// An unlocked wallet.
pub struct Wallet {
    key: SigningKey,
}

impl Wallet {
    /// A wallet with a new random key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Wallet, WalletError> {
        let seed = folder::random::<32>()?;
        Ok(Wallet { key: SigningKey::from(*seed) })
    }

    /// The wallet of an exported text: 64 hex digits, with or without the head line.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn from_text(text: &str) -> Result<Wallet, WalletError> {
        let digits = text.trim();
        let digits = digits.strip_prefix(PLAIN_HEAD).unwrap_or(digits);
        let seed = HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| WalletError::NotAKey)?;
        let seed = <[u8; 32]>::try_from(&seed[..]).map_err(|_| WalletError::NotAKey)?;
        Ok(Wallet { key: SigningKey::from(seed) })
    }

    /// Opens a wallet file.
    ///
    /// # Errors
    /// When it cannot be read, is no wallet, or the passphrase is missing or wrong.
    pub fn open(path: &Path, passphrase: Option<&SecretString>) -> Result<Wallet, WalletError> {
        let bytes = read(path)?;
        let text = if bytes.starts_with(AGE_HEAD) {
            let passphrase = passphrase.ok_or_else(|| WalletError::Locked(path.to_path_buf()))?;
            decrypt(&bytes, passphrase)
                .ok_or_else(|| WalletError::WrongPassphrase(path.to_path_buf()))?
        } else {
            bytes
        };
        std::str::from_utf8(&text)
            .ok()
            .filter(|text| text.starts_with(PLAIN_HEAD))
            .and_then(|text| Wallet::from_text(text).ok())
            .ok_or_else(|| WalletError::NotAWallet(path.to_path_buf()))
    }

    /// Writes a new wallet file, mode 0600, encrypted if there is a passphrase.
    ///
    /// # Errors
    /// When there is one already or it cannot be written.
    pub fn save(&self, path: &Path, passphrase: Option<&SecretString>) -> Result<(), WalletError> {
        if path.exists() {
            return Err(WalletError::Exists(path.to_path_buf()));
        }
        let text = self.export();
        let bytes = match passphrase {
            Some(passphrase) => encrypt(text.as_bytes(), passphrase)
                .map_err(|error| WalletError::Encryption(error.to_string()))?,
            None => text.as_bytes().to_vec(),
        };
        if folder::create_secret(path, &bytes)? {
            Ok(())
        } else {
            Err(WalletError::Exists(path.to_path_buf()))
        }
    }

    /// The key as text, to be kept secret.
    pub fn export(&self) -> Zeroizing<String> {
        let digits = data_encoding::HEXLOWER.encode(self.key.as_bytes());
        Zeroizing::new(format!("{PLAIN_HEAD}{digits}\n"))
    }

    /// The key that signs.
    pub fn key(&self) -> SigningKey {
        self.key
    }

    /// Its address.
    pub fn address(&self) -> PublicKey {
        PublicKey::from(&self.key)
    }
}

/// Whether a wallet file is encrypted.
///
/// # Errors
/// When it cannot be read.
pub fn is_encrypted(path: &Path) -> Result<bool, WalletError> {
    Ok(read(path)?.starts_with(AGE_HEAD))
}

fn read(path: &Path) -> Result<Vec<u8>, WalletError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
        .map_err(|source| FolderError::Io { path: path.to_path_buf(), source })?;
    Ok(bytes)
}

fn encrypt(text: &[u8], passphrase: &SecretString) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer =
        age::Encryptor::with_user_passphrase(passphrase.clone()).wrap_output(&mut bytes)?;
    writer.write_all(text)?;
    writer.finish()?;
    Ok(bytes)
}

fn decrypt(bytes: &[u8], passphrase: &SecretString) -> Option<Vec<u8>> {
    let identity = age::scrypt::Identity::new(passphrase.clone());
    let mut reader = age::Decryptor::new(bytes)
        .ok()?
        .decrypt(std::iter::once(&identity as &dyn age::Identity))
        .ok()?;
    let mut text = Vec::new();
    reader.read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_wallet_survives_its_file_plain_and_encrypted() {
        let temp = tempfile::tempdir().unwrap();
        let secret = SecretString::from("correct horse".to_string());
        let wallet = Wallet::generate().unwrap();
        for (name, passphrase) in [("plain", None), ("locked", Some(&secret))] {
            let path = temp.path().join(name);
            wallet.save(&path, passphrase).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(is_encrypted(&path).unwrap(), passphrase.is_some());
            let opened = Wallet::open(&path, passphrase).unwrap();
            assert_eq!(opened.address(), wallet.address());
            let again = wallet.save(&path, passphrase);
            assert!(matches!(again, Err(WalletError::Exists(_))));
        }
        let locked = temp.path().join("locked");
        assert!(matches!(Wallet::open(&locked, None), Err(WalletError::Locked(_))));
        let wrong = SecretString::from("wrong".to_string());
        let error = Wallet::open(&locked, Some(&wrong)).err().unwrap();
        assert!(matches!(error, WalletError::WrongPassphrase(_)), "{error}");
    }

    #[test]
    fn an_exported_key_can_be_imported_and_garbage_cannot() {
        let wallet = Wallet::generate().unwrap();
        let text = wallet.export();
        assert_eq!(Wallet::from_text(&text).unwrap().address(), wallet.address());
        for garbage in ["", "12", "zz", "graven-wallet-1 0011"] {
            assert!(matches!(Wallet::from_text(garbage), Err(WalletError::NotAKey)), "{garbage}");
        }
    }
}
