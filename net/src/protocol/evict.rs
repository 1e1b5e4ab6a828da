//! Which inbound peer has to go when all slots are taken and one more knocks.
//!
//! After Bitcoin Core: peers are protected for merits that are hard to have for somebody who only
//! wants to take slots, each in its own way. Of the rest, the network group with the most
//! connections gives one up, the youngest. Who has many connections from one place so competes
//! with himself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chain::ledger::PeerId;

use super::group::Group;
use super::merit::Merit;
use super::port::Millis;
use super::secret::Secret;

// How many peers are protected for each merit: Bitcoin Core's numbers.
/// One of each of so many groups that a secret chooses, which nobody can aim at.
const BY_GROUP: usize = 4;
/// The nearest: to be near takes a machine near.
const BY_PING: usize = 8;
/// The last to bring a transaction the pool took.
const BY_TRANSACTION: usize = 4;
/// The last to bring a block of the main chain.
const BY_BLOCK: usize = 4;

/// An inbound peer, as far as matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    pub(crate) group: Group,
    /// Its shortest round trip.
    pub(crate) ping_ms: Option<u64>,
    pub(crate) merit: Merit,
    pub(crate) connected_at: Millis,
}

/// The peer to evict; `None` when all are protected.
pub(crate) fn choose(mut left: Vec<Candidate>, secret: &Secret) -> Option<PeerId> {
    protect_groups(&mut left, secret);
    protect(&mut left, BY_PING, |peer| Some(Reverse(peer.ping_ms?)));
    protect(&mut left, BY_TRANSACTION, |peer| peer.merit.last_transaction);
    protect(&mut left, BY_BLOCK, |peer| peer.merit.last_block);
    // Half of the rest for having stayed long, and of these up to half of the local ones first:
    // they share a group without being one party.
    let (half, all) = (left.len() / 2, left.len());
    let age = |peer: &Candidate| Reverse(peer.connected_at);
    protect(&mut left, half / 2, |peer| (peer.group == Group::Local).then(|| age(peer)));
    let more = half - (all - left.len());
    protect(&mut left, more, |peer| Some(age(peer)));
    let mut groups: BTreeMap<Group, Vec<Candidate>> = BTreeMap::new();
    left.into_iter().for_each(|peer| groups.entry(peer.group).or_default().push(peer));
    let youngest =
        |members: &Vec<Candidate>| members.iter().map(|peer| (peer.connected_at, peer.peer)).max();
    let largest = groups.values().max_by_key(|members| (members.len(), youngest(members)))?;
    youngest(largest).map(|(_, peer)| peer)
}

/// Takes out the `count` peers with the greatest merit, among those that have any.
fn protect<K: Ord>(
    left: &mut Vec<Candidate>,
    count: usize,
    merit: impl Fn(&Candidate) -> Option<K>,
) {
    let ranked = left.iter().filter_map(|peer| Some((merit(peer)?, Reverse(peer.peer))));
    let mut ranked: Vec<(K, Reverse<PeerId>)> = ranked.collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let kept: BTreeSet<PeerId> = ranked.iter().take(count).map(|(_, peer)| peer.0).collect();
    left.retain(|peer| !kept.contains(&peer.peer));
}

/// Takes out the oldest peer of each of some groups.
fn protect_groups(left: &mut Vec<Candidate>, secret: &Secret) {
    let rank = |group: Group| secret.number("evict", &[&group.bytes()], u64::MAX);
    let mut groups: Vec<(u64, Group)> =
        left.iter().map(|peer| (rank(peer.group), peer.group)).collect();
    groups.sort_unstable();
    groups.dedup();
    for (_, group) in groups.into_iter().rev().take(BY_GROUP) {
        protect(left, 1, |peer| (peer.group == group).then_some(Reverse(peer.connected_at)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const SECRET: Secret = Secret([3; 32]);

    fn candidate(number: u32, ip: [u8; 4]) -> Candidate {
        Candidate {
            peer: PeerId(number.into()),
            group: Group::of(IpAddr::from(ip)),
            ping_ms: Some(100),
            merit: Merit::default(),
            connected_at: Millis(number.into()),
        }
    }

    /// Honest peers of 40 groups, the older ones, and an attacker's 24 of one group.
    fn crowd() -> Vec<Candidate> {
        let honest = (0..40_u8).map(|at| candidate(at.into(), [100, at, 0, 1]));
        let attackers = (40..64_u8).map(|at| candidate(at.into(), [200, 0, 0, at]));
        honest.chain(attackers).collect()
    }

    /// Lets newcomers replace whom they can; returns who is left.
    fn siege(mut peers: Vec<Candidate>, ip: impl Fn([u8; 2]) -> [u8; 4]) -> Vec<Candidate> {
        for number in 0..2000_u16 {
            let Some(gone) = choose(peers.clone(), &SECRET) else { break };
            peers.retain(|peer| peer.peer != gone);
            peers.push(candidate(1000 + u32::from(number), ip(number.to_be_bytes())));
        }
        peers
    }

    /// Newcomers of one group.
    fn neighbours([c, d]: [u8; 2]) -> [u8; 4] {
        [200, 0, c, d]
    }

    /// Newcomers each of a group of its own.
    fn all_over([c, d]: [u8; 2]) -> [u8; 4] {
        [150 + c, d, 0, 1]
    }

    #[test]
    fn a_crowd_from_one_place_competes_with_itself() {
        let left = siege(crowd(), neighbours);
        let honest = left.iter().filter(|peer| peer.peer.0 < 40).count();
        assert_eq!(honest, 40, "no honest peer had to go");
    }

    #[test]
    fn those_who_stayed_long_stay_although_they_share_a_group() {
        let old = (0..10_u8).map(|at| candidate(at.into(), [100, 0, 0, at]));
        let young = (10..64_u8).map(|at| candidate(at.into(), [101, at, 0, 1]));
        let left = siege(old.chain(young).collect(), all_over);
        assert_eq!(left.iter().filter(|peer| peer.peer.0 < 10).count(), 10);
    }

    #[test]
    fn every_merit_protects() {
        type Deed = fn(&mut Candidate);
        let deeds: [Deed; 3] = [
            |peer| peer.ping_ms = Some(1),
            |peer| peer.merit.last_block = Some(Millis(99)),
            |peer| peer.merit.last_transaction = Some(Millis(99)),
        ];
        let victim = choose(crowd(), &SECRET).unwrap();
        assert_eq!(victim, PeerId(63), "the youngest of the largest group");
        for deed in deeds {
            let mut peers = crowd();
            deed(peers.iter_mut().find(|peer| peer.peer == victim).unwrap());
            assert_eq!(choose(peers, &SECRET), Some(PeerId(62)));
        }
    }

    #[test]
    fn some_of_the_local_stay_although_they_share_a_group() {
        // 30 programs on this machine, all of them younger than 34 strangers.
        let strangers = (0..34_u8).map(|at| candidate(at.into(), [100, at, 0, 1]));
        let local = (34..64).map(|at| candidate(at, [127, 0, 0, 1]));
        let left = siege(strangers.chain(local).collect(), all_over);
        let local = left.iter().filter(|peer| peer.group == Group::Local).count();
        assert!(local >= 10, "{local} are left");
    }

    #[test]
    fn few_peers_are_all_protected() {
        let peers: Vec<Candidate> =
            (0..4_u8).map(|at| candidate(at.into(), [at, 0, 0, 1])).collect();
        assert_eq!(choose(peers, &SECRET), None);
        assert_eq!(choose(Vec::new(), &SECRET), None);
    }
}
