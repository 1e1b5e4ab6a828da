//! A node that answers like another one, but for what it lies about.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use cli::light::proof::ProofFile;
use serde_json::Value;
use tests::chains::free_network;
use tests::node::{Client, Node, Setup, graven};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// Makes of a question and its honest answer what is said instead.
type Lie = dyn Fn(&str, Value) -> Value + Send + Sync;

/// Listens until dropped.
pub(crate) struct Liar {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    pub(crate) fn new(
        honest: SocketAddr,
        lie: impl Fn(&str, Value) -> Value + Send + Sync + 'static,
    ) -> Liar {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let ends = Arc::new(AtomicBool::new(false));
        let (lie, until): (Arc<Lie>, _) = (Arc::new(lie), Arc::clone(&ends));
        let listen = move || {
            for stream in listener.incoming().flatten() {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream, honest, &lie);
            }
        };
        let thread = std::thread::Builder::new().name("liar".to_string()).spawn(listen);
        Liar { address, ends, thread: Some(thread.expect("a thread can be made")) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

/// One client at a time: tests ask one thing after the other.
fn serve(stream: TcpStream, honest: SocketAddr, lie: &Arc<Lie>) {
    let mut honest = Client::connect(honest);
    let mut out = stream.try_clone().expect("a socket can be shared");
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answer = match honest.ask(&line) {
            Ok(answer) => format!("+OK {}\r\n", lie(&line, answer)),
            Err(error) => format!("{error}\r\n"),
        };
        if out.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A folder with a network whose blocks take two hashes, and a node on it.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) node: Node,
}

impl World {
    pub(crate) fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("network.toml");
        std::fs::write(&network, free_network().to_toml()).unwrap();
        let mut setup = Setup::new(PROGRAM, folder.path().join("data"));
        setup.network = network.display().to_string();
        World { node: setup.start(), folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program as somebody without a node.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        graven(Path::new(PROGRAM))
            .args(["--network", &self.node.setup.network, "--data"])
            .arg(self.path("client"))
            .args(words)
            .output()
            .unwrap()
    }

    /// Likewise, and it must go well.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Brings `my.headers` up to what this node has.
    pub(crate) fn follow(&self, nodes: &[&str]) -> Value {
        let file = self.path("my.headers").display().to_string();
        let mut words = vec!["headers", "follow", "--once", "--json", "--file", &file];
        nodes.iter().for_each(|node| words.extend(["--node", node]));
        serde_json::from_str(&self.done(&words)).unwrap()
    }

    /// Checks a proof against `my.headers`: the exit code, and what was printed as proven.
    pub(crate) fn verify(&self, file: &Value, more: &[&str]) -> (i32, Value) {
        let path = self.path("proof.json");
        std::fs::write(&path, file.to_string()).unwrap();
        let (path, headers) = (path.display().to_string(), self.path("my.headers"));
        let headers = headers.display().to_string();
        let mut words = vec!["verify", &path, "--headers", &headers, "--json"];
        words.extend(more);
        let output = self.run(&words);
        let shown = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), shown)
    }
}

/// A proof's file with something changed in the proof.
pub(crate) fn changed(file: &Value, change: impl FnOnce(&mut kv::proof::Proof)) -> Value {
    let mut file: ProofFile = serde_json::from_value(file.clone()).unwrap();
    change(&mut file.proof);
    file.to_json()
}
