//! Network groups: addresses that one party can have many of at little cost.
//!
//! Whoever has one address often has its neighbours, but seldom addresses all over the network.
//! So the address book, the choice of whom to dial and that of whom to evict count groups where
//! they would otherwise count addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The part of the network an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// This machine and the networks around it: loopback, private, link-local.
    Local,
    /// The first 16 bits of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u8; 4]),
}

impl Group {
    /// The group of an address. IPv4 addresses in IPv6 clothes count as IPv4.
    pub fn of(ip: IpAddr) -> Group {
        if distance(ip) < Distance::Far {
            return Group::Local;
        }
        match ip.to_canonical() {
            IpAddr::V4(ip) => Group::V4([ip.octets()[0], ip.octets()[1]]),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Group::V6([a, b, c, d])
            }
        }
    }

    /// Bytes that tell it from every other group.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Group::Local => vec![0],
            Group::V4(bytes) => [&[4][..], &bytes].concat(),
            Group::V6(bytes) => [&[6][..], &bytes].concat(),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Local => f.write_str("local"),
            Group::V4([a, b]) => write!(f, "{}/16", Ipv4Addr::new(*a, *b, 0, 0)),
            Group::V6(bytes) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(bytes);
                write!(f, "{}/32", Ipv6Addr::from(octets))
            }
        }
    }
}

/// How far away an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Machine,
    Neighbourhood,
    Far,
}

fn distance(ip: IpAddr) -> Distance {
    let near = match ip.to_canonical() {
        ip if ip.is_loopback() => return Distance::Machine,
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if near { Distance::Neighbourhood } else { Distance::Far }
}

/// Whether an address heard of from a peer at `from` can be a node's: not a group's, not
/// nobody's, and no nearer than the peer itself. What is near to a distant peer is not near to us.
pub fn is_plausible(address: &SocketAddr, from: IpAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !broadcast
        && distance(ip) >= distance(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_a_group() {
        for (ip, group) in [
            ("203.0.113.7", "203.0.0.0/16"),
            ("203.0.255.1", "203.0.0.0/16"),
            ("203.1.0.1", "203.1.0.0/16"),
            ("::ffff:203.0.113.7", "203.0.0.0/16"),
            ("2001:db8:1::1", "2001:db8::/32"),
            ("127.9.9.9", "local"),
            ("10.1.2.3", "local"),
            ("192.168.0.1", "local"),
            ("169.254.0.1", "local"),
            ("::1", "local"),
            ("fd00::1", "local"),
            ("fe80::1", "local"),
            ("::ffff:10.0.0.1", "local"),
        ] {
            assert_eq!(Group::of(ip.parse().unwrap()).to_string(), group, "{ip}");
        }
        let groups = ["203.0.0.1", "203.1.0.1", "2001:db8::1", "10.0.0.1", "4.203.0.0"];
        let bytes = groups.map(|ip| Group::of(ip.parse().unwrap()).bytes());
        assert!((1..groups.len()).all(|at| !bytes[..at].contains(&bytes[at])));
    }

    #[test]
    fn implausible_addresses_are_named() {
        let [far, near, here] =
            ["203.0.113.1", "10.0.0.1", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let plausible = |text: &str, from| is_plausible(&text.parse().unwrap(), from);
        assert!(plausible("11.0.0.1:7400", far) && plausible("[2001:db8::1]:1", here));
        assert!(plausible("127.0.0.1:7400", here) && !plausible("127.0.0.1:7400", near));
        assert!(plausible("10.0.0.9:1", near) && plausible("10.0.0.9:1", here));
        assert!(!plausible("10.0.0.9:1", far) && !plausible("[fd00::1]:1", far));
        for bad in ["11.0.0.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1"] {
            assert!(!plausible(bad, here), "{bad}");
        }
        assert!(!plausible("[::ffff:127.0.0.1]:1", far));
    }
}
