//! `graven mine --stratum` as a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::node::{graven, now, wait_until};

/// A miner's process, killed when dropped.
#[derive(Debug)]
pub struct Miner {
    process: Child,
    events: PathBuf,
}

impl Miner {
    /// Starts a miner of this user at a server. It tells its events in this file, and on a file
    /// beside it what else it has to say.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(program: &str, events: &Path, server: SocketAddr, user: &str) -> Miner {
        let file = |path: &Path| File::create(path).expect("the test's folder can be written");
        let process = graven(program.as_ref())
            .args(["mine", "--json", "--user", user, "--kernel", "sha2", "--threads", "2"])
            .args(["--stratum", &server.to_string()])
            .stdin(Stdio::null())
            .stdout(file(events))
            .stderr(file(&events.with_extension("log")))
            .spawn()
            .expect("the binary under test starts");
        Miner { process, events: events.to_path_buf() }
    }

    /// What it has told on standard output so far.
    ///
    /// # Panics
    /// When that is not JSON.
    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.events).expect("the file is there");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
    }

    /// Waits until it has told so many events that are like this.
    pub fn wait_for(&self, what: &str, count: usize, is_like: impl Fn(&Value) -> bool) {
        wait_until(what, || self.events().iter().filter(|event| is_like(event)).count() >= count);
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the miner ending", || {
            ended = self.process.try_wait().expect("it is our child");
            ended.is_some()
        });
        ended.expect("waited for")
    }

    /// Ends it with SIGTERM, which must be soon and clean. Returns its last words.
    ///
    /// # Panics
    /// When it ends late or with an error.
    pub fn terminate(mut self) -> Value {
        let started = now();
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM cannot be sent");
        let status = self.wait();
        let took = started.elapsed();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(took < Duration::from_secs(5), "{took:?}");
        let last = self.events().pop().expect("it has said something");
        assert_eq!(last["event"], "stopped", "{last}");
        last
    }

    /// What it has said on standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.events.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if std::thread::panicking() {
            let events = std::fs::read_to_string(&self.events).unwrap_or_default();
            let lines: Vec<&str> = events.lines().collect();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            eprintln!("events of the miner:\n{tail}\nits log:\n{}", self.log());
        }
    }
}
