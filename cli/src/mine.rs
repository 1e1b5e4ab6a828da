//! `graven mine --stratum`: mines for a Stratum server.
//!
//! ```text
//! server -> stratum thread -> main loop <-> miner::stratum::client::Session
//!   ^                          |  ^ |
//!   +---------- lines ---------+  | +-> job slot -> miner threads
//!                                 +------ finds -------+
//! ```
//!
//! The session decides, this drives: sockets, clock, threads, signals, and what is shown. Both
//! queues are bounded: when lines come too fast the server is not read, and finds that come
//! faster than they can be sent are dropped. Each connection has a thread, which ends with it.

mod connection;
mod report;
mod tally;

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded, never, select};
use miner::stratum::client::{Account, Event, Failure, Input, Output, Session};
use miner::{Kernel, Pin, Search, SearchOptions, Solution, Until};

use crate::args::{self, MineArgs};
use crate::config::{self, ConfigError};
use crate::folder;
use crate::node::{self, NodeError};
use connection::{Arrival, Connection};
use report::Report;
pub use report::Style;
use tally::{State, Tally};

/// Finds on their way to the session. When full they are dropped: it means far too easy a
/// difficulty, and sending them all is not possible.
const FIND_QUEUE: usize = 1024;
/// The first wait before a new connection; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait before a new connection, without what chance adds.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why mining for a server ended.
#[derive(Debug, thiserror::Error)]
pub enum MineError {
    /// The server will not have us, however often we ask.
    #[error("{0}")]
    Refused(Failure),
    /// Signals cannot be taken.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The operating system refused a thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// Nobody reads what we say.
    #[error("standard output: {0}")]
    Stdout(std::io::Error),
    /// A mining thread ended that should not have.
    #[error("a mining thread died; this is a bug, see above")]
    Died,
}

/// How to mine for a server.
#[derive(Clone, Debug)]
pub struct MineConfig {
    /// Where, and as whom.
    pub account: Account,
    /// Mining threads.
    pub threads: usize,
    /// The mining kernel; `None` = the one that is fastest when mining starts.
    pub kernel: Option<&'static Kernel>,
    /// Which cores the mining threads run on.
    pub pin: Pin,
}

impl MineConfig {
    /// Reads the settings for a server at `HOST:PORT` or `stratum+tcp://HOST:PORT`.
    ///
    /// # Errors
    /// When a value makes no sense.
    pub fn new(server: &str, args: &MineArgs) -> Result<MineConfig, ConfigError> {
        let value = |name, value: &str, why: &str| ConfigError::Value {
            name,
            value: value.to_string(),
            why: why.to_string(),
        };
        let address = server.strip_prefix("stratum+tcp://").unwrap_or(server);
        let parts = address.rsplit_once(':').map(|(host, port)| {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse::<u16>().unwrap_or(0))
        });
        let (host, port) = parts
            .filter(|(host, port)| !host.is_empty() && !host.contains('/') && *port != 0)
            .ok_or_else(|| value("--stratum", server, "use HOST:PORT"))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.unwrap_or(cores);
        if !(1..=1024).contains(&threads) {
            return Err(value("--threads", &threads.to_string(), "use a number from 1 to 1024"));
        }
        Ok(MineConfig {
            account: Account {
                host: host.to_string(),
                port,
                user: args.user.clone().unwrap_or_default(),
                password: args.password.clone(),
            },
            threads,
            kernel: args.kernel.as_deref().map(config::kernel).transpose()?,
            pin: args::pin(args.pin),
        })
    }
}

/// Mines until a signal comes.
///
/// # Errors
/// When the server does not take the user, or the machine does not let us work.
pub fn run(config: &MineConfig, style: Style) -> Result<(), MineError> {
    let signals = node::signals()?;
    let kernel = config.kernel.unwrap_or_else(node::fastest_kernel);
    let options = SearchOptions {
        until: Until::Replaced,
        pin: config.pin,
        ..SearchOptions::new(config.threads, kernel)
    };
    let (found, finds) = bounded(FIND_QUEUE);
    let search = Search::start(options, move |solution| {
        found.try_send(solution).ok(); // dropped when far too many come
    });
    let search = search.map_err(MineError::Thread)?;
    if let Some(error) = search.unpinned() {
        tracing::warn!(target: "mine", %error, "mining threads are not pinned");
    }
    tracing::info!(target: "mine", kernel = kernel.name, threads = config.threads,
        server = %server(&config.account), "mining");
    let mut miner = Miner {
        account: &config.account,
        session: Session::new(config.account.clone()),
        search,
        tally: Tally::default(),
        report: Report::new(style),
        start: clock(),
        connection: None,
        wait: FIRST_WAIT,
        connect_at: Some(Duration::ZERO),
    };
    let result = miner.mine(&signals, &finds);
    miner.search.set_job(None);
    let now = miner.now();
    let hashes = miner.hashes();
    miner.report.stopped(&miner.tally, now, hashes).map_err(MineError::Stdout)?;
    result
}

/// The driver's state.
struct Miner<'a> {
    account: &'a Account,
    session: Session,
    search: Search,
    tally: Tally,
    report: Report,
    start: Instant,
    connection: Option<Connection>,
    /// Before the next connection, if this one fails before it begins.
    wait: Duration,
    /// When to connect; `None` when that was done.
    connect_at: Option<Duration>,
}

impl Miner<'_> {
    fn mine(
        &mut self,
        signals: &Receiver<i32>,
        finds: &Receiver<Solution>,
    ) -> Result<(), MineError> {
        loop {
            let now = self.now();
            self.connect_if_due(now)?;
            if !self.search.is_alive() {
                return Err(MineError::Died);
            }
            let hashes = self.hashes();
            self.report.tick(&mut self.tally, now, hashes).map_err(MineError::Stdout)?;
            let moments = [self.session.wake_at(), self.connect_at, Some(self.report.wake_at())];
            let wake_at = moments.into_iter().flatten().min().unwrap_or(now);
            let nothing = never();
            let arrivals = self.connection.as_ref().map_or(&nothing, Connection::arrivals);
            let input = select! {
                recv(signals) -> _ => return Ok(()),
                recv(arrivals) -> arrival => match arrival {
                    Ok(Arrival::Open(stream)) => {
                        self.opened(stream)?;
                        Input::Connected
                    }
                    Ok(Arrival::Line(line)) => Input::Line(line),
                    Ok(Arrival::Closed(why)) => {
                        self.lose(&why, Duration::ZERO)?;
                        Input::Disconnected
                    }
                    Err(_) => {
                        self.lose("the connection's thread died", Duration::ZERO)?;
                        Input::Disconnected
                    }
                },
                recv(finds) -> solution => solution.map_or(Input::Tick, Input::Found),
                default(wake_at.saturating_sub(now)) => Input::Tick,
            };
            let now = self.now();
            self.session.handle(now, input);
            while let Some(output) = self.session.poll() {
                self.obey(now, output)?;
            }
        }
    }

    fn obey(&mut self, now: Duration, output: Output) -> Result<(), MineError> {
        match output {
            Output::Send(line) => {
                let sent = self.connection.as_mut().map_or(Ok(()), |server| server.send(&line));
                if let Err(error) = sent {
                    self.lose(&error.to_string(), Duration::ZERO)?;
                    self.session.handle(now, Input::Disconnected);
                }
            }
            Output::Mine(job) => {
                self.tally.state = match job {
                    Some(_) => State::Mining,
                    None if self.connection.is_some() => State::Resting,
                    None => State::Disconnected,
                };
                self.search.set_job(job);
            }
            Output::Share(verdict) => {
                self.tally.count(&verdict);
                self.report.share(&verdict).map_err(MineError::Stdout)?;
            }
            Output::Event(event) => {
                if event == Event::Authorised {
                    self.wait = FIRST_WAIT;
                }
                self.tally.note(&event);
                self.report.event(&event).map_err(MineError::Stdout)?;
            }
            Output::Failed(failure @ Failure::NotAuthorised(_)) => {
                return Err(MineError::Refused(failure));
            }
            Output::Failed(failure) => {
                let wait = match failure {
                    Failure::Reconnect { wait } => wait,
                    _ => Duration::ZERO,
                };
                self.lose(&failure.to_string(), wait)?;
            }
        }
        Ok(())
    }

    fn connect_if_due(&mut self, now: Duration) -> Result<(), MineError> {
        if self.connect_at.take_if(|at| *at <= now).is_some() {
            self.tally.state = State::Connecting;
            let Account { host, port, .. } = self.account;
            let connection = Connection::open(host.clone(), *port).map_err(MineError::Thread)?;
            self.connection = Some(connection);
        }
        Ok(())
    }

    fn opened(&mut self, stream: connection::Stream) -> Result<(), MineError> {
        if let Some(connection) = &mut self.connection {
            connection.write_to(stream);
        }
        self.tally.state = State::Resting;
        self.report.connected(&server(self.account)).map_err(MineError::Stdout)
    }

    /// Gives up the connection, and connects again after at least this long.
    fn lose(&mut self, why: &str, at_least: Duration) -> Result<(), MineError> {
        if self.connection.take().is_none() {
            return Ok(());
        }
        // Up to half as much more: miners that lost a server together come back one by one.
        let chance = folder::random::<1>().map_or(0, |byte| u32::from(byte[0]));
        let wait = (self.wait + self.wait * chance / 512).max(at_least);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.connect_at = Some(self.now() + wait);
        (self.tally.state, self.tally.job) = (State::Disconnected, None);
        self.report.disconnected(&server(self.account), why, wait).map_err(MineError::Stdout)
    }

    fn hashes(&self) -> u64 {
        self.search.hashes().iter().sum()
    }

    fn now(&self) -> Duration {
        clock().duration_since(self.start)
    }
}

fn server(account: &Account) -> String {
    format!("{}:{}", account.host, account.port)
}

#[expect(clippy::disallowed_methods, reason = "this driver reads the clock for the session")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn config(words: &str) -> Result<MineConfig, String> {
        let cli = Cli::try_parse_from(["graven", "mine"].into_iter().chain(words.split(' ')));
        let Command::Mine(args) = cli.map_err(|error| error.to_string())?.command else {
            panic!("it is the command that was typed");
        };
        let server = args.stratum.clone().ok_or("on demand")?;
        MineConfig::new(&server, &args).map_err(|error| error.to_string())
    }

    #[test]
    fn servers_are_host_and_port() {
        for (typed, host, port) in [
            ("pool.example:3333", "pool.example", 3333),
            ("stratum+tcp://127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
        ] {
            let config = config(&format!("--stratum {typed} --user me")).unwrap();
            assert_eq!((&config.account.host[..], config.account.port), (host, port));
            assert_eq!((&config.account.user[..], &config.account.password[..]), ("me", "x"));
            assert!(config.threads >= 1);
        }
        for wrong in ["pool", "pool:", "pool:0", "pool:65536", ":1", "stratum+ssl://pool:1"] {
            let error = config(&format!("--stratum {wrong} --user me")).unwrap_err();
            assert!(error.contains("HOST:PORT"), "{wrong}: {error}");
        }
    }

    #[test]
    fn flags_of_the_two_ways_to_mine_do_not_mix() {
        assert_eq!(config("5 --timeout 3").unwrap_err(), "on demand");
        for wrong in [
            "--stratum a:1",
            "--user me",
            "--threads 2",
            "5 --pin",
            "5 --stratum a:1 --user me",
            "--timeout 5 --stratum a:1 --user me",
            "--stratum a:1 --user me --threads 0",
            "--stratum a:1 --user me --kernel abacus",
        ] {
            let error = config(wrong).unwrap_err();
            assert_ne!(error, "on demand", "{wrong}");
        }
    }
}
