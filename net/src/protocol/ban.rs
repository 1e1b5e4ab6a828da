//! Addresses that the operator wants nothing to do with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::port::Millis;

/// Bans that a list may have. Each connection is compared with all of them.
pub const MAX_BANS: usize = 1024;

/// An address, or all that begin with the same bits. IPv4 addresses in IPv6 clothes are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

/// Why a text is not a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an IP address nor ip/prefix")]
pub struct SubnetError;

impl Subnet {
    /// The addresses whose first `prefix` bits are those of `ip`; `None` when an address has
    /// fewer bits, or the prefix is of IPv4's IPv6 clothes only.
    pub fn new(ip: IpAddr, prefix: u8) -> Option<Subnet> {
        let clothes = width(ip) - width(ip.to_canonical());
        let (ip, prefix) = (ip.to_canonical(), prefix.checked_sub(clothes)?);
        (prefix <= width(ip)).then(|| Subnet { ip: first(ip, prefix), prefix })
    }

    /// Whether the address is one of it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        width(ip) == width(self.ip) && first(ip, self.prefix) == self.ip
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits after the prefix cleared.
fn first(ip: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix.parse().map_err(|_| SubnetError)?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| SubnetError)?;
        Subnet::new(ip, prefix.unwrap_or(width(ip))).ok_or(SubnetError)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        if self.prefix < width(self.ip) { write!(f, "/{}", self.prefix) } else { Ok(()) }
    }
}

/// A subnet that is banned for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Which.
    pub subnet: Subnet,
    /// When it ends.
    pub until: Millis,
}

/// The operator's bans.
#[derive(Debug, Default)]
pub(crate) struct Bans(BTreeMap<Subnet, Millis>);

impl Bans {
    /// The first [`MAX_BANS`] of the list.
    pub(crate) fn new(list: &[Ban]) -> Bans {
        Bans(list.iter().take(MAX_BANS).map(|ban| (ban.subnet, ban.until)).collect())
    }

    pub(crate) fn contains(&self, ip: IpAddr, now: Millis) -> bool {
        self.0.iter().any(|(subnet, until)| now < *until && subnet.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_survive_their_text_and_hold_what_they_say() {
        for (text, shown, inside, outside) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.7", "203.0.113.8"),
            ("203.0.113.7/32", "203.0.113.7", "::ffff:203.0.113.7", "203.0.113.6"),
            ("203.0.113.7/24", "203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
            ("203.0.113.7/0", "0.0.0.0/0", "1.2.3.4", "2001:db8::1"),
            ("2001:db8::7/32", "2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("2001:db8::7", "2001:db8::7", "2001:db8::7", "2001:db8::8"),
            ("::/0", "::/0", "2001:db8::1", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.7", "203.0.113.8"),
            ("::ffff:203.0.113.7/120", "203.0.113.0/24", "203.0.113.8", "203.0.114.8"),
        ] {
            let subnet: Subnet = text.parse().unwrap();
            assert_eq!(subnet.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(subnet));
            assert!(subnet.contains(inside.parse().unwrap()), "{text}: {inside}");
            assert!(!subnet.contains(outside.parse().unwrap()), "{text}: {outside}");
        }
        for wrong in [
            "",
            "/",
            "203.0.113.7/33",
            "203.0.113.7/-1",
            "::/129",
            "::ffff:1.2.3.4/95",
            "203.0.113",
            "a/8",
        ] {
            assert_eq!(wrong.parse::<Subnet>(), Err(SubnetError), "{wrong}");
        }
    }

    #[test]
    fn bans_end() {
        let ban = Ban { subnet: "203.0.113.0/24".parse().unwrap(), until: Millis(100) };
        let bans = Bans::new(&[ban]);
        let ip = "203.0.113.9".parse().unwrap();
        assert!(bans.contains(ip, Millis(99)) && !bans.contains(ip, Millis(100)));
    }
}
