//! Addresses that are avoided for a while, because a peer there broke a rule.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::port::Millis;

/// Addresses remembered; the one that would be free first goes when one more comes.
const MAX_DISCOURAGED: usize = 1024;

/// Until when which address is avoided. Never holds an address of this machine: the programs on
/// it share one.
#[derive(Debug, Default)]
pub(crate) struct Discouraged(BTreeMap<IpAddr, Millis>);

impl Discouraged {
    pub(crate) fn insert(&mut self, ip: IpAddr, until: Millis) {
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return;
        }
        self.0.insert(ip, until);
        if self.0.len() > MAX_DISCOURAGED {
            let first = self.0.iter().min_by_key(|(_, until)| **until).map(|(ip, _)| *ip);
            self.0.remove(&first.expect("more than the maximum, so not empty"));
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr, now: Millis) -> bool {
        self.0.get(&ip.to_canonical()).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_avoided_until_their_time_is_up() {
        let mut list = Discouraged::default();
        let ip = |last| IpAddr::from([203, 0, 113, last]);
        list.insert(ip(1), Millis(100));
        list.insert(IpAddr::from([127, 0, 0, 1]), Millis(100));
        assert!(list.contains(ip(1), Millis(99)) && !list.contains(ip(1), Millis(100)));
        assert!(!list.contains(IpAddr::from([127, 0, 0, 1]), Millis(0)));
        assert!(list.contains("::ffff:203.0.113.1".parse().unwrap(), Millis(0)));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut list = Discouraged::default();
        for number in 0..2000_u32 {
            list.insert(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), Millis(number.into()));
        }
        assert_eq!(list.0.len(), MAX_DISCOURAGED);
        assert!(list.contains(IpAddr::from((0x0a00_0000_u32 + 1999).to_be_bytes()), Millis(0)));
    }
}
