//! `graven demo`: three real nodes on this machine keep one store.

mod steps;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::folder;
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

/// A node of the demo, as a process of its own. Killed when dropped.
struct DemoNode {
    name: &'static str,
    data: PathBuf,
    process: Child,
    peers: SocketAddr,
    admin: SocketAddr,
}

impl DemoNode {
    /// Starts a node and waits until it is ready.
    fn start(
        name: &'static str,
        temp: &Path,
        at: Option<SocketAddr>,
        peers: &[SocketAddr],
    ) -> Result<DemoNode, DemoError> {
        // One miner, so that what the demo tells does not hang on a race between two.
        let mine = if peers.is_empty() { "--mine=1" } else { "--mine=0" };
        let data = temp.join(name);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let program = std::env::current_exe()
            .map_err(|source| DemoError::System { what: "where this program is", source })?;
        let mut command = Command::new(program);
        command.args(["node", "--network", "dev", mine, "--data"]).arg(&data).args([
            "--listen",
            &at.unwrap_or(any).to_string(),
            "--admin",
            &any.to_string(),
        ]);
        for peer in peers {
            command.args(["--peer", &peer.to_string()]);
        }
        // Settings of the person who runs the demo must not reach its nodes.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("GRAVEN_") {
                command.env_remove(variable);
            }
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| DemoError::System { what: "cannot start a node", source })?;
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut address = |what: &str| {
            let line = lines.next()?.ok()?;
            line.strip_prefix(what)?.parse().ok()
        };
        let addresses = address("listening peers=").zip(address("listening admin="));
        let Some((peers, admin)) = addresses else {
            process.kill().ok();
            process.wait().ok();
            return Err(DemoError::Differs(format!("node {name} did not become ready")));
        };
        Ok(DemoNode { name, data, process, peers, admin })
    }

    fn client(&self) -> Result<Client, DemoError> {
        let client = Client::connect(self.admin, folder::read_cookie(&self.data))?;
        client.set_timeout(Some(PATIENCE))?;
        Ok(client)
    }

    fn ask(&self, line: &str) -> Result<Value, DemoError> {
        Ok(self.client()?.ask(line)?)
    }

    /// Ends it with SIGKILL: no good-bye, nothing flushed.
    fn kill(mut self) -> SocketAddr {
        self.process.kill().ok();
        self.process.wait().ok();
        self.peers
    }
}

impl Drop for DemoNode {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
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
