//! One miner's connection, as the server sees it: no socket, no clock, no knowledge of who is
//! paid. Lines go in; lines to send and [`Event`]s for the server come out.
//!
//! Every submission is answered with one of Stratum's codes, and every share is tried against
//! its job's own network target as well as its share target: whoever finds a block is never told
//! that the share was too easy. Memory is bounded: so many jobs, so many shares remembered.

mod request;
#[cfg(test)]
mod tests;
mod vardiff;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::difficulty::{self, EASIEST_ONE};
use super::text;
use crate::job::{Job, Solution};
use crate::pow::{Hash, Target, sha256d};
pub use request::{Reject, refusal};
use request::{Request, Submission};
use vardiff::{MIN_EXPONENT, Vardiff};

/// The extranonce bytes a miner rolls. All miners take 4; some hardware no less than 3.
const EXTRANONCE2_BYTES: usize = 4;

/// Jobs a miner may still send shares of. A new one comes every 30 s, and with every change of
/// difficulty.
pub const MAX_JOBS: usize = 16;

/// Shares of one job that are remembered, to tell duplicates. More are not taken, unless they
/// make a block: a miner so fast is given a new job before.
const MAX_SHARES: usize = 128;

/// Shares of its newest job after which a miner should get the next one.
const MANY_SHARES: usize = MAX_SHARES / 2;

/// Workers that one connection can speak for.
const MAX_USERS: usize = 16;

/// How far a miner may roll a job's time, in seconds. Miners that cannot roll versions fast
/// enough roll the time by a minute (cgminer); two hours is what pools allow.
const TIME_ROLL_S: u32 = 7200;

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

/// A share that meets its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The job it is of.
    pub job: Arc<Job>,
    /// What was found; its `job_id` is the job's.
    pub solution: Solution,
    /// The header's hash.
    pub hash: Hash,
    /// The difficulty that was asked for.
    pub difficulty: f64,
    /// Whether the hash meets the network's target: it makes a block.
    pub is_block: bool,
}

/// A job as it was given to this miner.
struct Issued {
    id: u64,
    job: Arc<Job>,
    exponent: i32,
    /// Extranonce, time, nonce and version of each share.
    seen: BTreeSet<(u64, u32, u32, u32)>,
}

/// What the connection's clock says.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The latest time that a header may have now, in seconds since the Unix epoch.
    pub latest_s: u32,
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
    vardiff: Vardiff,
    /// As last sent to the miner.
    exponent: Option<i32>,
    output: Vec<u8>,
}

impl Session {
    /// A connection whose miner rolls the low half of the extranonce with `extranonce1` before
    /// it, and at most the version bits of `version_mask`.
    #[must_use]
    pub fn new(now: Now, extranonce1: u32, version_mask: u32) -> Session {
        Session {
            extranonce1,
            allowed_mask: version_mask,
            version_mask: 0,
            is_subscribed: false,
            users: Vec::new(),
            jobs: VecDeque::new(),
            next_job: 1,
            vardiff: Vardiff::new(now.unix_ms),
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
    pub fn line(&mut self, now: Now, line: &[u8]) -> Event {
        let (id, request) = request::parse(line);
        let answer = match request {
            Err(reject) => {
                self.reply(&id, Err(reject));
                return Event::Nonsense;
            }
            Ok(Request::Submit(submission)) => return self.submitted(now, &id, submission),
            Ok(Request::Authorize { .. }) if !self.is_subscribed => Err(Reject::NotSubscribed),
            Ok(Request::Authorize { user }) => return Event::Authorize(Login { id, user }),
            Ok(Request::Answer) => return Event::Served,
            Ok(Request::Subscribe) => Ok(self.subscribe()),
            Ok(Request::Configure { extensions, mask }) => Ok(self.configure(&extensions, mask)),
            Ok(Request::SuggestDifficulty(difficulty)) => {
                self.vardiff.suggest(now.unix_ms, difficulty);
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
    /// Miners drop what they do for a `clean` job, and finish it otherwise.
    pub fn give(&mut self, job: Arc<Job>) {
        let exponent = self.vardiff.exponent().min(easiest_exponent(job.target));
        if self.exponent != Some(exponent) {
            self.exponent = Some(exponent);
            let params = json!([shown_difficulty(exponent)]);
            self.output.extend(request::notification("mining.set_difficulty", &params));
        }
        let id = self.next_job;
        self.next_job += 1;
        let clean = self.jobs.is_empty();
        self.output.extend(request::notification("mining.notify", &notify_params(id, &job, clean)));
        if self.jobs.len() == MAX_JOBS {
            self.jobs.pop_front();
        }
        self.jobs.push_back(Issued { id, job, exponent, seen: BTreeSet::new() });
    }

    /// Makes every job stale.
    pub fn forget_jobs(&mut self) {
        self.jobs.clear();
    }

    /// Judges how fast the miner is, and whether it should be given a job again though nothing
    /// has changed but its difficulty.
    pub fn wants_job(&mut self, now: Now) -> bool {
        let Some(newest) = self.jobs.back() else { return false };
        self.vardiff.adjust(now.unix_ms);
        let exponent = self.vardiff.exponent().min(easiest_exponent(newest.job.target));
        self.exponent != Some(exponent) || newest.seen.len() >= MANY_SHARES
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

    fn submitted(&mut self, now: Now, id: &Value, submission: Submission) -> Event {
        let verdict = self.judge(now, &submission);
        self.reply(id, verdict.as_ref().map(|_| true.into()).map_err(Clone::clone));
        let user = submission.user;
        Event::Share { user, verdict }
    }

    fn judge(&mut self, now: Now, submission: &Submission) -> Result<Share, Reject> {
        if !self.is_subscribed {
            return Err(Reject::NotSubscribed);
        }
        if !self.users.contains(&submission.user) {
            let what = format!("{:?} is not authorised on this connection", submission.user);
            return Err(Reject::Unauthorised(what));
        }
        let id = u64::from_str_radix(&submission.job_id, 16).map_err(|_| Reject::Stale)?;
        let issued = self.jobs.iter_mut().find(|issued| issued.id == id).ok_or(Reject::Stale)?;
        let free = Free { extranonce1: self.extranonce1, version_mask: self.version_mask };
        let solution = free.solution(now, &issued.job, submission)?;
        let share = issued.judge(solution)?;
        self.vardiff.share(now.unix_ms, issued.exponent);
        Ok(share)
    }
}

impl Issued {
    fn judge(&mut self, solution: Solution) -> Result<Share, Reject> {
        let Solution { version, extranonce, time, nonce, .. } = solution;
        let free = (extranonce, time, nonce, version);
        if self.seen.contains(&free) {
            return Err(Reject::Duplicate);
        }
        let hash = sha256d(&self.job.header(&solution));
        let is_block = self.job.target.is_met_by(&hash);
        if !is_block {
            if !share_target(self.exponent).is_met_by(&hash) {
                return Err(Reject::Low);
            }
            if self.seen.len() >= MAX_SHARES {
                return Err(Reject::other("too many shares of one job: take the next one"));
            }
        }
        if self.seen.len() < MAX_SHARES {
            self.seen.insert(free);
        }
        let difficulty = 2f64.powi(self.exponent);
        Ok(Share { job: Arc::clone(&self.job), solution, hash, difficulty, is_block })
    }
}

/// What a miner may choose on a connection.
struct Free {
    extranonce1: u32,
    version_mask: u32,
}

impl Free {
    fn solution(&self, now: Now, job: &Job, words: &Submission) -> Result<Solution, Reject> {
        let extranonce2 = text::unhex(&words.extranonce2)
            .and_then(|bytes| <[u8; EXTRANONCE2_BYTES]>::try_from(bytes).ok())
            .ok_or_else(|| Reject::other("extranonce2 has 8 hex digits"))?;
        let number = |word: &str, what: &str| {
            text::unhex_u32(word).ok_or_else(|| Reject::other(format!("{what} has 8 hex digits")))
        };
        let time = number(&words.time, "ntime")?;
        let nonce = number(&words.nonce, "the nonce")?;
        let bits = words.version_bits.as_deref();
        let bits = bits.map_or(Ok(0), |word| number(word, "the version"))?;
        if bits & !self.version_mask != 0 {
            let mask = text::hex_u32(self.version_mask);
            return Err(Reject::other(format!("version bits outside of the mask {mask}")));
        }
        let latest = job.time.saturating_add(TIME_ROLL_S).min(now.latest_s).max(job.time);
        if !(job.time..=latest).contains(&time) {
            let (from, to) = (text::hex_u32(job.time), text::hex_u32(latest));
            return Err(Reject::other(format!("ntime out of range, which is {from} to {to}")));
        }
        let high = u64::from(u32::from_le_bytes(extranonce2));
        let extranonce = high << 32 | u64::from(self.extranonce1);
        Ok(Solution { job_id: job.id, version: job.version | bits, extranonce, time, nonce })
    }
}

/// The target of a share of difficulty 2^`exponent`. With [`EASIEST_ONE`], else one share in
/// 65,536 of cpuminer-opt, which counts so, would be refused.
fn share_target(exponent: i32) -> Target {
    difficulty::target(2f64.powi(exponent), EASIEST_ONE).expect("a power of two is positive")
}

/// The largest exponent whose shares are no harder than blocks are: otherwise a miner would
/// throw blocks away.
fn easiest_exponent(target: Target) -> i32 {
    let bits = i32::try_from(target.to_uint().bit_len()).expect("at most 256");
    (224 - bits).max(MIN_EXPONENT)
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
