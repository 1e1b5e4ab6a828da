//! `BAN`, `UNBAN`, `BANS`: the admin port has the list, the protocol obeys it.

use net::{Ban, Input, Millis, Subnet};
use serde_json::{Value, json};

use super::Admin;
use crate::bans::BanList;
use crate::reply::Failure;

impl Admin {
    pub(super) fn ban(&mut self, subnet: Subnet, seconds: u64) -> Result<Value, Failure> {
        let until = self.now + seconds.saturating_mul(1000);
        let bans = self.bans.with(Ban { subnet, until }, self.now)?;
        self.set_bans(bans)?;
        Ok(show(&Ban { subnet, until }, self.now))
    }

    pub(super) fn unban(&mut self, subnet: Subnet) -> Result<Value, Failure> {
        let bans = self.bans.without(&subnet, self.now)?;
        self.set_bans(bans)?;
        Ok(json!({ "unbanned": subnet.to_string() }))
    }

    pub(super) fn show_bans(&self) -> Value {
        self.bans.list(self.now).iter().map(|ban| show(ban, self.now)).collect()
    }

    /// Tells the protocol first: if it has no room for news, nothing has changed.
    fn set_bans(&mut self, bans: BanList) -> Result<(), Failure> {
        (self.joints.tell_protocol)(Input::Bans(bans.list(self.now)))?;
        let saved = (self.joints.save_bans)(bans.clone());
        self.bans = bans;
        saved
    }
}

fn show(ban: &Ban, now: Millis) -> Value {
    json!({
        "banned": ban.subnet.to_string(),
        "until": ban.until.0 / 1000,
        "left_s": (ban.until - now) / 1000,
    })
}
