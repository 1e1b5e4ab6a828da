//! The buckets of the address book: how many there are, who may be in which, what they hold.
//!
//! The idea and the proportions are those of Bitcoin Core's address manager, which has 1024 and
//! 256 buckets of 64. Ours is smaller in proportion to the networks it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::protocol::group::Group;
use crate::protocol::secret::Secret;

/// Addresses in a bucket. Half of Bitcoin Core's, so that there can be more buckets, which are
/// what keeps groups apart.
pub(super) const BUCKET_SIZE: usize = 32;
/// Buckets of addresses that were only heard of: 4096 addresses, those of a network of
/// thousands of nodes, in about 150 kB of file.
pub(super) const NEW_BUCKETS: u16 = 128;
/// Buckets of addresses that have worked: 2048 addresses, far more than a node dials in weeks.
pub(super) const TRIED_BUCKETS: u16 = 64;
/// New buckets that everything told by one group of sources shares: a sixteenth of them, as in
/// Bitcoin Core (64 of 1024).
const NEW_BUCKETS_A_SOURCE: u64 = 8;
/// Tried buckets that a group of addresses shares: a thirty-second, as in Bitcoin Core (8 of 256).
const TRIED_BUCKETS_A_GROUP: u64 = 2;
/// New buckets an address may be in. Each further one needs a luckier source: the second one in
/// two, the third one in four. Bitcoin Core has 8 in a table eight times as large.
pub(super) const MAX_COPIES: usize = 4;

/// Addresses by bucket. Never holds an empty bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<u16, BTreeSet<SocketAddr>>);

impl Table {
    pub(super) fn is_full(&self, bucket: u16) -> bool {
        self.0.get(&bucket).is_some_and(|members| members.len() >= BUCKET_SIZE)
    }

    /// Adds an address; the caller has made room.
    pub(super) fn insert(&mut self, bucket: u16, address: SocketAddr) {
        self.0.entry(bucket).or_default().insert(address);
    }

    pub(super) fn remove(&mut self, bucket: u16, address: &SocketAddr) {
        if let Some(members) = self.0.get_mut(&bucket) {
            members.remove(address);
            if members.is_empty() {
                self.0.remove(&bucket);
            }
        }
    }

    pub(super) fn members(&self, bucket: u16) -> impl Iterator<Item = &SocketAddr> {
        self.0.get(&bucket).into_iter().flatten()
    }

    /// The buckets that hold anything.
    pub(super) fn buckets(&self) -> Vec<u16> {
        self.0.keys().copied().collect()
    }
}

/// The new bucket of an address that was heard of from a source. One group of addresses told by
/// one group of sources has one bucket.
pub(super) fn new_bucket(secret: &Secret, address: &SocketAddr, source: IpAddr) -> u16 {
    let source = Group::of(source).bytes();
    let share = secret.number("new share", &[&kin(address), &source], NEW_BUCKETS_A_SOURCE);
    number(secret, "new", &[&source, &share.to_le_bytes()], NEW_BUCKETS)
}

/// The tried bucket of an address.
pub(super) fn tried_bucket(secret: &Secret, address: &SocketAddr) -> u16 {
    let share = secret.number("tried share", &[&bytes(address)], TRIED_BUCKETS_A_GROUP);
    number(secret, "tried", &[&kin(address), &share.to_le_bytes()], TRIED_BUCKETS)
}

/// Whether a source may give an address one copy more. A source that may not is never asked
/// again with another result, so telling often does not help.
pub(super) fn may_copy(
    secret: &Secret,
    address: &SocketAddr,
    source: IpAddr,
    copies: usize,
) -> bool {
    let source = Group::of(source).bytes();
    secret.number("copy", &[&bytes(address), &source], 1 << copies) == 0
}

fn number(secret: &Secret, purpose: &str, parts: &[&[u8]], below: u16) -> u16 {
    let number = secret.number(purpose, parts, u64::from(below));
    u16::try_from(number).expect("below a u16")
}

/// What addresses have in common that can crowd each other out: their group. Those of the local
/// group crowd nobody out: they are told by local sources alone, and a local network is to be
/// known whole.
fn kin(address: &SocketAddr) -> Vec<u8> {
    match Group::of(address.ip()) {
        Group::Local => [&Group::Local.bytes()[..], &bytes(address)].concat(),
        group => group.bytes(),
    }
}

fn bytes(address: &SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port().to_le_bytes());
    bytes
}
