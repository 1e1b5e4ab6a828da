//! What came of an import.

use serde_json::{Value, json};

use super::rows::Wrong;

/// Failures that are listed; beyond them they are counted.
pub const MAX_LISTED: usize = 1000;

/// A line that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFailure {
    /// Its number, from 1.
    pub line: u64,
    /// A word for programs: that of the outcome (`version-mismatch`), or `malformed`.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl LineFailure {
    pub(super) fn new(line: u64, reason: String, message: String) -> LineFailure {
        LineFailure { line, reason, message }
    }

    pub(super) fn malformed(wrong: Wrong) -> LineFailure {
        LineFailure::new(wrong.line, "malformed".to_string(), wrong.what)
    }
}

/// What came of an import.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Lines that are in the chain, with the confirmations that were asked for.
    pub confirmed: u64,
    /// Transactions that carried them.
    pub transactions: u64,
    /// Lines that are not written and will not be.
    pub failed: u64,
    /// The first [`MAX_LISTED`] of them.
    pub failures: Vec<LineFailure>,
    /// Lines that the node has taken and of which no more is known.
    pub under_way: u64,
    /// Where to go on when it ended early: every line before has come to its end.
    pub next_line: Option<u64>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Report {
    /// Lines that have come to their end.
    pub fn operations(&self) -> u64 {
        self.confirmed + self.failed
    }

    /// Confirmed lines a second.
    pub fn rate(&self) -> f64 {
        self.confirmed as f64 / self.seconds.max(0.001)
    }

    /// Whether the next failure is still listed.
    pub fn lists_more(&self) -> bool {
        self.failures.len() < MAX_LISTED
    }

    pub(super) fn fail(&mut self, failure: LineFailure) {
        self.failed += 1;
        if self.lists_more() {
            self.failures.push(failure);
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let failures: Vec<Value> = self
            .failures
            .iter()
            .map(|LineFailure { line, reason, message }| {
                json!({ "line": line, "reason": reason, "message": message })
            })
            .collect();
        json!({
            "complete": self.next_line.is_none(),
            "confirmed": self.confirmed,
            "failed": self.failed,
            "under_way": self.under_way,
            "transactions": self.transactions,
            "next_line": self.next_line,
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
            "per_second": self.rate().round(),
            "failures": failures,
            "failures_not_listed": self.failed - self.failures.len() as u64,
        })
    }
}
