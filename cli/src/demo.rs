//! `graven demo`: three real nodes on this machine keep one store.

mod steps;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::child::{ChildError, ChildNode, ChildSetup};
use crate::client::ClientError;
use crate::terminal::POLL;

/// How long anything in the demo may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something with a process or a file.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A node cannot be started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A node could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something is not as it should be.
    #[error("the demo failed: {0}")]
    Differs(String),
}

/// Runs the demo and tells what happens.
///
/// # Errors
/// When anything differs from what it should be.
pub fn run() -> Result<(), DemoError> {
    let temp = tempfile::tempdir()
        .map_err(|source| DemoError::System { what: "no temporary folder", source })?;
    let started = now();
    let result = steps::play(temp.path());
    if result.is_ok() {
        println!("\nDone in {:.1} s. Everything agreed.", started.elapsed().as_secs_f64());
    }
    result
}

/// Starts a node of the demo.
fn start(
    name: &'static str,
    temp: &Path,
    listen: Option<SocketAddr>,
    peers: &[SocketAddr],
) -> Result<ChildNode, DemoError> {
    Ok(ChildNode::start(&ChildSetup {
        data: temp.join(name),
        network: "dev".to_string(),
        // One miner, so that what the demo tells does not hang on a race between two.
        threads: usize::from(peers.is_empty()),
        listen,
        peers: peers.to_vec(),
    })?)
}

/// Looks again and again until `found` gives something.
fn wait_for<T>(
    what: &str,
    mut found: impl FnMut() -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(result) = found()? {
            return Ok(result);
        }
        if now() >= deadline {
            return Err(DemoError::Differs(format!("{what} did not happen in {PATIENCE:?}")));
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo is a person at a terminal, with a watch")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the demo looks at other processes now and then")]
fn pause() {
    std::thread::sleep(POLL);
}
