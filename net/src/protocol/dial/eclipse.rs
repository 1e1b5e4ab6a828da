//! An attacker who wants all of a node's outbound connections. He has a thousand addresses in a
//! few network groups, a fifth of the inbound slots to tell of them first, and all the time he
//! wants: every address of his that the book takes has been dialled and has answered. Honest
//! nodes are a few hundred, in many groups, some known before, half of them unreachable.

use rand::SeedableRng;

use super::*;
use crate::protocol::address::AddressBook;

const SEEDS: u64 = 1000;
const NOW: Millis = Millis(1_800_000_000_000);
const OUTBOUND: usize = 8;

const ATTACKERS: u16 = 1000;
/// A fifth of 64.
const ATTACKING_PEERS: u16 = 13;
const HONEST: u16 = 300;
/// Honest nodes the book knew before, and how many of them it had been connected to.
const KNOWN: u16 = 100;
const TRIED: u16 = 20;
/// Honest peers that tell of others, how many honest addresses each, and how many of the
/// attacker's, which it believes too.
const TELLERS: u16 = 8;
const TOLD: u16 = 60;
const TOLD_OF_ATTACKERS: u16 = 30;

fn attacker(number: u16, groups: u16) -> SocketAddr {
    let [c, d] = number.to_be_bytes();
    let [a, b] = (number % groups).to_be_bytes();
    SocketAddr::from(([200 + a, b, c, d], 7400))
}

fn honest(number: u16) -> SocketAddr {
    let [a, b] = number.to_be_bytes();
    SocketAddr::from(([100 + a, b, 7, 7], 7400))
}

fn is_honest(address: &SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.octets()[0] < 200)
}

fn is_reachable(address: &SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if !is_honest(address) || ip.octets()[1] % 2 == 0)
}

/// A book after all that, in the worst order: the attacker always speaks first.
fn besieged(seed: u64, groups: u16) -> AddressBook {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&seed.to_le_bytes());
    let (mut book, now_s) = (AddressBook::new(secret), NOW.0 / 1000);
    for number in 0..KNOWN {
        book.heard(honest(number), honest(number + 1).ip(), now_s, NOW);
    }
    // Every third, so that some are out of reach by now.
    (0..TRIED).for_each(|number| book.succeeded(honest(number * 3), NOW));
    for number in 0..ATTACKERS {
        let source = attacker(number % ATTACKING_PEERS, groups);
        book.heard(attacker(number, groups), source.ip(), now_s, NOW);
        if book.contains(&attacker(number, groups)) {
            book.succeeded(attacker(number, groups), NOW);
        }
    }
    for teller in 0..TELLERS {
        let source = honest(teller * 31).ip();
        for number in 0..TOLD_OF_ATTACKERS {
            let rumour = attacker((teller * 120 + number) % ATTACKERS, groups);
            book.heard(rumour, source, now_s, NOW);
        }
        for number in 0..TOLD {
            book.heard(honest((teller * 37 + number * 5) % HONEST), source, now_s, NOW);
        }
    }
    book
}

/// Honest ones among the first addresses the book proposes, each tried once.
fn proposed(book: &mut AddressBook, rng: &mut StdRng) -> usize {
    let mut links: Vec<SocketAddr> = Vec::new();
    while links.len() < OUTBOUND
        && let Some(address) = book.pick(NOW, rng, |address| !links.contains(address))
    {
        match is_reachable(&address) {
            true => links.push(address),
            false => book.failed(&address, NOW, |_| 60_000),
        }
    }
    links.iter().filter(|address| is_honest(address)).count()
}

/// Honest outbound connections after half a minute, and those of the attacker.
fn connected(book: &mut AddressBook, rng: &mut StdRng) -> (usize, usize) {
    let mut dialler = Dialler::new(OUTBOUND, &[], &[]);
    let (peers, discouraged, bans) = (&Peers::default(), &Discouraged::default(), &Bans::default());
    let (known, timing) = (Known { peers, discouraged, bans }, Timing::default());
    let (mut links, mut out) = (Vec::new(), Outbox::default());
    for second in 0..30 {
        let now = NOW + second * 1000;
        dialler.tick(now, book, known, &timing, rng, &mut out);
        while let Some(output) = out.pop() {
            let Output::Connect(address) = output else { panic!("{output:?}") };
            if is_reachable(&address) {
                dialler.connected(address, NodeId([0; 32]));
                book.succeeded(address, now);
                links.push(address);
            } else {
                dialler.ended(&address, Ending::Failed, now, &timing, rng);
                book.failed(&address, now, |_| 1000);
            }
        }
    }
    let good = links.iter().filter(|address| is_honest(address)).count();
    (good, links.len() - good)
}

/// What comes of the siege with all seeds.
#[derive(Debug, Default)]
struct Figures {
    /// Seeds with which the book alone proposed honest nodes too.
    proposed: usize,
    /// Seeds with which the node got an honest connection.
    connected: usize,
    /// Connections in all.
    honest: usize,
    hostile: usize,
}

fn siege(groups: u16) -> Figures {
    let mut figures = Figures::default();
    for seed in 0..SEEDS {
        let (mut book, mut rng) = (besieged(seed, groups), StdRng::seed_from_u64(seed));
        figures.proposed += usize::from(proposed(&mut book.clone(), &mut rng) > 0);
        let (good, bad) = connected(&mut book, &mut rng);
        figures.connected += usize::from(good > 0);
        figures.honest += good;
        figures.hostile += bad;
    }
    println!("{groups} groups: {figures:?}");
    figures
}

#[test]
fn a_thousand_addresses_of_one_group_do_not_eclipse_a_node() {
    let figures = siege(1);
    assert!(figures.proposed >= 990 && figures.connected >= 990, "{figures:?}");
    assert!(figures.hostile <= 1000, "one connection at most: {figures:?}");
}

#[test]
fn nor_do_they_when_they_are_of_ten_groups() {
    // The book alone would not be enough: that a group is dialled once adds to it.
    let figures = siege(10);
    assert!(figures.connected >= 990, "{figures:?}");
}
