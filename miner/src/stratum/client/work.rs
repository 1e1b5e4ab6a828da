//! From a server's job to ours, and from a solution back to a share.

use std::sync::Arc;

use serde_json::{Value, json};

use super::message::{Extranonce, Notify};
use crate::job::{Job, Solution};
use crate::pow::CompactTarget;
use crate::stratum::difficulty;
use crate::stratum::text::{hex, hex_u32};

/// How far beyond a job's time a header's may be, in seconds. Servers take this from the miners
/// people run.
const TIME_ROLL_S: u32 = 60;

/// A job with all that it depends on. The server may change each of them for later jobs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Work {
    pub(super) notify: Notify,
    pub(super) extranonce: Extranonce,
    pub(super) difficulty: f64,
    /// `None` when versions are not rolled.
    pub(super) version_mask: Option<u32>,
}

/// What a share must say besides its solution.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) serial: u64,
    job_id: String,
    extranonce_2_bytes: usize,
    version_mask: Option<u32>,
}

impl Work {
    /// The job for the search, with this id. `None` when the difficulty is none.
    pub(super) fn job(&self, serial: u64) -> Option<Arc<Job>> {
        let Work { notify, extranonce, .. } = self;
        let mask = self.version_mask.unwrap_or(0);
        // What the search cannot count through stays zero, behind what it counts.
        let counted = extranonce.second_bytes.min(8);
        let zeros = vec![0; extranonce.second_bytes - counted];
        Some(Arc::new(Job {
            id: serial,
            version: notify.version & !mask,
            prev: notify.prev,
            coinbase_prefix: [&notify.coinbase_1[..], &extranonce.first].concat(),
            coinbase_suffix: [&zeros[..], &notify.coinbase_2].concat(),
            branch: notify.branch.clone(),
            time: notify.time,
            time_max: notify.time.saturating_add(TIME_ROLL_S),
            bits: CompactTarget(notify.bits),
            target: difficulty::target(self.difficulty, difficulty::HARDEST_ONE)?,
            extranonce_bytes: counted,
            extranonce_start: first_extranonce(serial, counted),
            version_mask: mask,
        }))
    }

    pub(super) fn ticket(&self, serial: u64) -> Ticket {
        Ticket {
            serial,
            job_id: self.notify.job_id.clone(),
            extranonce_2_bytes: self.extranonce.second_bytes,
            version_mask: self.version_mask,
        }
    }
}

/// Where a job's extranonces begin: jobs after each other far apart. A server may tell the same
/// job again under another name, and its headers should not be tried twice. At least three
/// quarters of the bits are left to count with.
fn first_extranonce(serial: u64, bytes: usize) -> u64 {
    let bits = 8 * bytes;
    let parts = 1 << (bits / 4);
    (serial % parts) << (bits - bits / 4)
}

impl Ticket {
    /// The parameters of `mining.submit`.
    pub(super) fn share(&self, user: &str, solution: &Solution) -> Value {
        let mut extranonce_2 = solution.extranonce.to_le_bytes().to_vec();
        extranonce_2.resize(self.extranonce_2_bytes, 0);
        let (time, nonce) = (hex_u32(solution.time), hex_u32(solution.nonce));
        let mut params = vec![user, &self.job_id].into_iter().map(Value::from).collect::<Vec<_>>();
        params.extend([hex(&extranonce_2), time, nonce].map(Value::from));
        params.extend(self.version_mask.map(|mask| json!(hex_u32(solution.version & mask))));
        params.into()
    }
}
