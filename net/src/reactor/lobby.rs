//! Who has connected and not yet shaken hands: how many may wait, and who gives way.
//!
//! Connections cost their opener next to nothing, so there can always be more of them than places.
//! Who comes last gets in, and whoever has waited longest goes: an honest node needs no more than
//! a round trip or two. Networks have few places each, so that a crowd from one place competes with
//! itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mio::Token;

use crate::protocol::Group;

/// Places of one network of addresses: 24 bits of IPv4, 48 bits of IPv6. This machine and the
/// networks around it have as many as there are.
const MAX_OF_SUBNET: usize = 8;

/// Addresses that one party has when it has one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subnet {
    Local,
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Subnet {
    fn of(ip: IpAddr) -> Subnet {
        if Group::of(ip) == Group::Local {
            return Subnet::Local;
        }
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Subnet::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Subnet::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// Those who wait. Tokens are never used twice and ascend, so their order is that of arrival.
#[derive(Debug)]
pub(super) struct Lobby {
    places: usize,
    guests: BTreeMap<Token, Subnet>,
}

impl Lobby {
    pub(super) fn new(places: usize) -> Lobby {
        Lobby { places, guests: BTreeMap::new() }
    }

    /// Lets somebody in; returns who has to go for it.
    pub(super) fn enter(&mut self, token: Token, ip: IpAddr) -> Option<Token> {
        let subnet = Subnet::of(ip);
        let neighbours = self.guests.values().filter(|other| **other == subnet).count();
        let gone = if subnet != Subnet::Local && neighbours >= MAX_OF_SUBNET {
            self.oldest_of(subnet)
        } else if self.guests.len() >= self.places {
            self.largest().and_then(|subnet| self.oldest_of(subnet))
        } else {
            None
        };
        if let Some(gone) = gone {
            self.guests.remove(&gone);
        }
        self.guests.insert(token, subnet);
        gone
    }

    /// Somebody has shaken hands or gone.
    pub(super) fn leave(&mut self, token: Token) {
        self.guests.remove(&token);
    }

    fn oldest_of(&self, subnet: Subnet) -> Option<Token> {
        self.guests.iter().find(|(_, other)| **other == subnet).map(|(token, _)| *token)
    }

    fn largest(&self) -> Option<Subnet> {
        let mut counts: BTreeMap<Subnet, usize> = BTreeMap::new();
        self.guests.values().for_each(|subnet| *counts.entry(*subnet).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(subnet, _)| subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(lobby: &mut Lobby, token: usize, ip: [u8; 4]) -> Option<usize> {
        lobby.enter(Token(token), IpAddr::from(ip)).map(|token| token.0)
    }

    #[test]
    fn a_network_has_eight_places_and_its_oldest_gives_way() {
        let mut lobby = Lobby::new(256);
        for token in 1..=8_u8 {
            assert_eq!(enter(&mut lobby, token.into(), [203, 0, 113, token]), None);
        }
        assert_eq!(enter(&mut lobby, 9, [203, 0, 114, 1]), None, "another network");
        assert_eq!(enter(&mut lobby, 10, [203, 0, 113, 9]), Some(1));
        lobby.leave(Token(2));
        assert_eq!(enter(&mut lobby, 11, [203, 0, 113, 9]), None);
        assert_eq!(enter(&mut lobby, 12, [203, 0, 113, 9]), Some(3));
    }

    #[test]
    fn a_full_lobby_has_room_at_the_cost_of_the_largest_crowd() {
        let mut lobby = Lobby::new(20);
        enter(&mut lobby, 1, [203, 0, 113, 1]);
        for token in 2..=20 {
            assert_eq!(enter(&mut lobby, token, [127, 0, 0, 1]), None, "no limit but that of all");
        }
        assert_eq!(enter(&mut lobby, 21, [198, 51, 100, 1]), Some(2));
        assert_eq!(enter(&mut lobby, 22, [127, 0, 0, 1]), Some(3));
        assert_eq!(lobby.guests.len(), 20);
        assert!(lobby.guests.contains_key(&Token(1)), "whoever is alone keeps the place");
    }

    #[test]
    fn six_bytes_of_an_address_make_a_network() {
        let of = |text: &str| Subnet::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:7:1::1"), of("2001:db8:7:2::9"));
        assert_ne!(of("2001:db8:7::1"), of("2001:db8:8::1"));
        assert_eq!(of("::ffff:203.0.113.1"), of("203.0.113.200"));
        assert_eq!(of("192.168.1.1"), of("::1"));
    }
}
