//! Many real nodes on loopback, written to and killed for minutes.
//!
//! Each node knows two others at the start and finds the rest by gossip; two of them mine. Clients
//! put through nodes taken at random. Nodes are killed with SIGKILL and come back on the same
//! folders; some join late with nothing. In the end all must have one tip and every write that was
//! confirmed, and none may have grown: not its memory, its threads, nor its open files.
//!
//! What is done is drawn from a seed; what comes of it depends on the machine too.

mod fleet;
mod measure;
mod writers;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chain::CompactTarget;
use chain::params::Network;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::node::{now, run as run_command};
use fleet::Fleet;
use measure::Peaks;
use writers::{Log, write};

/// How long all may take to agree after the last node is back.
const SETTLE: Duration = Duration::from_secs(180);

/// Nodes whose whole chain is checked again in the end.
const AUDITS: usize = 2;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary under test.
    pub program: PathBuf,
    /// How many nodes there are when all have joined: at least 4.
    pub nodes: usize,
    /// For how long nodes are written to and killed.
    pub duration: Duration,
    /// Between two kills, on average.
    pub kill_every: Duration,
    /// Clients that write all the time.
    pub writers: u64,
    /// A block takes 2 to the power of so many hashes: 20 to 40.
    pub block_bits: u8,
    /// What chance is drawn from.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Nodes in the end.
    pub nodes: usize,
    /// Nodes that joined later than the others, with empty folders.
    pub late: u64,
    /// Nodes ended with SIGKILL; each came back.
    pub kills: u64,
    /// Height of the tip.
    pub blocks: u64,
    /// Writes that were confirmed.
    pub confirmed: usize,
    /// Writes of which the client never learned what became of them.
    pub unknown: u64,
    /// Reorganisations, at all nodes.
    pub reorganisations: u64,
    /// From the return of the last node until all agreed.
    pub settled_in: Duration,
    /// The largest values of any node.
    pub peaks: Peaks,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { nodes, late, kills, blocks, confirmed, unknown, .. } = self;
        writeln!(f, "{nodes:>8}  nodes, {late} of them joined late")?;
        writeln!(f, "{kills:>8}  kills")?;
        writeln!(f, "{blocks:>8}  blocks")?;
        writeln!(f, "{:>8}  reorganisations, at all nodes", self.reorganisations)?;
        writeln!(f, "{confirmed:>8}  confirmed writes, at every node in the end")?;
        writeln!(f, "{unknown:>8}  writes whose client lost its node")?;
        writeln!(f, "{:>8.1}  seconds until all agreed", self.settled_in.as_secs_f64())?;
        write!(f, "{}", self.peaks)
    }
}

/// Runs it all in a folder. `progress` is told what is going on.
///
/// # Errors
/// What should have been true and was not.
///
/// # Panics
/// When a node does not start.
pub fn run(
    options: &Options,
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Summary, String> {
    assert!(options.nodes >= 4, "a soak has at least 4 nodes");
    let network = network_file(options, folder);
    let log = Mutex::new(Log::default());
    let (live, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let mut fleet = Fleet::new(options, folder, &network, &live);
    std::thread::scope(|scope| {
        for writer in 0..options.writers {
            let rng = StdRng::seed_from_u64(options.seed ^ ((writer + 1) << 32));
            let (live, log, over) = (&live, &log, &over);
            scope.spawn(move || write(writer, rng, live, log, over));
        }
        let stops = OnDrop(&over); // also when a node does not start and this panics
        let outcome = fleet.live(&log, progress);
        drop(stops);
        outcome
    })?;
    fleet.start_all();
    let started = now();
    fleet.wait_for_agreement(SETTLE)?;
    let settled_in = started.elapsed();
    progress(&format!("all agree after {settled_in:.1?}; reading everything everywhere"));
    let log = log.into_inner().expect("no writer panics");
    if let Some(strange) = &log.strange {
        return Err(format!("a put was answered with {strange}"));
    }
    for node in fleet.nodes() {
        log.check(node)?;
    }
    fleet.measure_at_rest()?;
    let summary = Summary {
        nodes: options.nodes,
        late: fleet.late,
        kills: fleet.kills,
        blocks: fleet.height(),
        confirmed: log.confirmed.len(),
        unknown: log.unknown,
        reorganisations: fleet.reorganisations(),
        settled_in,
        peaks: fleet.peaks,
    };
    for setup in fleet.stop()?.iter().take(AUDITS) {
        let words = ["--network", &network, "verify-chain"];
        let audit = run_command(&setup.program.to_string_lossy(), &setup.data, &words);
        if !audit.status.success() {
            return Err(String::from_utf8_lossy(&audit.stderr).into_owned());
        }
    }
    Ok(summary)
}

/// Says that it is over, whatever happens.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A network like `dev` whose blocks take the work that is asked for.
fn network_file(options: &Options, folder: &Path) -> String {
    let name = "soak".to_string();
    let start_bits = target_of(options.block_bits);
    let network = Network { name, start_bits, ..Network::dev() };
    let path = folder.join("soak.toml");
    std::fs::write(&path, network.to_toml()).expect("the folder can be written");
    path.display().to_string()
}

/// The target that one in 2^bits hashes meets.
fn target_of(bits: u8) -> CompactTarget {
    let exponent = 256 - u32::from(bits);
    // The mantissa is at least 0x8000 and below 0x800000.
    let size = (exponent - 15) / 8 + 3;
    CompactTarget((size << 24) | (1 << (exponent - 8 * (size - 3))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_by_one_hash_in_so_many() {
        for bits in 8..=40 {
            let target = target_of(bits).decode().expect("canonical");
            let zeros = |count: u8| {
                let mut bytes = [0; 32];
                // Internal order: the last byte is the most significant one.
                bytes[31 - usize::from(count / 8)] = 0x80 >> (count % 8);
                chain::Hash(bytes)
            };
            assert!(target.is_met_by(&zeros(bits)), "{bits}");
            assert!(!target.is_met_by(&zeros(bits - 2)), "{bits}");
        }
    }
}
