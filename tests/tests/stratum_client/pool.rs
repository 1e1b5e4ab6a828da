//! A Stratum server by the letter of the protocol, and a miner at it. Nothing here is shared with
//! the client under test: headers are put together and hashed by this file alone.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::miner::Miner;
use tests::node::{PATIENCE, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// One header in about 4096 makes a share.
const DIFFICULTY: f64 = 1.0 / (1 << 20) as f64;
/// Bitcoin's easiest target times 2^20, most significant digit first.
const TARGET: &str = "000ffff000000000000000000000000000000000000000000000000000000000";

/// Waits for miners.
pub(crate) struct Pool {
    address: SocketAddr,
    /// `None` when it is closed.
    listener: Option<TcpListener>,
    folder: tempfile::TempDir,
}

impl Pool {
    pub(crate) fn new() -> Pool {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("sockets can be asked without waiting");
        Pool {
            address: listener.local_addr().expect("it is bound"),
            listener: Some(listener),
            folder: tempfile::tempdir().expect("a folder can be made"),
        }
    }

    /// Listens no more.
    pub(crate) fn close(&mut self) {
        self.listener = None;
    }

    /// Starts a miner for this pool.
    pub(crate) fn start_miner(&self) -> Miner {
        Miner::start(PROGRAM, &self.folder.path().join("events"), self.address, "me.rig")
    }

    /// Waits for a miner's connection.
    pub(crate) fn accept(&self) -> Connection {
        let mut accepted = None;
        let listener = self.listener.as_ref().expect("it is open");
        wait_until("a miner connecting", || match listener.accept() {
            Ok((stream, _)) => {
                accepted = Some(stream);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("cannot accept: {error}"),
        });
        let stream = accepted.expect("waited for");
        stream.set_nonblocking(false).expect("sockets can wait");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream.set_nodelay(true).expect("delays can be switched off");
        Connection {
            reader: BufReader::new(stream),
            mask: None,
            extranonce_1: Vec::new(),
            extranonce_2_bytes: 0,
            job: Job::new("", 0),
            seen: HashSet::new(),
        }
    }
}

/// What is mined, in the words of `mining.notify`.
#[derive(Clone)]
pub(crate) struct Job {
    id: String,
    previous: [u8; 32],
    coinbase: [Vec<u8>; 2],
    branch: Vec<[u8; 32]>,
    version: u32,
    time: u32,
}

impl Job {
    /// A job that differs from others with another number.
    pub(crate) fn new(id: &str, number: u8) -> Job {
        Job {
            id: id.to_string(),
            previous: std::array::from_fn(|at| u8::try_from(at).expect("below 32") ^ number),
            coinbase: [vec![number; 50], vec![7; 70]],
            branch: (0..number % 4).map(|at| [at; 32]).collect(),
            // Two bits of it are in the mask.
            version: 0x2000_a000,
            time: 1_800_000_000,
        }
    }
}

/// A miner's connection, and what it was told.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    mask: Option<u32>,
    extranonce_1: Vec<u8>,
    extranonce_2_bytes: usize,
    job: Job,
    seen: HashSet<String>,
}

impl Connection {
    /// Takes the miner: versions are rolled within `mask`, or not at all.
    pub(crate) fn greet(&mut self, mask: Option<u32>, extranonce_2_bytes: usize) {
        let configure = self.expect("mining.configure");
        assert_eq!(configure["params"][0], json!(["version-rolling"]));
        assert_eq!(configure["params"][1]["version-rolling.mask"], "ffffffff");
        match mask.map(|mask| format!("{mask:08x}")) {
            Some(mask) => {
                let result = json!({"version-rolling": true, "version-rolling.mask": mask});
                self.answer(&configure, &result, &Value::Null);
            }
            None => self.answer(&configure, &Value::Null, &json!([-3, "unknown method", null])),
        }
        let subscribe = self.expect("mining.subscribe");
        assert!(subscribe["params"][0].as_str().expect("text").starts_with("graven/"));
        self.mask = mask;
        (self.extranonce_1, self.extranonce_2_bytes) = (vec![9, 8, 7], extranonce_2_bytes);
        let result = json!([[["mining.notify", "1"]], "090807", extranonce_2_bytes]);
        self.answer(&subscribe, &result, &Value::Null);
        let authorise = self.expect("mining.authorize");
        assert_eq!(authorise["params"], json!(["me.rig", "x"]));
        self.answer(&authorise, &json!(true), &Value::Null);
        let extra = self.expect("mining.extranonce.subscribe");
        self.answer(&extra, &Value::Null, &json!([20, "no", null]));
        self.tell("mining.set_difficulty", &json!([DIFFICULTY]));
    }

    /// Gives work. Shares of other jobs do not count from now on.
    pub(crate) fn notify(&mut self, job: &Job) {
        self.job = job.clone();
        let words: Vec<u8> =
            job.previous.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        let branch: Vec<String> = job.branch.iter().map(|hash| HEXLOWER.encode(hash)).collect();
        let [first, second] = &job.coinbase;
        let params = json!([
            job.id,
            HEXLOWER.encode(&words),
            HEXLOWER.encode(first),
            HEXLOWER.encode(second),
            branch,
            format!("{:08x}", job.version),
            "1d00ffff",
            format!("{:08x}", job.time),
            true,
        ]);
        self.tell("mining.notify", &params);
    }

    pub(crate) fn set_extranonce(&mut self, extranonce_1: &[u8], extranonce_2_bytes: usize) {
        (self.extranonce_1, self.extranonce_2_bytes) = (extranonce_1.to_vec(), extranonce_2_bytes);
        let params = json!([HEXLOWER.encode(extranonce_1), extranonce_2_bytes]);
        self.tell("mining.set_extranonce", &params);
    }

    /// Checks and takes so many shares of the job, and refuses those of jobs before.
    pub(crate) fn take_shares(&mut self, count: usize) {
        let mut taken = 0;
        while taken < count {
            let submit = self.next_share();
            self.check(&submit);
            self.answer(&submit, &json!(true), &Value::Null);
            taken += 1;
        }
    }

    /// The next share of the job; those of jobs before are refused.
    pub(crate) fn next_share(&mut self) -> Value {
        loop {
            let submit = self.expect("mining.submit");
            if submit["params"][1] == self.job.id.as_str() {
                return submit;
            }
            self.refuse_as_stale(&submit);
        }
    }

    pub(crate) fn refuse_as_stale(&mut self, submit: &Value) {
        self.answer(submit, &Value::Null, &json!([21, "Job not found", null]));
    }

    /// Asserts that a share is right, new, and hard enough.
    fn check(&mut self, submit: &Value) {
        let params: Vec<&str> = submit["params"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|value| value.as_str().expect("text"))
            .collect();
        assert!(self.seen.insert(params.join(" ")), "sent twice: {submit}");
        assert_eq!(params[0], "me.rig");
        assert_eq!(params.len(), if self.mask.is_some() { 6 } else { 5 }, "{submit}");
        let number = |text: &str| {
            assert_eq!(text.len(), 8, "{submit}");
            u32::from_str_radix(text, 16).expect("hex digits")
        };
        let version = self.mask.map_or(self.job.version, |mask| {
            let bits = number(params[5]);
            assert_eq!(bits & !mask, 0, "{submit}");
            self.job.version & !mask | bits
        });
        let (time, nonce) = (number(params[3]), number(params[4]));
        assert!((self.job.time..=self.job.time + 60).contains(&time), "{submit}");
        let extranonce_2 = HEXLOWER.decode(params[2].as_bytes()).expect("hex digits");
        assert_eq!(extranonce_2.len(), self.extranonce_2_bytes, "{submit}");
        let [first, second] = &self.job.coinbase;
        let coinbase = [first, &self.extranonce_1, &extranonce_2, second].map(|part| &part[..]);
        let root = self
            .job
            .branch
            .iter()
            .fold(twice(&coinbase.concat()), |left, right| twice(&[left, *right].concat()));
        let mut header = version.to_le_bytes().to_vec();
        header.extend(self.job.previous);
        header.extend(root);
        header.extend([time, 0x1d00_ffff, nonce].into_iter().flat_map(u32::to_le_bytes));
        assert_eq!(header.len(), 80);
        let mut hash = twice(&header);
        hash.reverse();
        assert!(*HEXLOWER.encode(&hash) <= *TARGET, "not hard enough: {submit}");
    }

    /// Asks, and waits for the answer. Shares before it are refused.
    pub(crate) fn ping(&mut self) {
        self.send(r#"{"id":"ping","method":"mining.ping","params":[]}"#);
        loop {
            let line = self.line();
            if line["method"] == "mining.submit" {
                self.refuse_as_stale(&line);
            } else {
                assert_eq!(line["result"], "pong", "{line}");
                return;
            }
        }
    }

    /// The next line, which must be this request.
    pub(crate) fn expect(&mut self, method: &str) -> Value {
        let line = self.line();
        assert_eq!(line["method"], method, "{line}");
        line
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).expect("the miner says something in time");
        assert!(read > 0, "the miner has closed the connection");
        serde_json::from_str(&line).expect("the miner speaks JSON")
    }

    pub(crate) fn answer(&mut self, request: &Value, result: &Value, error: &Value) {
        let answer = json!({"id": request["id"], "result": result, "error": error});
        self.send(&answer.to_string());
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"id": null, "method": method, "params": params}).to_string());
    }

    fn send(&mut self, line: &str) {
        self.try_send(line).expect("the miner is there");
    }

    pub(crate) fn try_send(&mut self, line: &str) -> std::io::Result<()> {
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes())
    }
}

fn twice(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}
