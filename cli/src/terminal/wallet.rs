//! The `wallet` commands.

use std::path::Path;

use age::secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{TerminalError, is_interactive, print, read_file, show, write_out};
use crate::args::{Global, PassphraseArgs, WalletCommand};
use crate::client::Client;
use crate::config;
use crate::wallet::{self, WALLET_FILE, Wallet};

pub(super) fn execute(global: &Global, command: WalletCommand) -> Result<(), TerminalError> {
    let path = || Ok::<_, TerminalError>(config::data_folder(global)?.join(WALLET_FILE));
    match command {
        WalletCommand::New { encrypt, passphrase } => {
            let wallet = Wallet::generate()?;
            make(global, &wallet, &path()?, encrypt, &passphrase)
        }
        WalletCommand::Import { file, encrypt, passphrase } => {
            let bytes = zeroize::Zeroizing::new(read_file(&file)?);
            let text =
                std::str::from_utf8(&bytes).map_err(|_| crate::wallet::WalletError::NotAKey)?;
            make(global, &Wallet::from_text(text)?, &path()?, encrypt, &passphrase)
        }
        WalletCommand::Address(passphrase) => {
            let wallet = open(&path()?, &passphrase)?;
            let address = json!({ "address": wallet.address().to_string() });
            print(global, &address, |value| value["address"].as_str().unwrap_or("").to_string())
        }
        WalletCommand::Export(passphrase) => {
            write_out(open(&path()?, &passphrase)?.export().as_bytes())
        }
        WalletCommand::Balance(args) => {
            print(global, &Client::open(global)?.request(&args.line())?, show::balance)
        }
        WalletCommand::Pay(args) => {
            print(global, &Client::open(global)?.request(&args.line())?, show::written)
        }
    }
}

fn make(
    global: &Global,
    wallet: &Wallet,
    path: &Path,
    encrypt: bool,
    args: &PassphraseArgs,
) -> Result<(), TerminalError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| TerminalError::Io { path: folder.to_path_buf(), source })?;
    }
    let passphrase = if encrypt { Some(new_passphrase(args)?) } else { None };
    wallet.save(path, passphrase.as_ref())?;
    let made = json!({
        "address": wallet.address().to_string(),
        "file": path.display().to_string(),
        "encrypted": encrypt,
    });
    print(global, &made, show::fields)
}

fn open(path: &Path, args: &PassphraseArgs) -> Result<Wallet, TerminalError> {
    let mut passphrase = config::passphrase(args)?;
    if passphrase.is_none() && wallet::is_encrypted(path)? && is_interactive() {
        passphrase = Some(prompt("Passphrase: ")?);
    }
    Ok(Wallet::open(path, passphrase.as_ref())?)
}

/// A passphrase for a new wallet: from file or environment, or typed twice.
fn new_passphrase(args: &PassphraseArgs) -> Result<SecretString, TerminalError> {
    let given = match config::passphrase(args)? {
        Some(given) => given,
        None if is_interactive() => {
            let first = prompt("New passphrase: ")?;
            let second = prompt("Once more: ")?;
            if first.expose_secret() != second.expose_secret() {
                return Err(TerminalError::Usage("the two passphrases differ".to_string()));
            }
            first
        }
        None => {
            let what = "--encrypt needs a passphrase: --passphrase-file, GRAVEN_PASSPHRASE, \
                        or a terminal to type it on";
            return Err(TerminalError::Usage(what.to_string()));
        }
    };
    if given.expose_secret().is_empty() {
        return Err(TerminalError::Usage("an empty passphrase protects nothing".to_string()));
    }
    Ok(given)
}

fn prompt(text: &str) -> Result<SecretString, TerminalError> {
    rpassword::prompt_password(text)
        .map(SecretString::from)
        .map_err(|source| TerminalError::Io { path: "terminal".into(), source })
}
