//! Real nodes as processes, and clients of their admin ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that another process is about to do.
const POLL: Duration = Duration::from_millis(10);

/// A network like `dev` with blocks that are easy enough for slow builds and rare enough that
/// two miners seldom meet.
pub fn easy_network(folder: &Path) -> PathBuf {
    let network =
        chain::params::Network { name: "easy".to_string(), ..chain::params::Network::dev() };
    let path = folder.join("easy.toml");
    std::fs::write(&path, network.to_toml()).expect("the test's folder can be written");
    path
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary.
    pub program: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// `--network`.
    pub network: String,
    /// `--mine`.
    pub threads: usize,
    /// `--listen`.
    pub listen: SocketAddr,
    /// `--admin`.
    pub admin: SocketAddr,
    /// `--peer`s.
    pub peers: Vec<SocketAddr>,
    /// Whether it has a Stratum port, at a free port of loopback.
    pub stratum: bool,
    /// What is logged (`GRAVEN_LOG`).
    pub log: String,
    /// Further arguments.
    pub more: Vec<String>,
    /// Words in front of the program, of a program that becomes it: `nice`, `nsenter`.
    pub wrapper: Vec<String>,
}

impl Setup {
    /// A mining node on `dev`, at free ports of loopback.
    pub fn new(program: &str, data: impl Into<PathBuf>) -> Setup {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Setup {
            program: program.into(),
            data: data.into(),
            network: "dev".to_string(),
            threads: 1,
            listen: any,
            admin: any,
            peers: Vec::new(),
            stratum: false,
            log: "info".to_string(),
            more: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// The command line, without the settings of whoever runs the tests.
    pub fn command(&self) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => graven(&self.program),
            Some((first, words)) => {
                let mut command = graven(Path::new(first));
                command.args(words).arg(&self.program);
                command
            }
        };
        command
            .env("GRAVEN_LOG", &self.log)
            .args(["node", "--network", &self.network, "--data"])
            .arg(&self.data)
            .args([format!("--mine={}", self.threads)])
            .args(["--listen", &self.listen.to_string()])
            .args(["--admin", &self.admin.to_string()]);
        for peer in &self.peers {
            command.args(["--peer", &peer.to_string()]);
        }
        if self.stratum {
            command.args(["--stratum", "127.0.0.1:0"]);
        }
        command.args(&self.more);
        command
    }

    /// Starts the node and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start(&self) -> Node {
        let log = self.data.with_extension("log");
        let log_file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the test's folder can be written");
        let mut process = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .expect("the binary under test starts");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut address = |what: &str| -> Option<SocketAddr> {
            lines.next()?.ok()?.strip_prefix(what)?.parse().ok()
        };
        let addresses = address("listening peers=").zip(address("listening admin="));
        let Some((peers, admin)) = addresses else {
            process.kill().ok();
            process.wait().ok();
            panic!("node did not become ready:\n{}", tail(&log));
        };
        let stratum = self.stratum.then(|| {
            address("listening stratum=").expect("a node says where all its ports are at once")
        });
        Node { setup: self.clone(), process, peers, admin, stratum, log }
    }
}

/// A command of the binary under test, without the settings of whoever runs the tests.
pub fn graven(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("GRAVEN_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A running node, killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// How it was started.
    pub setup: Setup,
    /// Where peers connect to.
    pub peers: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
    /// The Stratum port, if it was asked for.
    pub stratum: Option<SocketAddr>,
    process: Child,
    log: PathBuf,
}

impl Node {
    /// A new connection to the admin port, with the rights of whoever has the data folder.
    pub fn client(&self) -> Client {
        Client::try_open(&self.same_again()).expect("a running node takes its cookie")
    }

    /// Asks on a connection of its own.
    ///
    /// # Errors
    /// The error line.
    pub fn ask(&self, line: &str) -> Result<Value, String> {
        self.client().ask(line)
    }

    /// A field of `STATUS`.
    ///
    /// # Panics
    /// When the node does not answer.
    pub fn status(&self) -> Value {
        self.ask("STATUS").expect("a running node has a status")
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Setup {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it is our child");
        self.same_again()
    }

    /// Ends it with SIGTERM and returns how, and how long it took.
    pub fn terminate(mut self) -> (Setup, ExitStatus, Duration) {
        let started = now();
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM cannot be sent");
        let status = self.wait();
        (self.same_again(), status, started.elapsed())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the node ending", || {
            ended = self.process.try_wait().expect("it is our child");
            ended.is_some()
        });
        ended.expect("waited for")
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("it is our child").is_none()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        tail(&self.log)
    }

    /// The same setup, at the ports that were chosen.
    pub fn same_again(&self) -> Setup {
        Setup { listen: self.peers, admin: self.admin, ..self.setup.clone() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.setup.data.display(), self.log());
        }
    }
}

/// A connection to an admin port.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream.set_nodelay(true).expect("delays can be switched off");
        Client { reader: BufReader::new(stream) }
    }

    /// Connects with the cookie of the data folder; `None` when the node is not there.
    pub fn try_open(setup: &Setup) -> Option<Client> {
        let stream = TcpStream::connect(setup.admin).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let cookie = std::fs::read_to_string(setup.data.join("admin.cookie")).ok()?;
        let mut client = Client { reader: BufReader::new(stream) };
        client.try_ask(&format!("AUTH {cookie}"))?.ok()?;
        Some(client)
    }

    /// Asks; `None` when the node has closed the connection.
    pub fn try_ask(&mut self, line: &str) -> Option<Result<Value, String>> {
        self.send(format!("{line}\n").as_bytes()).ok()?;
        let line = self.line()?;
        Some(match line.strip_prefix("+OK ") {
            Some(json) => Ok(serde_json::from_str(json).expect("replies are JSON")),
            None => Err(line),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the node has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends no more, as `nc -N` does at the end of its input.
    pub fn finish(&mut self) {
        self.reader.get_mut().shutdown(Shutdown::Write).expect("the node is there");
    }

    /// The next line, without its end; `None` when the node has closed the connection.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line in {PATIENCE:?}: {error}"),
        }
    }

    /// What comes until the node closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).ok(); // a reset is an end too
        bytes
    }

    /// Asks and waits for the answer, leaving out events.
    ///
    /// # Errors
    /// The error line.
    ///
    /// # Panics
    /// When the node closes the connection or answers garbage.
    pub fn ask(&mut self, line: &str) -> Result<Value, String> {
        self.send(format!("{line}\n").as_bytes()).expect("the node is there");
        self.answer()
    }

    /// The next answer, leaving out events.
    ///
    /// # Errors
    /// The error line.
    ///
    /// # Panics
    /// When the node closes the connection or answers garbage.
    pub fn answer(&mut self) -> Result<Value, String> {
        loop {
            let line = self.line().expect("the node answers");
            if let Some(json) = line.strip_prefix("+OK ") {
                return Ok(serde_json::from_str(json).expect("replies are JSON"));
            }
            if line.starts_with('-') {
                return Err(line);
            }
            assert!(line.starts_with("+EVENT "), "garbage: {line}");
        }
    }
}

/// Runs a command of the binary under test to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(program: &str, data: &Path, words: &[&str]) -> Output {
    graven(Path::new(program))
        .arg("--data")
        .arg(data)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("the binary under test starts")
}

/// Looks again and again until `holds`.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !holds() {
        assert!(now() < deadline, "{what} did not happen in {PATIENCE:?}");
        std::thread::park_timeout(POLL);
    }
}

/// The time, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "tests of processes measure real time")]
pub fn now() -> Instant {
    Instant::now()
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(log) {
        file.read_to_string(&mut text).ok();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
