//! Nodes with lines between them, what was written at them, and what must be true in the end.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;
use tests::node::{Node, Setup, wait_until};
use tests::proxy::Proxy;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// Two nodes that mine, and the one line between them: the near one knows nobody but the proxy,
/// and nobody knows the near one.
pub(super) struct Pair {
    pub(super) near: Node,
    pub(super) far: Node,
    pub(super) proxy: Proxy,
    written: Written,
    temp: TempDir,
}

/// Every write that a node has acknowledged with `WAIT 1`.
#[derive(Default)]
pub(super) struct Written(BTreeMap<String, String>);

/// A mining node that talks about its connections.
pub(super) fn setup(temp: &TempDir, name: &str) -> Setup {
    let mut setup = Setup::new(PROGRAM, temp.path().join(name));
    setup.log = "info,net=debug".to_string();
    // Every machine has it, and so it need not be measured.
    setup.more = ["--kernel", "sha2"].map(str::to_string).to_vec();
    setup
}

/// Lets a node have these peers and no others.
pub(super) fn connect_only(setup: &mut Setup, peers: &[std::net::SocketAddr]) {
    let words = peers.iter().flat_map(|peer| ["--connect".to_string(), peer.to_string()]);
    setup.more.extend(words);
}

impl Pair {
    /// Two nodes that have found each other.
    pub(super) fn start(seed: u64) -> Pair {
        let pair = Pair::start_apart(seed, tests::proxy::Faults::none());
        pair.wait_for_connection();
        pair
    }

    /// Two nodes whose line is as it is.
    pub(super) fn start_apart(seed: u64, faults: tests::proxy::Faults) -> Pair {
        let temp = tempfile::tempdir().expect("there is room for a test");
        let far = setup(&temp, "far").start();
        let proxy = Proxy::start(far.peers, seed);
        proxy.set(faults);
        let mut near = setup(&temp, "near");
        connect_only(&mut near, &[proxy.address()]);
        let near = near.start();
        Pair { near, far, proxy, written: Written::default(), temp }
    }

    pub(super) fn nodes(&self) -> [&Node; 2] {
        [&self.near, &self.far]
    }

    pub(super) fn wait_for_connection(&self) {
        wait_until("a connection", || self.nodes().iter().all(|node| node.status()["peers"] == 1));
    }

    /// Puts something at each node and waits until it is in a block there.
    pub(super) fn put_at_both(&mut self) {
        self.written.put(&self.near, 100);
        self.written.put(&self.far, 100);
    }

    /// Puts a value of so many bytes at the far node.
    pub(super) fn put_far(&mut self, bytes: usize) {
        self.written.put(&self.far, bytes);
    }

    /// Waits until both nodes have one chain with all that was written, and nothing else.
    pub(super) fn agree(&self) {
        self.written.wait_for_agreement(&self.nodes());
    }

    /// Whether the nodes have different tips.
    pub(super) fn differ(&self) -> bool {
        self.near.status()["tip"] != self.far.status()["tip"]
    }

    /// Waits until a node has logged something.
    pub(super) fn wait_for_log(&self, what: &str) {
        let log = |name: &str| std::fs::read_to_string(self.temp.path().join(name));
        wait_until(&format!("{what:?} being logged"), || {
            ["near.log", "far.log"].iter().any(|name| log(name).is_ok_and(|l| l.contains(what)))
        });
    }
}

impl Written {
    /// Puts a value of so many bytes under a new key, and waits until it is in a block.
    pub(super) fn put(&mut self, node: &Node, bytes: usize) {
        self.put_as(node, "key", bytes);
    }

    /// Likewise, with keys that begin like this.
    pub(super) fn put_as(&mut self, node: &Node, prefix: &str, bytes: usize) {
        let key = format!("{prefix}{}", self.0.len());
        let value: String = format!("{key} ").chars().cycle().take(bytes).collect();
        let answer = node.ask(&format!("PUT {key} '{value}' IF ABSENT WAIT 1"));
        assert_eq!(answer.expect("a mining node confirms")["status"], "confirmed");
        self.0.insert(key, value);
    }

    /// Adds what was written elsewhere.
    pub(super) fn add(&mut self, other: Written) {
        self.0.extend(other.0);
    }

    /// Waits until all have one tip and nothing waits; then each must have all that was written,
    /// and nothing else.
    pub(super) fn wait_for_agreement(&self, nodes: &[&Node]) {
        wait_until("agreement on one tip", || {
            let all: Vec<Value> = nodes.iter().map(|node| node.status()).collect();
            all.iter().all(|status| status["tip"] == all[0]["tip"] && status["mempool"] == 0)
        });
        for node in nodes {
            let page = node.ask("SCAN '' LIMIT 1000").expect("a running node answers");
            assert_eq!(page["next"], Value::Null, "all are on one page");
            let text = |entry: &Value, field: &str| entry[field].as_str().map(str::to_string);
            let found: Option<BTreeMap<String, String>> = page["keys"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|entry| text(entry, "key").zip(text(entry, "value")))
                .collect();
            let data = node.setup.data.display();
            assert!(found.as_ref() == Some(&self.0), "{data} has {found:.2000?}");
        }
    }
}
