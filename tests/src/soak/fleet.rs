//! The nodes: who starts when, who is killed, and what is seen of them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Options;
use super::measure::{Peaks, Usage};
use super::writers::Log;
use crate::node::{Node, Setup, now};

/// Two nodes mine, with one thread each and behind everybody else.
const MINERS: usize = 2;

/// Of so many nodes one joins late.
const ONE_LATE_IN: usize = 5;

/// Most nodes that are dead at the same time, of so many.
const ONE_DEAD_IN: usize = 8;

/// A killed node comes back after this at the latest.
const MAX_DEAD: Duration = Duration::from_secs(20);

/// Between two looks at what is due.
const POLL: Duration = Duration::from_millis(50);

/// Between two looks at what nodes take.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A node has all its threads and files after this.
const GROWN_UP: Duration = Duration::from_secs(10);

/// One node's place, running or not.
struct Place {
    setup: Setup,
    node: Option<Node>,
    /// When it starts next, if it is not running.
    due: Instant,
    /// When it started last, and the first look at it once it was grown up.
    started: Instant,
    first_look: Option<Usage>,
    has_run: bool,
}

/// All of them.
pub(super) struct Fleet<'a> {
    places: Vec<Place>,
    folder: PathBuf,
    live: &'a Mutex<Vec<Setup>>,
    rng: StdRng,
    end: Instant,
    kill_every: Duration,
    next_kill: Instant,
    pub(super) late: u64,
    pub(super) kills: u64,
    pub(super) peaks: Peaks,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(
        options: &Options,
        folder: &Path,
        network: &str,
        live: &'a Mutex<Vec<Setup>>,
    ) -> Fleet<'a> {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let start = now();
        let mut late = 0;
        let mut place = |number: usize| {
            let program = options.program.to_string_lossy();
            let mut setup = Setup::new(&program, folder.join(format!("node{number:02}")));
            setup.network = network.to_string();
            setup.threads = usize::from(number < MINERS);
            if number < MINERS {
                setup.wrapper = ["nice", "-n", "15"].map(str::to_string).to_vec();
            }
            let is_late = number % ONE_LATE_IN == ONE_LATE_IN - 1;
            late += u64::from(is_late);
            let half = options.duration / 2;
            let wait =
                if is_late { half.mul_f64(rng.random_range(0.2..1.0)) } else { Duration::ZERO };
            let (due, first_look) = (start + wait, None);
            Place { setup, node: None, due, started: start, first_look, has_run: false }
        };
        let places = (0..options.nodes).map(&mut place).collect();
        Fleet {
            places,
            folder: folder.to_path_buf(),
            live,
            rng,
            end: start + options.duration,
            kill_every: options.kill_every,
            next_kill: start + options.kill_every,
            late,
            kills: 0,
            peaks: Peaks::default(),
        }
    }

    /// Starts, kills and looks at nodes until the time is up.
    ///
    /// # Errors
    /// When a node takes too much, or ended by itself.
    pub(super) fn live(
        &mut self,
        log: &Mutex<Log>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let (mut next_look, mut next_line) = (now() + LOOK_EVERY, now());
        while now() < self.end {
            let due =
                self.places.iter().position(|place| place.node.is_none() && place.due <= now());
            if let Some(number) = due {
                self.start(number);
                continue; // one after the other, with a look at the rest in between
            }
            if self.next_kill <= now() {
                let span = self.kill_every * 2;
                self.next_kill = now() + span.mul_f64(self.rng.random_range(0.0..1.0));
                self.kill();
            }
            if next_look <= now() {
                next_look = now() + LOOK_EVERY;
                self.look()?;
            }
            if next_line <= now() {
                next_line = now() + TELL_EVERY;
                progress(&self.line(log));
            }
            std::thread::park_timeout(POLL);
        }
        Ok(())
    }

    /// Starts a node that knows two others.
    fn start(&mut self, number: usize) {
        let others: Vec<Setup> =
            self.places.iter().filter(|p| p.has_run).map(|p| p.setup.clone()).collect();
        let mut lines = String::new();
        for _ in 0..2.min(others.len()) {
            let other = &others[self.rng.random_range(0..others.len())];
            lines += &format!("{}\n", other.listen);
        }
        let seeds = self.folder.join(format!("seeds{number:02}"));
        std::fs::write(&seeds, lines).expect("the folder can be written");
        let place = &mut self.places[number];
        // While it was dead somebody's outgoing connection may have been given its port.
        for address in [&mut place.setup.listen, &mut place.setup.admin] {
            if TcpListener::bind(*address).is_err() {
                address.set_port(0);
            }
        }
        place.setup.more = vec!["--seeds".to_string(), seeds.display().to_string()];
        let node = place.setup.start();
        place.setup = node.same_again();
        place.node = Some(node);
        (place.started, place.first_look, place.has_run) = (now(), None, true);
        self.publish();
    }

    /// Kills a node by chance, unless enough are dead; never both miners.
    fn kill(&mut self) {
        let running: Vec<usize> =
            (0..self.places.len()).filter(|number| self.places[*number].node.is_some()).collect();
        let dead = self.places.iter().filter(|p| p.has_run && p.node.is_none()).count();
        if dead >= self.places.len().div_ceil(ONE_DEAD_IN) || running.is_empty() {
            return;
        }
        let chosen = running[self.rng.random_range(0..running.len())];
        if chosen < MINERS && self.places[1 - chosen].node.is_none() {
            return;
        }
        let wait = MAX_DEAD.min(self.kill_every * 4).mul_f64(self.rng.random_range(0.0..1.0));
        let place = &mut self.places[chosen];
        if let Some(node) = place.node.take() {
            place.setup = node.kill();
            place.due = now() + wait;
            self.kills += 1;
        }
        self.publish();
    }

    /// Tells the clients who runs.
    fn publish(&self) {
        let live = self.places.iter().filter(|place| place.node.is_some());
        *self.live.lock().expect("no writer panics") =
            live.map(|place| place.setup.clone()).collect();
    }

    /// Looks at what all nodes take.
    fn look(&mut self) -> Result<(), String> {
        for place in &mut self.places {
            let Some(node) = &mut place.node else { continue };
            if !node.is_running() {
                return Err(format!("{} ended:\n{}", place.setup.data.display(), node.log()));
            }
            let usage = self.peaks.look_at(node)?;
            if place.started.elapsed() >= GROWN_UP {
                place.first_look.get_or_insert(usage);
            }
        }
        Ok(())
    }

    fn line(&self, log: &Mutex<Log>) -> String {
        let left = self.end.saturating_duration_since(now()).as_secs();
        let running = self.nodes().count();
        let (confirmed, unknown) = {
            let log = log.lock().expect("no writer panics");
            (log.confirmed.len(), log.unknown)
        };
        let (kills, height, rss) = (self.kills, self.height(), self.peaks.rss_kb / 1024);
        format!(
            "{left:>4} s left, {running} run, {kills} kills, height {height}, {confirmed} writes \
             ({unknown} unknown), {rss} MB at most"
        )
    }

    /// The nodes that run.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().filter_map(|place| place.node.as_ref())
    }

    /// Height of the first node that runs.
    pub(super) fn height(&self) -> u64 {
        let first = self.nodes().next().map(Node::status);
        first.and_then(|status| status["height"].as_u64()).unwrap_or(0)
    }

    /// Starts whoever does not run.
    pub(super) fn start_all(&mut self) {
        for number in 0..self.places.len() {
            if self.places[number].node.is_none() {
                self.start(number);
            }
        }
    }

    /// Waits until all have one tip and nothing waits anywhere.
    ///
    /// # Errors
    /// Who differs when the time is up.
    pub(super) fn wait_for_agreement(&self, patience: Duration) -> Result<(), String> {
        let deadline = now() + patience;
        loop {
            let all: Vec<(String, u64, String)> = self
                .nodes()
                .map(|node| {
                    let status = node.status();
                    let pool = status["mempool"].as_u64().unwrap_or(u64::MAX);
                    let data = node.setup.data.display().to_string();
                    (status["tip"].to_string(), pool, data)
                })
                .collect();
            if all.iter().all(|(tip, pool, _)| *tip == all[0].0 && *pool == 0) {
                return Ok(());
            }
            if now() > deadline {
                return Err(format!("no agreement in {patience:?}: {all:#?}"));
            }
            std::thread::park_timeout(POLL * 4);
        }
    }

    /// Looks at all nodes once no client is there any more.
    ///
    /// # Errors
    /// When a node takes too much, has grown, or has sockets that nobody uses.
    pub(super) fn measure_at_rest(&mut self) -> Result<(), String> {
        for place in &self.places {
            let Some(node) = &place.node else { continue };
            let usage = self.peaks.look_at(node)?;
            let peers = node.status()["peers"].as_u64().unwrap_or(0);
            let data = place.setup.data.display();
            let named = |what: String| format!("{data}: {what}");
            usage.check_rest(usize::try_from(peers).unwrap_or(0)).map_err(named)?;
            if let Some(earlier) = &place.first_look {
                usage.check_growth(earlier).map_err(named)?;
            }
        }
        Ok(())
    }

    /// Reorganisations that the nodes have logged.
    pub(super) fn reorganisations(&self) -> u64 {
        let logs = self.places.iter().map(|place| place.setup.data.with_extension("log"));
        let texts = logs.filter_map(|path| std::fs::read_to_string(path).ok());
        texts.map(|text| text.matches("reorganised").count() as u64).sum()
    }

    /// Stops all nodes cleanly.
    ///
    /// # Errors
    /// When one does not end as it should.
    pub(super) fn stop(self) -> Result<Vec<Setup>, String> {
        let nodes = self.places.into_iter().filter_map(|place| place.node);
        nodes
            .map(|node| match node.terminate() {
                (setup, status, _) if status.success() => Ok(setup),
                (setup, status, _) => Err(format!("{}: {status}", setup.data.display())),
            })
            .collect()
    }
}
