//! One miner's connection, as the server sees it: no socket, no clock, no knowledge of who is
//! paid. Lines go in; lines to send and [`Event`]s for the server come out.
//!
//! Every submission is answered with one of Stratum's codes, and every share is tried against
//! its job's own network target as well as its share target: whoever finds a block is never told
//! that the share was too easy. Memory is bounded: so many jobs, so many shares remembered.

#[cfg(test)]
mod properties;
mod request;
mod shares;
#[cfg(test)]
mod tests;
mod vardiff;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::text;
use crate::job::Job;
pub use request::{Reject, refusal};
use request::{Request, Submission};
pub use shares::Share;
use shares::{EXTRANONCE2_BYTES, Free, Issued, MANY_SHARES, easiest_exponent};
use vardiff::Vardiff;

/// Jobs a miner may still send shares of. A new one comes every 30 s, and with every change of
/// difficulty.
pub const MAX_JOBS: usize = 16;

/// A step up by so many factors of two shows that far too many shares are on their way.
const FLOOD_STEP: i32 = 3;

/// Bits 5 to 12 of the version tell the copies of one job apart: they mean nothing, and no miner
/// rolls them (BIP 320).
const VARIANTS: u32 = 0xff;
const VARIANT_SHIFT: u32 = 5;

/// Workers that one connection can speak for.
const MAX_USERS: usize = 16;

/// Answers `client.get_version`.
const AGENT: &str = concat!("graven/", env!("CARGO_PKG_VERSION"));

/// What the server must know of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Nothing.
    Served,
    /// A request that made no sense; a client of another protocol sends one after the other.
    Nonsense,
    /// Somebody wants to mine: answer with [`Session::authorise`].
    Authorize(Login),
    /// A share was sent, and this became of it. The miner has its answer.
    Share {
        /// Whose.
        user: String,
        /// How it was found.
        verdict: Result<Share, Reject>,
    },
}

/// A `mining.authorize` to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    id: Value,
    /// The user's name.
    pub user: String,
}

/// One connection.
pub struct Session {
    extranonce1: u32,
    allowed_mask: u32,
    version_mask: u32,
    is_subscribed: bool,
    users: Vec<String>,
    jobs: VecDeque<Issued>,
    next_job: u64,
    /// How often the newest job was given again.
    repeats: u32,
    vardiff: Vardiff,
    /// As last sent to the miner.
    exponent: Option<i32>,
    output: Vec<u8>,
}

impl Session {
    /// A connection whose miner rolls the low half of the extranonce with `extranonce1` before
    /// it, and at most the version bits of `version_mask`.
    #[must_use]
    pub fn new(now_ms: u64, extranonce1: u32, version_mask: u32) -> Session {
        Session {
            extranonce1,
            allowed_mask: version_mask,
            version_mask: 0,
            is_subscribed: false,
            users: Vec::new(),
            jobs: VecDeque::new(),
            next_job: 1,
            repeats: 0,
            vardiff: Vardiff::new(now_ms),
            exponent: None,
            output: Vec::new(),
        }
    }

    /// Whether it can be given jobs.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_subscribed && !self.users.is_empty()
    }

    /// The users that may send shares.
    #[must_use]
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// The difficulty of its shares, as it was told.
    #[must_use]
    pub fn difficulty(&self) -> Option<f64> {
        self.exponent.map(|exponent| 2f64.powi(exponent))
    }

    /// Lines to send, whole; empty when there are none.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Serves a line, without its end.
    pub fn line(&mut self, now_ms: u64, line: &[u8]) -> Event {
        let (id, request) = request::parse(line);
        let answer = match request {
            Err(reject) => {
                self.reply(&id, Err(reject));
                return Event::Nonsense;
            }
            Ok(Request::Submit(submission)) => return self.submitted(now_ms, &id, submission),
            Ok(Request::Authorize { .. }) if !self.is_subscribed => Err(Reject::NotSubscribed),
            Ok(Request::Authorize { user }) => return Event::Authorize(Login { id, user }),
            Ok(Request::Answer) => return Event::Served,
            Ok(Request::Subscribe) => Ok(self.subscribe()),
            Ok(Request::Configure { extensions, mask }) => Ok(self.configure(&extensions, mask)),
            Ok(Request::SuggestDifficulty(difficulty)) => {
                self.vardiff.suggest(now_ms, difficulty);
                Ok(true.into())
            }
            Ok(Request::Agreed) => Ok(true.into()),
            Ok(Request::Ping) => Ok("pong".into()),
            Ok(Request::Version) => Ok(AGENT.into()),
            Ok(Request::Unknown(method)) => {
                Err(Reject::other(format!("unknown method {method:?}")))
            }
        };
        self.reply(&id, answer);
        Event::Served
    }

    /// Answers a login. Give it a job afterwards.
    pub fn authorise(&mut self, login: Login, answer: Result<(), String>) {
        let Login { id, user } = login;
        let answer = answer.map_err(Reject::Unauthorised).and_then(|()| {
            let is_new = !self.users.contains(&user);
            if is_new && self.users.len() == MAX_USERS {
                return Err(Reject::Unauthorised(format!("at most {MAX_USERS} workers")));
            }
            self.users.extend(is_new.then_some(user));
            Ok(true.into())
        });
        self.reply(&id, answer);
    }

    /// Gives the miner a job. When the tip has moved, [`Session::forget_jobs`] comes before.
    ///
    /// A job that it has already is given with another version, so that the miner does not begin
    /// again with the same headers (ESP-Miner), or think it knows the job (minerd).
    pub fn give(&mut self, job: &Arc<Job>) {
        let exponent = self.vardiff.exponent().min(easiest_exponent(job.target));
        // Miners drop what they do for a clean job, and finish it otherwise.
        let is_flood = self.exponent.is_some_and(|before| exponent >= before + FLOOD_STEP);
        let clean = self.jobs.is_empty() || is_flood;
        if self.exponent != Some(exponent) {
            self.exponent = Some(exponent);
            self.repeat_difficulty();
        }
        let id = self.next_job;
        self.next_job += 1;
        let is_again = self.jobs.back().is_some_and(|newest| newest.job.id == job.id);
        self.repeats = if is_again { self.repeats + 1 } else { 0 };
        let job = self.variant(job);
        self.output.extend(request::notification("mining.notify", &notify_params(id, &job, clean)));
        if self.jobs.len() == MAX_JOBS {
            self.jobs.pop_front();
        }
        self.jobs.push_back(Issued::new(id, job, exponent));
    }

    /// Says once more how difficult shares are. Without any line for minutes miners hang up.
    pub fn repeat_difficulty(&mut self) {
        let exponent = *self.exponent.get_or_insert(self.vardiff.exponent());
        let params = json!([shown_difficulty(exponent)]);
        self.output.extend(request::notification("mining.set_difficulty", &params));
    }

    /// The job as it is given this time.
    fn variant(&self, job: &Arc<Job>) -> Arc<Job> {
        match self.repeats & VARIANTS {
            0 => Arc::clone(job),
            variant => {
                Arc::new(Job { version: job.version | variant << VARIANT_SHIFT, ..(**job).clone() })
            }
        }
    }

    /// Makes every job stale.
    pub fn forget_jobs(&mut self) {
        self.jobs.clear();
    }

    /// Judges how fast the miner is, and whether it should be given a job again though nothing
    /// has changed but its difficulty.
    pub fn wants_job(&mut self, now_ms: u64) -> bool {
        let Some(newest) = self.jobs.back() else { return false };
        self.vardiff.adjust(now_ms);
        let exponent = self.vardiff.exponent().min(easiest_exponent(newest.job.target));
        self.exponent != Some(exponent) || newest.shares() >= MANY_SHARES
    }

    fn reply(&mut self, id: &Value, answer: Result<Value, Reject>) {
        self.output.extend(request::reply(id, answer));
    }

    fn subscribe(&mut self) -> Value {
        self.is_subscribed = true;
        let extranonce1 = text::hex(&self.extranonce1.to_le_bytes());
        let subscriptions =
            ["mining.set_difficulty", "mining.notify"].map(|name| [name, &extranonce1]);
        json!([subscriptions, extranonce1, EXTRANONCE2_BYTES])
    }

    /// BIP 310. A miner that asks for bits we do not give gets those that both have.
    fn configure(&mut self, extensions: &[String], mask: u32) -> Value {
        let mut answer = Map::new();
        for extension in extensions {
            let is_known = match extension.as_str() {
                "version-rolling" => {
                    self.version_mask = self.allowed_mask & mask;
                    let mask = text::hex_u32(self.version_mask);
                    answer.insert("version-rolling.mask".to_string(), mask.into());
                    true
                }
                // The connection's extranonce never changes.
                "subscribe-extranonce" => true,
                _ => false,
            };
            answer.insert(extension.clone(), is_known.into());
        }
        answer.into()
    }

    fn submitted(&mut self, now_ms: u64, id: &Value, submission: Submission) -> Event {
        let verdict = self.judge(now_ms, &submission);
        self.reply(id, verdict.as_ref().map(|_| true.into()).map_err(Clone::clone));
        let user = submission.user;
        Event::Share { user, verdict }
    }

    fn judge(&mut self, now_ms: u64, submission: &Submission) -> Result<Share, Reject> {
        if !self.is_subscribed {
            return Err(Reject::NotSubscribed);
        }
        let is_known = self.users.contains(&submission.user);
        if !is_known && self.users.is_empty() {
            return Err(unauthorised(&submission.user));
        }
        let id = u64::from_str_radix(&submission.job_id, 16).map_err(|_| Reject::Stale)?;
        let issued = self.jobs.iter_mut().find(|issued| issued.id == id).ok_or(Reject::Stale)?;
        let free = Free { extranonce1: self.extranonce1, version_mask: self.version_mask };
        let solution = free.solution(&issued.job, submission)?;
        let judged = issued.judge(solution);
        // Whoever found it: a block of this connection pays who is paid here.
        if !is_known && !judged.as_ref().is_ok_and(|share| share.is_block) {
            return Err(unauthorised(&submission.user));
        }
        let share = judged?;
        self.vardiff.share(now_ms, issued.exponent);
        Ok(share)
    }
}

fn unauthorised(user: &str) -> Reject {
    Reject::Unauthorised(format!("{user:?} is not authorised on this connection"))
}

/// Whole numbers without a decimal point, as every parser takes them.
fn shown_difficulty(exponent: i32) -> Value {
    match u32::try_from(exponent) {
        Ok(exponent) if exponent < u64::BITS => (1u64 << exponent).into(),
        _ => 2f64.powi(exponent).into(),
    }
}

fn notify_params(id: u64, job: &Job, clean: bool) -> Value {
    let branch: Vec<String> = job.branch.iter().map(|hash| text::hex(&hash.0)).collect();
    json!([
        format!("{id:x}"),
        text::hex_prev(&job.prev),
        text::hex(&job.coinbase_prefix),
        text::hex(&job.coinbase_suffix),
        branch,
        text::hex_u32(job.version),
        text::hex_u32(job.bits.0),
        text::hex_u32(job.time),
        clean,
    ])
}
