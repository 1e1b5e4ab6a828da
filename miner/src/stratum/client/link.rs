//! What belongs to one connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use super::message::{Extranonce, Notify};
use super::port::Output;
use super::work::{Ticket, Work};

/// The difficulty until the server sets one.
const FIRST_DIFFICULTY: f64 = 1.0;

/// One connection's state.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) since: Duration,
    pub(super) heard: Duration,
    pub(super) last_request: u64,
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) is_authorised: bool,
    /// For the next job.
    pub(super) extranonce: Option<Extranonce>,
    /// For the next job.
    pub(super) difficulty: f64,
    /// `None` when versions are not rolled.
    pub(super) version_mask: Option<u32>,
    /// The newest job as the server told it, and what was set at that time.
    pub(super) notified: Option<(Notify, Option<Extranonce>, f64)>,
    /// What is being mined, and its serial.
    pub(super) current: Option<(u64, Work)>,
    pub(super) tickets: VecDeque<Ticket>,
}

/// What a request was that has no answer yet.
#[derive(Debug)]
pub(super) enum Asked {
    Configure,
    Subscribe,
    Authorise,
    Anything,
    Share { serial: u64, sent: Duration },
}

impl Link {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            since: now,
            heard: now,
            last_request: 0,
            asked: BTreeMap::new(),
            is_authorised: false,
            extranonce: None,
            difficulty: FIRST_DIFFICULTY,
            version_mask: None,
            notified: None,
            current: None,
            tickets: VecDeque::new(),
        }
    }

    /// A request, whose answer is awaited.
    #[expect(clippy::needless_pass_by_value, reason = "the parameters become part of the line")]
    pub(super) fn ask(&mut self, asked: Asked, method: &str, params: Value) -> Output {
        self.last_request += 1;
        self.asked.insert(self.last_request, asked);
        let line = json!({"id": self.last_request, "method": method, "params": params});
        Output::Send(line.to_string())
    }

    pub(super) fn unanswered(&self) -> usize {
        self.asked.values().filter(|asked| matches!(asked, Asked::Share { .. })).count()
    }
}
