//! Three honest nodes in a line, and how long news takes from one end to the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::chains::free_network;
use tests::node::{Client, Node, Setup, now, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// Between two writes.
const PACE: Duration = Duration::from_millis(80);

/// A knows B, B knows C; A takes writes, C mines them. So every write passes through B on its way
/// there, and its block on its way back.
pub(super) struct Line {
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) c: Node,
}

impl Line {
    pub(super) fn start(folder: &Path) -> Line {
        let network = folder.join("free.toml");
        std::fs::write(&network, free_network().to_toml()).expect("the folder can be written");
        let node = |name: &str, threads: usize, peer: Option<&Node>| {
            let mut setup = Setup::new(PROGRAM, folder.join(name));
            setup.network = network.display().to_string();
            setup.threads = threads;
            setup.peers = peer.map(|peer| peer.peers).into_iter().collect();
            setup
        };
        let c = node("c", 1, None).start();
        let b = node("b", 0, Some(&c)).start();
        // It tells nobody where it is, or C would find it.
        let a = only_with(&b, node("a", 0, None)).start();
        wait_until("the line", || b.status()["peers"] == 2 && a.status()["peers"] == 1);
        Line { a, b, c }
    }

    /// One more honest node, which knows only B.
    pub(super) fn newcomer(&self, folder: &Path) -> Node {
        let setup = self.a.setup.clone();
        Setup { data: folder.join("newcomer"), ..setup }.start()
    }

    /// Writes so many keys at A one after the other, and measures when they are pending at C, and
    /// how much later than at C they are in a block at A.
    pub(super) fn measure(&self, prefix: &str, count: usize) -> Delays {
        let (accepted, pending, mined, returned) =
            (Times::default(), Times::default(), Times::default(), Times::default());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (mut at_c, mut at_a) = (self.c.client(), self.a.client());
            for watcher in [&mut at_c, &mut at_a] {
                watcher.ask(&format!("WATCH {prefix}/")).expect("keys can be watched");
            }
            let done = &done;
            scope.spawn(|| watch(at_c, &pending, &mined, done));
            scope.spawn(|| watch(at_a, &Times::default(), &returned, done));
            let mut writer = self.a.client();
            for number in 0..count {
                let key = format!("{prefix}/{number}");
                writer.ask(&format!("PUT {key} value-{number}")).expect("A takes writes");
                accepted.note(key);
                thread::park_timeout(PACE);
            }
            wait_until("all news at both ends", || {
                pending.count() == count && mined.count() == count && returned.count() == count
            });
            done.store(true, Ordering::Relaxed);
            // Its events end the watchers' waits.
            writer.ask(&format!("PUT {prefix}/end now WAIT 1")).expect("A takes writes");
        });
        Delays { writes: pending.after(&accepted), blocks: returned.after(&mined) }
    }
}

/// A node that has one peer and wants no other.
fn only_with(peer: &Node, mut setup: Setup) -> Setup {
    setup.more = vec!["--connect".to_string(), peer.peers.to_string()];
    setup
}

/// When what was seen of each key.
#[derive(Default)]
struct Times(Mutex<BTreeMap<String, Instant>>);

impl Times {
    fn note(&self, key: String) {
        self.0.lock().expect("nobody panics with it").entry(key).or_insert_with(now);
    }

    fn count(&self) -> usize {
        self.0.lock().expect("nobody panics with it").len()
    }

    /// How much later than the others', shortest first.
    fn after(&self, others: &Times) -> Vec<Duration> {
        let (own, others) = (self.0.lock().expect("done"), others.0.lock().expect("done"));
        let later = |(key, at): (&String, &Instant)| at.saturating_duration_since(others[key]);
        let mut list: Vec<Duration> = own.iter().map(later).collect();
        list.sort_unstable();
        list
    }
}

fn watch(mut client: Client, pending: &Times, included: &Times, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let Some(line) = client.line() else { return };
        let Some(json) = line.strip_prefix("+EVENT ") else { continue };
        let event: Value = serde_json::from_str(json).expect("events are JSON");
        let key = event["key"].as_str().unwrap_or_default().to_string();
        match event["event"].as_str() {
            _ if key.ends_with("/end") => {}
            Some("pending") => pending.note(key),
            Some("included") => {
                // A block can be faster than the announcement of what is in it.
                pending.note(key.clone());
                included.note(key);
            }
            _ => {}
        }
    }
}

/// How long news took, shortest first.
pub(super) struct Delays {
    pub(super) writes: Vec<Duration>,
    pub(super) blocks: Vec<Duration>,
}

/// The time in which so many of a hundred were there.
pub(super) fn percentile(list: &[Duration], percent: usize) -> Duration {
    list[(list.len() * percent).div_ceil(100).saturating_sub(1)]
}

impl std::fmt::Display for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (what, list) in [("writes", &self.writes), ("blocks", &self.blocks)] {
            let at = |percent| percentile(list, percent).as_millis();
            let (count, last) = (list.len(), at(100));
            write!(f, "{count} {what}: p50 {} ms, p99 {} ms, max {last} ms; ", at(50), at(99))?;
        }
        Ok(())
    }
}

/// Memory in use now and at most, in bytes.
pub(super) fn memory(node: &Node) -> (u64, u64) {
    let path = format!("/proc/{}/status", node.process_id());
    let text = std::fs::read_to_string(path).expect("the node runs, on Linux");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it has one");
        let kilobytes = line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        kilobytes.expect("a number of kB") * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// CPU time a process has used so far, in hundredths of a second.
pub(super) fn cpu(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The name may have spaces; it is in parentheses.
    let rest = text.rsplit_once(')').expect("the name is in parentheses").1;
    let field =
        |at: usize| rest.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok());
    field(11).expect("user time") + field(12).expect("system time")
}
