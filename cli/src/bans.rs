//! The operator's bans: their list, and the file that keeps it.

use std::collections::BTreeMap;

use net::{Ban, MAX_BANS, Millis, Subnet};

use crate::reply::{Code, Failure};

/// Seconds a ban lasts when nothing else is said: a day, as in Bitcoin Core.
pub const DEFAULT_SECONDS: u64 = 24 * 3600;

/// Subnets and until when each is banned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanList(BTreeMap<Subnet, Millis>);

impl BanList {
    /// Reads what [`BanList::to_text`] wrote. Lines that are something else are left out; the
    /// second part names them by their numbers.
    pub fn from_text(text: &str) -> (BanList, Vec<usize>) {
        let (mut list, mut wrong) = (BanList::default(), Vec::new());
        for (number, line) in (1..).zip(text.lines()).take(MAX_BANS) {
            let ban = line.split_once(' ').and_then(|(subnet, until_s)| {
                let until_s: u64 = until_s.parse().ok()?;
                Some((subnet.parse().ok()?, Millis(until_s.saturating_mul(1000))))
            });
            match ban {
                Some((subnet, until)) => {
                    list.0.insert(subnet, until);
                }
                None => wrong.push(number),
            }
        }
        (list, wrong)
    }

    /// A ban a line: the subnet, a blank, and the Unix second at which it ends.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(subnet, until)| format!("{subnet} {}\n", until.0 / 1000)).collect()
    }

    /// The bans that have not ended.
    pub fn list(&self, now: Millis) -> Vec<Ban> {
        let bans = self.0.iter().map(|(subnet, until)| Ban { subnet: *subnet, until: *until });
        bans.filter(|ban| now < ban.until).collect()
    }

    /// The list with one more ban, or another end for one that is there, and without those that
    /// have ended.
    ///
    /// # Errors
    /// When there are too many.
    pub fn with(&self, ban: Ban, now: Millis) -> Result<BanList, Failure> {
        let mut more = self.clone();
        more.0.retain(|_, until| now < *until);
        more.0.insert(ban.subnet, ban.until);
        if more.0.len() > MAX_BANS {
            let what = format!("there are {MAX_BANS} bans already; ban larger subnets");
            return Err(Failure::new(Code::Refused, what));
        }
        Ok(more)
    }

    /// The list without a ban.
    ///
    /// # Errors
    /// When it is not there, or has ended.
    pub fn without(&self, subnet: &Subnet, now: Millis) -> Result<BanList, Failure> {
        let mut less = self.clone();
        less.0.retain(|_, until| now < *until);
        match less.0.remove(subnet) {
            Some(_) => Ok(less),
            None => Err(Failure::new(Code::NotFound, format!("{subnet} is not banned"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(subnet: &str, until_s: u64) -> Ban {
        Ban { subnet: subnet.parse().unwrap(), until: Millis(until_s * 1000) }
    }

    #[test]
    fn bans_survive_their_text_and_wrong_lines_are_named() {
        let list = BanList::default();
        let list = list.with(ban("203.0.113.7/24", 100), Millis(0)).unwrap();
        let list = list.with(ban("2001:db8::1", 200), Millis(0)).unwrap();
        let text = list.to_text();
        assert_eq!(text, "203.0.113.0/24 100\n2001:db8::1 200\n");
        assert_eq!(BanList::from_text(&text), (list.clone(), vec![]));
        let text = format!("nonsense\n{text}1.2.3.4\n1.2.3.4/40 7\n1.2.3.4 soon\n");
        assert_eq!(BanList::from_text(&text), (list, vec![1, 4, 5, 6]));
    }

    #[test]
    fn bans_end_and_are_taken_back() {
        let list = BanList::default().with(ban("1.2.3.4", 100), Millis(0)).unwrap();
        assert_eq!(list.list(Millis(99_999)), [ban("1.2.3.4", 100)]);
        assert_eq!(list.list(Millis(100_000)), []);
        let subnet = "1.2.3.4".parse().unwrap();
        assert_eq!(list.without(&subnet, Millis(5)), Ok(BanList::default()));
        assert_eq!(list.without(&subnet, Millis(100_000)).unwrap_err().code, Code::NotFound);
        let other = list.with(ban("5.6.7.8", 300), Millis(100_000)).unwrap();
        assert_eq!(other.to_text(), "5.6.7.8 300\n", "ended ones are not kept");
    }

    #[test]
    fn there_are_not_too_many() {
        let text: String =
            (0..3000).map(|at| format!("10.0.{}.{} 9\n", at / 256, at % 256)).collect();
        let (list, _) = BanList::from_text(&text);
        assert_eq!(list.list(Millis(0)).len(), MAX_BANS);
        assert_eq!(list.with(ban("1.2.3.4", 9), Millis(0)).unwrap_err().code, Code::Refused);
        assert!(list.with(ban("10.0.0.1", 9), Millis(0)).is_ok(), "it is there already");
        assert!(list.with(ban("1.2.3.4", 99), Millis(9000)).is_ok(), "the others have ended");
    }
}
