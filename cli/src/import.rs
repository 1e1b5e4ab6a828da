//! Takes the operations of a file to a node: many to a transaction, several transactions under way
//! at a time, each waited for.
//!
//! Operations on the same key keep the order of their lines, whatever fails: a key that a
//! transaction under way writes is not written by another one before that has come to its end.
//! A transaction that fails because of one line is sent again without it, in smaller parts, so
//! that every line fails for itself alone.

mod report;
pub mod rows;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

use crate::client::{Client, ClientError};
use crate::command::{Line, batch_line};
use crate::reply::{Code, Failure};
use chain::params::Limits;
pub use report::{LineFailure, MAX_LISTED, Report};
use rows::{Batch, Row, Rows};

/// Transactions under way: several blocks full, and bounded memory.
const WINDOW: usize = 64;

/// Parts of a transaction that failed, when it is sent again.
const PARTS: usize = 8;

/// How often a transaction is sent that leaves the pool other than by a block.
const ATTEMPTS: u32 = 5;

/// Seconds that the node is asked to wait before this side looks around.
const LOOK_S: u64 = 1;

/// Between two tries at a node that is busy, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Why not all was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Some lines were not written; all others were.
    #[error("{failed} of {operations} lines were not written")]
    Lines {
        /// How many.
        failed: u64,
        /// Of how many that were not blank.
        operations: u64,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(#[from] io::Error),
    /// The node refused for a reason that is not of a line, or is gone.
    #[error(transparent)]
    Node(#[from] ClientError),
    /// Nothing came to an end for too long.
    #[error("no transaction was confirmed for {} s", .0.as_secs())]
    Late(Duration),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

impl ImportError {
    /// The process's exit code.
    pub fn exit(&self) -> u8 {
        match self {
            ImportError::Node(ClientError::Refused(failure)) => failure.code.exit(),
            ImportError::Late(_) => Code::Timeout.exit(),
            _ => 1,
        }
    }
}

/// How a file is imported.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Blocks that must have a transaction or come after it.
    pub confirmations: u32,
    /// Gives up when nothing was confirmed for so long.
    pub patience: Duration,
    /// Most operations of a transaction, below the network's limit.
    pub operations: usize,
}

/// Who looks on.
pub trait Watcher {
    /// More of the file is read or confirmed.
    fn moved(&mut self, report: &Report, bytes_read: u64);
    /// A line is not written.
    fn failed(&mut self, failure: &LineFailure);
    /// Whether it is to stop.
    fn stops(&mut self) -> bool;
}

/// The limits of a node's network, as its `STATUS` tells them.
///
/// # Errors
/// When the node cannot be asked, or tells none.
pub fn limits(client: &mut Client) -> Result<Limits, ClientError> {
    let status = client.request(&Line::new("STATUS"))?;
    serde_json::from_value(status["limits"].clone())
        .map_err(|_| ClientError::Garbled("a status without limits".to_string()))
}

/// Imports the rest of a file. The report says what came of it, whether all did or not.
pub fn import<R: BufRead>(
    client: &mut Client,
    limits: Limits,
    rows: &mut Rows<R>,
    settings: Settings,
    watcher: &mut dyn Watcher,
) -> (Report, Result<(), ImportError>) {
    let began = now();
    let mut import = Import {
        client,
        limits,
        rows,
        settings,
        watcher,
        next_row: None,
        waiting: VecDeque::new(),
        under_way: VecDeque::new(),
        keys: BTreeMap::new(),
        moved_at: began,
        pause: PAUSES.0,
        report: Report::default(),
    };
    let mut result = import.run();
    if let Err(ImportError::Node(ClientError::Refused(_)) | ImportError::File(_)) = result {
        // What is under way has nothing to do with it.
        import.drain().ok();
    }
    let mut report = import.into_report();
    report.seconds = (now() - began).as_secs_f64();
    if result.is_err() && report.next_line.is_none() {
        report.next_line = Some(rows.next_line());
    }
    if result.is_ok() && report.failed > 0 {
        result = Err(ImportError::Lines { failed: report.failed, operations: report.operations() });
    }
    (report, result)
}

/// Rows on their way into one transaction.
struct Load {
    rows: Vec<Row>,
    /// How often they were sent.
    attempts: u32,
}

struct Import<'a, R> {
    client: &'a mut Client,
    limits: Limits,
    rows: &'a mut Rows<R>,
    settings: Settings,
    watcher: &'a mut dyn Watcher,
    /// The one that the last transaction had no room for.
    next_row: Option<Row>,
    /// To be sent, in this order. What is here must not pass what is under way on its keys.
    waiting: VecDeque<Load>,
    /// Ids, and what the transactions carry, in the order in which they were sent.
    under_way: VecDeque<(String, Load)>,
    /// The keys under way, and how many rows there write them.
    keys: BTreeMap<Vec<u8>, usize>,
    /// When something last came to an end.
    moved_at: Instant,
    pause: Duration,
    report: Report,
}

impl<R: BufRead> Import<'_, R> {
    fn run(&mut self) -> Result<(), ImportError> {
        loop {
            self.check()?;
            if self.waiting.is_empty() {
                self.fill()?;
            }
            let Some(load) = self.waiting.pop_front() else {
                if self.under_way.is_empty() {
                    return Ok(());
                }
                self.settle_oldest()?;
                continue;
            };
            let shares = load.rows.iter().any(|row| self.keys.contains_key(&row.key));
            if shares || self.under_way.len() == WINDOW {
                // First: what fails comes back in front of it.
                self.waiting.push_front(load);
                self.settle_oldest()?;
            } else {
                self.send(load)?;
            }
        }
    }

    /// Waits for all that is under way.
    fn drain(&mut self) -> Result<(), ImportError> {
        while !self.under_way.is_empty() {
            self.settle_oldest()?;
        }
        Ok(())
    }

    /// Whether to go on.
    fn check(&mut self) -> Result<(), ImportError> {
        let patience = self.settings.patience;
        if self.watcher.stops() {
            return Err(ImportError::Interrupted);
        }
        if now() - self.moved_at > patience {
            return Err(ImportError::Late(patience));
        }
        Ok(())
    }

    /// Reads rows for a transaction.
    fn fill(&mut self) -> Result<(), ImportError> {
        let mut batch = Batch::default();
        let result = self.fill_batch(&mut batch);
        let rows = batch.into_rows();
        if !rows.is_empty() {
            self.waiting.push_back(Load { rows, attempts: 0 });
            self.moved_at = now(); // a slow file is no slow node
        }
        Ok(result?)
    }

    fn fill_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        loop {
            let row = match self.next_row.take() {
                Some(row) => row,
                None => match self.rows.read()? {
                    None => return Ok(()),
                    Some(Err(wrong)) => {
                        self.fail(LineFailure::malformed(wrong));
                        continue;
                    }
                    Some(Ok(row)) => row,
                },
            };
            if let Err(row) = batch.push(row, &self.limits, self.settings.operations) {
                self.next_row = Some(row);
                return Ok(());
            }
        }
    }

    fn send(&mut self, load: Load) -> Result<(), ImportError> {
        let line = batch_line(load.rows.iter().map(|row| row.words.as_str()));
        match self.client.request(&line) {
            Ok(answer) => {
                self.pause = PAUSES.0;
                for row in &load.rows {
                    *self.keys.entry(row.key.clone()).or_default() += 1;
                }
                let txid = answer["txid"].as_str().unwrap_or_default().to_string();
                self.under_way.push_back((txid, load));
                Ok(())
            }
            Err(error) => {
                self.waiting.push_front(load);
                if !is_refused(&error, &[Code::Busy]) {
                    return Err(error.into());
                }
                if self.under_way.is_empty() {
                    self.rest();
                    return Ok(());
                }
                self.settle_oldest() // which makes room
            }
        }
    }

    /// Waits until the oldest transaction under way has come to its end.
    fn settle_oldest(&mut self) -> Result<(), ImportError> {
        let Some((txid, _)) = self.under_way.front() else { return Ok(()) };
        let wait = Line::new("WAIT")
            .word(txid)
            .word(self.settings.confirmations)
            .option("TIMEOUT", Some(LOOK_S));
        loop {
            self.check()?;
            match self.client.request(&wait) {
                Ok(_) => break self.confirmed(),
                Err(error) if is_refused(&error, &[Code::Timeout]) => {}
                Err(error) if is_refused(&error, &[Code::Busy]) => self.rest(),
                Err(error) if is_refused(&error, &[Code::Failed]) => {
                    if self.was_failed()? {
                        break;
                    }
                }
                Err(ClientError::Refused(failure))
                    if [Code::Dropped, Code::Expired, Code::NotFound].contains(&failure.code) =>
                {
                    break self.dropped(&failure);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.moved_at = now();
        self.watcher.moved(&self.report, self.rows.bytes());
        Ok(())
    }

    fn take_oldest(&mut self) -> Load {
        let (_, load) = self.under_way.pop_front().expect("it was waited for");
        for row in &load.rows {
            if let Some(count) = self.keys.get_mut(&row.key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(&row.key);
                }
            }
        }
        load
    }

    fn confirmed(&mut self) {
        let load = self.take_oldest();
        self.report.confirmed += load.rows.len() as u64;
        self.report.transactions += 1;
    }

    /// Notes which line was at fault, and has the others sent again; `false` when the transaction
    /// has not failed any more, after a reorganisation.
    fn was_failed(&mut self) -> Result<bool, ImportError> {
        let Some((txid, _)) = self.under_way.front() else { return Ok(true) };
        let found = self.client.request(&Line::new("TX").word(txid))?;
        let Some(place) = found["failed_operation"].as_u64() else { return Ok(false) };
        let mut rows = self.take_oldest().rows;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place >= rows.len() {
            return Err(ClientError::Garbled(found.to_string()).into());
        }
        let row = rows.remove(place);
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_string();
        self.fail(LineFailure::new(row.line, text("reason"), text("message")));
        let part = rows.len().div_ceil(PARTS).max(1);
        let mut parts = Vec::new();
        while !rows.is_empty() {
            let rest = rows.split_off(part.min(rows.len()));
            parts.push(Load { rows, attempts: 0 });
            rows = rest;
        }
        for load in parts.into_iter().rev() {
            self.waiting.push_front(load);
        }
        Ok(true)
    }

    /// Has a transaction sent again that will be in no block.
    fn dropped(&mut self, failure: &Failure) {
        let mut load = self.take_oldest();
        load.attempts += 1;
        if load.attempts < ATTEMPTS {
            return self.waiting.push_front(load);
        }
        let reason = failure.code.word().to_ascii_lowercase();
        for row in load.rows {
            self.fail(LineFailure::new(row.line, reason.clone(), failure.message.clone()));
        }
    }

    fn fail(&mut self, failure: LineFailure) {
        self.watcher.failed(&failure);
        self.report.fail(failure);
    }

    /// Lets a busy node be, a little longer each time.
    fn rest(&mut self) {
        std::thread::park_timeout(self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    fn into_report(mut self) -> Report {
        let sent = self.under_way.iter().map(|(_, load)| load);
        self.report.under_way = sent.clone().map(|load| load.rows.len() as u64).sum();
        let unsettled = sent.chain(&self.waiting).flat_map(|load| &load.rows);
        self.report.next_line = unsettled.chain(&self.next_row).map(|row| row.line).min();
        self.report
    }
}

fn is_refused(error: &ClientError, codes: &[Code]) -> bool {
    matches!(error, ClientError::Refused(failure) if codes.contains(&failure.code))
}

#[expect(clippy::disallowed_methods, reason = "this driver waits for a node")]
fn now() -> Instant {
    Instant::now()
}
