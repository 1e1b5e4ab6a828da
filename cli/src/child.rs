//! A node as a process of its own, for the commands that need some: `demo` and `bench`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::command::Line;
use crate::folder;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The unit of times in /proc, the same on every Linux (proc(5): USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// Why a node of ours cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The system does not let us.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended instead of listening.
    #[error("node {0} did not become ready")]
    NotReady(String),
    /// It could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct ChildSetup {
    /// Its data folder, whose last part is its name.
    pub data: PathBuf,
    /// `--network`.
    pub network: String,
    /// `--mine`.
    pub threads: usize,
    /// `--listen`; `None` = a free port of loopback.
    pub listen: Option<SocketAddr>,
    /// `--peer`s.
    pub peers: Vec<SocketAddr>,
}

/// What a process has used since it began.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Of all its threads.
    pub cpu: Duration,
    /// Given to the system for disks, whether they have it or not.
    pub written_bytes: u64,
}

/// Memory of a process that is in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// Now.
    pub resident_bytes: u64,
    /// The most there ever was.
    pub peak_bytes: u64,
}

impl Usage {
    /// What was used since an earlier look.
    #[must_use]
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// A running node. Killed when dropped.
#[derive(Debug)]
pub struct ChildNode {
    /// Its name.
    pub name: String,
    /// Where its peers connect to.
    pub peers: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
    data: PathBuf,
    process: Child,
}

impl ChildNode {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(setup: &ChildSetup) -> Result<ChildNode, ChildError> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let name = setup.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let program = std::env::current_exe()
            .map_err(|source| ChildError::System { what: "where this program is", source })?;
        let mut command = Command::new(program);
        command
            .args(["node", "--network", &setup.network, "--data"])
            .arg(&setup.data)
            .arg(format!("--mine={}", setup.threads))
            .args(["--listen", &setup.listen.unwrap_or(any).to_string()])
            .args(["--admin", &any.to_string()]);
        for peer in &setup.peers {
            command.args(["--peer", &peer.to_string()]);
        }
        // Settings of the person at the terminal must not reach it.
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
            .map_err(|source| ChildError::System { what: "cannot start a node", source })?;
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut address = |what: &str| {
            let line = lines.next()?.ok()?;
            line.strip_prefix(what)?.parse().ok()
        };
        let addresses = address("listening peers=").zip(address("listening admin="));
        let Some((peers, admin)) = addresses else {
            process.kill().ok();
            process.wait().ok();
            return Err(ChildError::NotReady(name));
        };
        Ok(ChildNode { name, data: setup.data.clone(), process, peers, admin })
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A new connection to it, with the rights of whoever has its folder.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn client(&self) -> Result<Client, ClientError> {
        let mut client = Client::connect(self.admin, None)?;
        client.set_timeout(Some(PATIENCE))?;
        if let Some(cookie) = folder::read_cookie(&self.data) {
            client.request(&Line::new("AUTH").word(cookie))?;
        }
        Ok(client)
    }

    /// Asks it on a connection of its own.
    ///
    /// # Errors
    /// When it does not answer, or says no.
    pub fn ask(&self, line: &str) -> Result<Value, ClientError> {
        self.client()?.ask(line)
    }

    /// What it has used so far, where the system tells (Linux).
    pub fn usage(&self) -> Option<Usage> {
        let read = |name: &str| std::fs::read_to_string(self.proc(name));
        // proc(5): the name in parentheses can hold anything; the 14th and 15th field are times.
        let stat = read("stat").ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>().ok()?.iter().sum();
        let io = read("io").ok()?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?;
        Some(Usage {
            cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
            written_bytes: written.parse().ok()?,
        })
    }

    /// Its memory, where the system tells (Linux).
    pub fn memory(&self) -> Option<Memory> {
        let status = std::fs::read_to_string(self.proc("status")).ok()?;
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Some(Memory { resident_bytes: bytes("VmRSS:")?, peak_bytes: bytes("VmHWM:")? })
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.id())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not answer or cannot be waited for.
    pub fn stop(mut self) -> Result<(), ChildError> {
        self.ask("SHUTDOWN")?;
        let wait = |source| ChildError::System { what: "cannot wait for a node", source };
        self.process.wait().map(|_| ()).map_err(wait)
    }

    /// Ends it with SIGKILL: no good-bye, nothing flushed.
    pub fn kill(mut self) -> SocketAddr {
        self.process.kill().ok();
        self.process.wait().ok();
        self.peers
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
