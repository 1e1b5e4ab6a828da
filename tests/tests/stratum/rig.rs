//! A miner for tests, which puts headers together by itself and tries one nonce after the other.

use std::net::SocketAddr;
use std::path::Path;

use chain::params::{Mining, Network};
use chain::{CompactTarget, Hash, sha256d};
use miner::stratum::difficulty;
use serde_json::{Value, json};
use tests::node::{Client, Node, Setup};

/// A block takes about a thousand hashes: found at once, and not by accident.
const BITS: CompactTarget = CompactTarget(0x1f3f_ffff);

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// A node that only others mine for, on a network whose blocks are easy and always wanted.
pub(super) fn start(folder: &Path) -> Node {
    start_at(folder, BITS)
}

/// The same with blocks as hard as this.
pub(super) fn start_at(folder: &Path, start_bits: CompactTarget) -> Node {
    let name = "rigs".to_string();
    let network = Network { name, mining: Mining::Continuous, start_bits, ..Network::dev() };
    let path = folder.join("rigs.toml");
    std::fs::write(&path, network.to_toml()).unwrap();
    let network = path.display().to_string();
    let setup =
        Setup { network, threads: 0, stratum: true, ..Setup::new(PROGRAM, folder.join("data")) };
    setup.start()
}

/// The node's own payee.
pub(super) fn own_address(node: &Node) -> String {
    node.ask("BALANCE").unwrap()["address"].as_str().unwrap().to_string()
}

/// A job as the miner reads it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    prev: Vec<u8>,
    coinbase: (Vec<u8>, Vec<u8>),
    branch: Vec<Vec<u8>>,
    pub(super) version: u32,
    bits: u32,
    pub(super) time: u32,
    pub(super) clean: bool,
}

/// The free fields of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub(super) extranonce2: [u8; 4],
    pub(super) time: u32,
    /// Bits of the version that differ from the job's.
    pub(super) rolled: u32,
}

/// A connection to the Stratum port.
pub(super) struct Rig {
    client: Client,
    pub(super) extranonce1: Vec<u8>,
    pub(super) difficulty: f64,
    pub(super) jobs: Vec<Job>,
}

impl Rig {
    pub(super) fn connect(node: &Node) -> Rig {
        Rig::at(node.stratum.expect("the node has the port"))
    }

    pub(super) fn at(address: SocketAddr) -> Rig {
        let client = Client::connect(address);
        Rig { client, extranonce1: Vec::new(), difficulty: 0.0, jobs: Vec::new() }
    }

    /// Sends text as it is.
    pub(super) fn send(&mut self, text: &str) {
        self.client.send(text.as_bytes()).expect("the node is there");
    }

    /// Sends bytes, if the node still takes them.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.client.send(bytes).is_ok()
    }

    pub(super) fn hang_up(&mut self) {
        self.client.finish();
    }

    /// The next line, whatever it is; `None` at the end.
    pub(super) fn line(&mut self) -> Option<Value> {
        let line = self.client.line()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
    }

    /// The next reply, and takes in the notifications before it.
    pub(super) fn reply(&mut self) -> Value {
        loop {
            let line = self.line().expect("the node answers");
            if line.get("method").is_none() {
                assert!(line.get("result").is_some() && line.get("error").is_some(), "{line}");
                return line;
            }
            self.note(&line);
        }
    }

    /// The newest job, which a node that has just started may not have sent yet.
    pub(super) fn job(&mut self) -> Job {
        self.jobs.last().cloned().unwrap_or_else(|| self.next_job())
    }

    /// Waits for the next job.
    pub(super) fn next_job(&mut self) -> Job {
        loop {
            let line = self.line().expect("the node sends jobs");
            assert!(line.get("method").is_some(), "an answer to nothing: {line}");
            if self.note(&line) {
                return self.jobs.last().cloned().expect("just noted");
            }
        }
    }

    /// Takes in a notification; whether it was a job.
    fn note(&mut self, line: &Value) -> bool {
        assert_eq!(line["id"], Value::Null, "{line}");
        let params = line["params"].as_array().expect("notifications have parameters");
        match line["method"].as_str() {
            Some("mining.set_difficulty") => self.difficulty = params[0].as_f64().unwrap(),
            Some("mining.notify") => self.jobs.push(job(params)),
            other => panic!("nobody asked for {other:?}"),
        }
        line["method"] == "mining.notify"
    }

    /// Asks, and returns the reply, whose id must be the request's.
    pub(super) fn ask(&mut self, request: &Value) -> Value {
        self.send(&format!("{request}\n"));
        let reply = self.reply();
        assert_eq!(reply["id"], request["id"], "{reply}");
        reply
    }

    /// Takes the extranonce of a subscription's reply.
    pub(super) fn subscribed(&mut self, reply: &Value) {
        self.extranonce1 = unhex(reply["result"][1].as_str().unwrap());
        assert_eq!(self.extranonce1.len(), 4);
        assert_eq!(reply["result"][2], 4, "bytes of extranonce2");
    }

    /// Subscribes and logs in as others do, and waits for the first job.
    pub(super) fn log_in(&mut self, user: &str) -> Job {
        let reply = self.ask(&json!({"id": 1, "method": "mining.subscribe", "params": ["rig/1"]}));
        self.subscribed(&reply);
        let reply =
            self.ask(&json!({"id": 2, "method": "mining.authorize", "params": [user, "x"]}));
        assert_eq!(reply["result"], true, "{reply}");
        self.next_job()
    }

    /// A nonce whose header is a block, or one that is none.
    pub(super) fn search(&self, job: &Job, free: Free, block: bool) -> (u32, Hash) {
        let target = CompactTarget(job.bits).decode().unwrap();
        let found = |nonce: &u32| target.is_met_by(&self.hash(job, free, *nonce)) == block;
        let nonce = (0..).find(found).expect("targets of tests are easy");
        (nonce, self.hash(job, free, nonce))
    }

    /// A nonce whose hash is too high for the difficulty asked for.
    pub(super) fn search_low(&self, job: &Job, free: Free) -> u32 {
        let target = difficulty::target(self.difficulty / 2.0, difficulty::EASIEST_ONE);
        let target = target.expect("a difficulty was sent");
        let low = |nonce: &u32| !target.is_met_by(&self.hash(job, free, *nonce));
        (0..).find(low).expect("most hashes are high")
    }

    fn hash(&self, job: &Job, free: Free, nonce: u32) -> Hash {
        let coinbase =
            [&job.coinbase.0[..], &self.extranonce1, &free.extranonce2, &job.coinbase.1].concat();
        let fold =
            |left: Vec<u8>, right: &Vec<u8>| sha256d(&[left, right.clone()].concat()).0.to_vec();
        let root = job.branch.iter().fold(sha256d(&coinbase).0.to_vec(), fold);
        let mut header = (job.version ^ free.rolled).to_le_bytes().to_vec();
        header.extend(&job.prev);
        header.extend(root);
        header.extend(free.time.to_le_bytes());
        header.extend(job.bits.to_le_bytes());
        header.extend(nonce.to_le_bytes());
        assert_eq!(header.len(), 80);
        sha256d(&header)
    }
}

fn job(params: &[Value]) -> Job {
    assert_eq!(params.len(), 9);
    let text = |at: usize| params[at].as_str().expect("a text").to_string();
    let number = |at: usize| {
        assert_eq!(text(at).len(), 8);
        u32::from_str_radix(&text(at), 16).unwrap()
    };
    let id = text(0);
    assert!(u64::from_str_radix(&id, 16).is_ok(), "cpuminer-opt reads ids as hex: {id}");
    // Every word reversed: the rule as cgminer writes it, from the last byte of each word.
    let prev: Vec<u8> =
        unhex(&text(1)).chunks(4).flat_map(|word| [word[3], word[2], word[1], word[0]]).collect();
    let branch = params[4].as_array().unwrap().iter().map(|hash| unhex(hash.as_str().unwrap()));
    Job {
        id,
        prev,
        coinbase: (unhex(&text(2)), unhex(&text(3))),
        branch: branch.collect(),
        version: number(5),
        bits: number(6),
        time: number(7),
        clean: params[8].as_bool().unwrap(),
    }
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
