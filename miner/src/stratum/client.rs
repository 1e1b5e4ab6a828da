//! A miner's side of Stratum v1, without IO: lines and finds in, lines and jobs out.
//!
//! A [`Session`] outlives connections: it counts jobs over all of them, so that a find of an old
//! one is never taken for one of a new one. Whatever a server sends, a session answers or ends
//! the connection with a reason; what it keeps is bounded by the constants below and in
//! `message.rs`.
//!
//! The dialogue: `mining.configure` (version rolling), `mining.subscribe`; after its answer
//! `mining.authorize` and `mining.extranonce.subscribe`; then jobs and shares. Only the answers to
//! subscribe and authorize matter, all others may be anything or never come.

mod link;
mod message;
mod port;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod work;

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::job::Solution;
use link::{Asked, Link};
use message::{Call, Message};
use work::Work;

pub use message::MAX_LINE;
pub use port::{Event, Failure, Input, Output, Refusal, Verdict};

/// What we call ourselves.
const AGENT: &str = concat!("graven/", env!("CARGO_PKG_VERSION"));
/// The server must have authorised us so long after the connection.
const BEGINNING_LIMIT: Duration = Duration::from_secs(30);
/// The server must say something so often; they repeat jobs at least every minute or two.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);
/// A share that was not answered for so long is lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Most shares without an answer; further ones are not sent. Pools set a difficulty that a miner
/// meets a few times a minute; where shares come faster than answers, those that queued would be
/// stale when they are looked at.
const MAX_UNANSWERED: usize = 16;
/// Jobs whose shares are still sent: the newest of those that the server has not ended.
const MAX_TICKETS: usize = 8;

/// Where to mine, and as whom.
#[derive(Clone, Debug)]
pub struct Account {
    /// The server's host, to know it in `client.reconnect`.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The user, also called the worker.
    pub user: String,
    /// The password; most servers take any.
    pub password: String,
}

/// Mines for one account at one server, over any number of connections.
///
/// `now` is the time since any moment that stays the same, and never goes back.
#[derive(Debug)]
pub struct Session {
    account: Account,
    link: Option<Link>,
    /// Of the newest job.
    serial: u64,
    outbox: VecDeque<Output>,
}

impl Session {
    /// Begins without a connection.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self { account, link: None, serial: 0, outbox: VecDeque::new() }
    }

    /// Takes an input; [`Session::poll`] tells what follows from it.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Connected => self.connected(now),
            Input::Disconnected => self.disconnected(),
            Input::Line(line) => {
                if let Some(link) = &mut self.link {
                    link.heard = now;
                    let result = self.line(&line);
                    self.check(result);
                }
            }
            Input::Found(solution) => self.found(now, &solution),
            Input::Tick => {}
        }
        let result = self.expire(now);
        self.check(result);
    }

    /// Returns what is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when a [`Input::Tick`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let link = self.link.as_ref()?;
        let beginning = (!link.is_authorised).then_some(link.since + BEGINNING_LIMIT);
        let shares = link.asked.values().filter_map(|asked| match asked {
            Asked::Share { sent, .. } => Some(*sent + ANSWER_LIMIT),
            _ => None,
        });
        shares.chain(beginning).chain([link.heard + SILENCE_LIMIT]).min()
    }

    fn connected(&mut self, now: Duration) {
        self.disconnected();
        let mut link = Link::new(now);
        let rolling = json!([["version-rolling"], {"version-rolling.mask": "ffffffff"}]);
        self.outbox.push_back(link.ask(Asked::Configure, "mining.configure", rolling));
        self.outbox.push_back(link.ask(Asked::Subscribe, "mining.subscribe", json!([AGENT])));
        self.link = Some(link);
    }

    fn disconnected(&mut self) {
        let Some(link) = self.link.take() else { return };
        let shares = link.asked.values().filter(|asked| matches!(asked, Asked::Share { .. }));
        self.outbox.extend(shares.map(|_| Output::Share(Verdict::Lost)));
        if link.current.is_some() {
            self.outbox.push_back(Output::Mine(None));
        }
    }

    /// Ends the connection if something failed.
    fn check(&mut self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.disconnected();
            self.outbox.push_back(Output::Failed(failure));
        }
    }

    fn expire(&mut self, now: Duration) -> Result<(), Failure> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if now >= link.heard + SILENCE_LIMIT {
            return Err(Failure::Silent(SILENCE_LIMIT));
        }
        if !link.is_authorised && now >= link.since + BEGINNING_LIMIT {
            return Err(Failure::NoBeginning(BEGINNING_LIMIT));
        }
        let before = link.asked.len();
        link.asked.retain(|_, asked| match asked {
            Asked::Share { sent, .. } => now < *sent + ANSWER_LIMIT,
            _ => true,
        });
        let lost = before - link.asked.len();
        self.outbox.extend((0..lost).map(|_| Output::Share(Verdict::Lost)));
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match message::parse(line)? {
            Message::Answer { id, result } => self.answered(id, result),
            Message::Call { id, call } => self.called(id, call),
        }
    }

    fn answered(&mut self, id: u64, result: Result<Value, Refusal>) -> Result<(), Failure> {
        let Some(link) = &mut self.link else { return Ok(()) };
        // An answer to nothing changes nothing.
        let Some(asked) = link.asked.remove(&id) else { return Ok(()) };
        match asked {
            Asked::Anything => Ok(()),
            Asked::Configure => {
                let mask = result.map_or(Ok(None), |result| message::configured(&result))?;
                self.version_mask(mask);
                Ok(())
            }
            Asked::Subscribe => {
                let result = result.map_err(|refusal| Failure::NotSubscribed(refusal.message))?;
                // The server may have set another in the meantime.
                let extranonce = message::subscription(&result)?;
                link.extranonce.get_or_insert(extranonce);
                let Account { user, password, .. } = &self.account;
                let who = json!([user, password]);
                self.outbox.push_back(link.ask(Asked::Authorise, "mining.authorize", who));
                let method = "mining.extranonce.subscribe";
                self.outbox.push_back(link.ask(Asked::Anything, method, json!([])));
                Ok(())
            }
            Asked::Authorise => {
                accepted(result).map_err(|refusal| Failure::NotAuthorised(refusal.message))?;
                link.is_authorised = true;
                self.outbox.push_back(Output::Event(Event::Authorised));
                self.mine();
                Ok(())
            }
            Asked::Share { serial, .. } => {
                self.judged(serial, accepted(result));
                Ok(())
            }
        }
    }

    fn called(&mut self, id: Value, call: Call) -> Result<(), Failure> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match call {
            Call::SetDifficulty(difficulty) => {
                if difficulty > 0.0 && difficulty != link.difficulty {
                    link.difficulty = difficulty;
                    self.outbox.push_back(Output::Event(Event::Difficulty(difficulty)));
                }
            }
            Call::Notify { notify, clean } => {
                // The same job told again goes on.
                let same = link.current.as_ref().filter(|(_, work)| work.notify == notify);
                let same = same.map(|(serial, _)| *serial);
                if clean {
                    link.tickets.retain(|ticket| Some(ticket.serial) == same);
                }
                link.notified = Some((notify, link.extranonce.clone(), link.difficulty));
                self.mine();
            }
            Call::SetExtranonce(extranonce) => link.extranonce = Some(extranonce),
            Call::SetVersionMask(mask) => {
                if link.version_mask.is_some() {
                    self.version_mask(Some(mask));
                }
            }
            Call::Reconnect { host, port, wait } => {
                return self.reconnect(host.as_deref(), port, wait);
            }
            Call::ShowMessage(text) => self.outbox.push_back(Output::Event(Event::Message(text))),
            Call::GetVersion => self.reply(id, json!(AGENT), Value::Null),
            Call::Ping => self.reply(id, json!("pong"), Value::Null),
            Call::Unknown => {
                self.reply(id, Value::Null, json!([-3, "method not found", null]));
            }
        }
        Ok(())
    }

    /// Answers a request; a notice is not answered.
    #[expect(clippy::needless_pass_by_value, reason = "the values become part of the line")]
    fn reply(&mut self, id: Value, result: Value, error: Value) {
        if !id.is_null() {
            let line = json!({"id": id, "result": result, "error": error});
            self.outbox.push_back(Output::Send(line.to_string()));
        }
    }

    fn reconnect(
        &mut self,
        host: Option<&str>,
        port: Option<u16>,
        wait: Duration,
    ) -> Result<(), Failure> {
        let Account { host: own_host, port: own_port, .. } = &self.account;
        let (host, port) = (host.unwrap_or(own_host), port.unwrap_or(*own_port));
        if host.eq_ignore_ascii_case(own_host) && port == *own_port {
            return Err(Failure::Reconnect { wait });
        }
        let foreign = message::shown(&format!("{host}:{port}"));
        self.outbox.push_back(Output::Event(Event::ForeignReconnect(foreign)));
        Ok(())
    }

    fn version_mask(&mut self, mask: Option<u32>) {
        let Some(link) = &mut self.link else { return };
        link.version_mask = mask;
        self.outbox.push_back(Output::Event(Event::VersionMask(mask)));
        if link.current.is_some() {
            self.mine();
        }
    }

    /// Mines the newest job, unless that is what is being mined already.
    fn mine(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_authorised) else { return };
        let Some((notify, extranonce, difficulty)) = &link.notified else { return };
        let Some(extranonce) = extranonce.as_ref().or(link.extranonce.as_ref()) else { return };
        let work = Work {
            notify: notify.clone(),
            extranonce: extranonce.clone(),
            difficulty: *difficulty,
            version_mask: link.version_mask,
        };
        let is_known = link.current.as_ref().is_some_and(|(_, current)| *current == work);
        let Some(job) = work.job(self.serial + 1).filter(|_| !is_known) else { return };
        self.serial += 1;
        link.tickets.push_back(work.ticket(self.serial));
        if link.tickets.len() > MAX_TICKETS {
            link.tickets.pop_front();
        }
        let id = message::shown(&work.notify.job_id);
        let event = Event::Job { id, difficulty: work.difficulty };
        link.current = Some((self.serial, work));
        self.outbox.extend([Output::Event(event), Output::Mine(Some(job))]);
    }

    fn found(&mut self, now: Duration, solution: &Solution) {
        let share = match &mut self.link {
            None => Output::Share(Verdict::Lost),
            Some(link) => {
                let mut tickets = link.tickets.iter();
                match tickets.find(|ticket| ticket.serial == solution.job_id) {
                    None => Output::Share(Verdict::Stale(replaced())),
                    Some(_) if link.unanswered() >= MAX_UNANSWERED => Output::Share(Verdict::Lost),
                    Some(ticket) => {
                        let params = ticket.share(&self.account.user, solution);
                        let asked = Asked::Share { serial: ticket.serial, sent: now };
                        link.ask(asked, "mining.submit", params)
                    }
                }
            }
        };
        self.outbox.push_back(share);
    }

    fn judged(&mut self, serial: u64, result: Result<(), Refusal>) {
        let Err(refusal) = result else {
            self.outbox.push_back(Output::Share(Verdict::Accepted));
            return;
        };
        if !refusal.is_stale() {
            self.outbox.push_back(Output::Share(Verdict::Rejected(refusal)));
            return;
        }
        self.outbox.push_back(Output::Share(Verdict::Stale(refusal)));
        let Some(link) = &mut self.link else { return };
        link.tickets.retain(|ticket| ticket.serial != serial);
        if link.current.take_if(|(current, _)| *current == serial).is_some() {
            self.outbox.extend([Output::Event(Event::JobGone), Output::Mine(None)]);
        }
    }
}

impl Refusal {
    fn is_stale(&self) -> bool {
        let message = self.message.to_lowercase();
        self.code == Some(21) || message.contains("stale") || message.contains("job not found")
    }
}

/// Whether an answer says yes.
fn accepted(result: Result<Value, Refusal>) -> Result<(), Refusal> {
    match result? {
        Value::Bool(true) => Ok(()),
        _ => Err(Refusal { code: None, message: "no reason is given".to_owned() }),
    }
}

fn replaced() -> Refusal {
    Refusal { code: None, message: "found after its job was replaced".to_owned() }
}
