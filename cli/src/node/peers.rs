//! What the protocol starts with: the address book, seeds, bans.

use std::net::{SocketAddr, ToSocketAddrs};

use net::{AddressBook, Identity, Millis, Protocol};

use super::{NodeError, stage};
use crate::bans::BanList;
use crate::config::NodeConfig;
use crate::folder::{self, Folder};

/// Addresses taken of one seed: as many as Bitcoin Core takes of one, whatever it says.
const MAX_SEED_ADDRESSES: usize = 32;

/// The protocol of a node that listens at `listening`.
pub(super) fn protocol(
    config: &NodeConfig,
    folder: &Folder,
    identity: &Identity,
    listening: SocketAddr,
    bans: &BanList,
) -> Result<Protocol, NodeError> {
    let (mut book, now) = (open_book(folder)?, Millis(stage::now().unix_ms));
    if !config.exclusive {
        let seeds = config.network.seeds.iter().chain(&config.seeds);
        seeds.for_each(|seed| ask_seed(seed, &mut book, now));
    }
    let mut settings = net::Config::new(identity.node_id());
    settings.listen_port = Some(listening.port());
    settings.peers.clone_from(&config.peers);
    settings.exclusive = config.exclusive;
    settings.bans = bans.list(now);
    Ok(Protocol::new(settings, book, u64::from_le_bytes(*folder::random()?)))
}

fn open_book(folder: &Folder) -> Result<AddressBook, NodeError> {
    let fresh = AddressBook::new(*folder::random()?);
    Ok(match folder.read_book().map(|bytes| AddressBook::decode(&bytes)) {
        None => fresh,
        Some(Ok(book)) => book,
        Some(Err(error)) => {
            let path = folder::book_path(folder.path());
            tracing::warn!(target: "node", path = %path.display(), %error,
                "the address book cannot be read and is begun anew");
            fresh
        }
    })
}

/// Takes the addresses of a seed's name, IPv4 and IPv6, into the book. Each counts as told by
/// itself, so that the seeds' share of the book is spread as the network is.
fn ask_seed(seed: &str, book: &mut AddressBook, now: Millis) {
    match seed.to_socket_addrs() {
        Ok(addresses) => addresses.take(MAX_SEED_ADDRESSES).for_each(|address| {
            book.heard(address, address.ip(), now.0 / 1000, now);
        }),
        Err(error) => tracing::warn!(target: "node", seed, %error, "seed has no address"),
    }
}

/// The bans of the data folder.
pub(super) fn bans(folder: &Folder) -> BanList {
    let (bans, wrong) = BanList::from_text(&folder.read_bans().unwrap_or_default());
    if !wrong.is_empty() {
        let path = folder::bans_path(folder.path());
        tracing::warn!(target: "node", path = %path.display(), lines = ?wrong,
            "these lines are no bans and are left out");
    }
    bans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_give_addresses_of_both_kinds() {
        let (mut book, now) = (AddressBook::default(), Millis(1_800_000_000_000));
        for seed in ["203.0.113.1:7400", "[2001:db8::1]:7400", "localhost:7400", "no.invalid:1"] {
            ask_seed(seed, &mut book, now);
        }
        for address in ["203.0.113.1:7400", "[2001:db8::1]:7400"] {
            assert!(book.contains(&address.parse().unwrap()), "{address}");
        }
        let local = ["127.0.0.1:7400", "[::1]:7400"].map(|text| text.parse().unwrap());
        let all: Vec<SocketAddr> = "localhost:7400".to_socket_addrs().unwrap().collect();
        assert!(all.iter().all(|address| book.contains(address)) && !all.is_empty());
        assert!(local.iter().any(|address| book.contains(address)));
    }
}
