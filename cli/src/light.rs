//! What needs no node of one's own: the chain of headers, and proofs that are checked against it.
//!
//! Nodes that are asked here are not trusted. What they say is checked before it is kept or shown.

pub mod file;
pub mod follow;
pub mod proof;
pub mod verify;

use std::time::{Duration, Instant, SystemTime};

/// Between two rounds of questions, so that a new block is known soon enough.
pub const PAUSE: Duration = Duration::from_secs(5);

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds since the Unix epoch; 0 when the clock stands before it.
#[expect(clippy::disallowed_methods, reason = "a light client's only clock")]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// When waiting begins.
#[expect(clippy::disallowed_methods, reason = "a light client's only clock")]
pub fn begin() -> Instant {
    Instant::now()
}

/// Lets time pass until nodes are asked again.
pub fn pause(time: Duration) {
    std::thread::park_timeout(time);
}
