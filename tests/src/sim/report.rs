//! What came of a run: counts of what really occurred, or the failure and how to see it again.

use std::collections::BTreeMap;
use std::fmt;

use super::Options;

/// How often each thing occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// One more.
    pub(super) fn add(&mut self, what: &str) {
        self.more(what, 1);
    }

    /// So many more.
    pub(super) fn more(&mut self, what: &str, count: u64) {
        match self.0.get_mut(what) {
            Some(sum) => *sum += count,
            None => {
                self.0.insert(what.to_string(), count);
            }
        }
    }

    /// Keeps the greatest.
    pub(super) fn most(&mut self, what: &str, value: u64) {
        let most = self.0.entry(what.to_string()).or_default();
        *most = value.max(*most);
    }

    /// How often this occurred.
    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Everything counted, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, count)| (what.as_str(), *count))
    }

    /// Adds the counts of another run; what begins with `most` is no sum.
    pub fn merge(&mut self, other: &Counts) {
        for (what, count) in other.iter() {
            if what.starts_with("most ") {
                self.most(what, count);
            } else {
                self.more(what, count);
            }
        }
    }
}

/// A run in which every check held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What occurred how often.
    pub counts: Counts,
    /// Virtual time in all, in milliseconds.
    pub virtual_ms: u64,
    /// Hash over every event and every byte said, in order.
    pub trace: [u8; 32],
}

/// A check that did not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Of which run.
    pub options: Options,
    /// Virtual time since the start, in milliseconds.
    pub at_ms: u64,
    /// What did not hold.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, nodes, faults, minutes, plant, .. } = &self.options;
        let hours = f64::from(*minutes) / 60.0;
        writeln!(f, "seed={seed} nodes={nodes} faults={faults} hours={hours} plant={plant:?}")?;
        writeln!(f, "at {} s: {}", self.at_ms / 1000, self.what)?;
        write!(
            f,
            "replay: cargo run --release -p tests --bin sim -- --seeds {seed}..{} \
             --nodes {nodes} --faults {faults} --hours {hours} --trace",
            seed + 1
        )?;
        plant.iter().try_for_each(|plant| write!(f, " --plant {}", plant.name()))
    }
}
