//! The same requests to a node and to `redis-server`, where that is installed: the same replies.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::node::{Client, wait_until};

use crate::{requests, start};

/// A server without files, killed when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Option<Server> {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let port = free.port().to_string();
        let words = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
        let mut command = Command::new("redis-server");
        let Ok(process) = command.args(words).stdout(Stdio::null()).spawn() else {
            println!("skipped: redis-server is not installed");
            return None;
        };
        let server = Server { process, address: free };
        wait_until("redis-server", || TcpStream::connect(free).is_ok());
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Requests about a few keys, of those that mean the same here and there.
struct Requests {
    draw: StdRng,
    /// Nobody else writes these.
    keys: [String; 4],
    /// Whether `MULTI` is open: then less can be asked here.
    queues: bool,
}

impl Requests {
    fn new(seed: u64) -> Requests {
        let keys = ["a", "b", "c", "d"].map(|name| format!("{name}{seed}"));
        Requests { draw: StdRng::seed_from_u64(seed), keys, queues: false }
    }

    fn pick(&mut self, list: &[&str]) -> String {
        list[self.draw.random_range(0..list.len())].to_string()
    }

    fn key(&mut self) -> String {
        self.keys[self.draw.random_range(0..4)].clone()
    }

    fn next(&mut self) -> String {
        let (k, l) = (self.key(), self.key());
        let [v, w] = [(); 2].map(|()| self.pick(&["\"\"", "1", "two", "longer", "\u{fc}"]));
        let [from, to] =
            [(); 2].map(|()| self.pick(&["0", "1", "-1", "3", "-3", "100", "-100", "-101"]));
        match self.draw.random_range(0..if self.queues { 26 } else { 32 }) {
            0..4 => format!("SET {k} {v}"),
            4 => format!("SET {k} {v} NX"),
            5 => format!("SET {k} {v} XX"),
            6 => format!("set {k} {v} get"),
            7 => format!("SET {k} {v} NX GET"),
            8..11 => format!("GET {k}"),
            11 => format!("MGET {k} {l} {k} nothing"),
            12 => format!("MSET {k} {v} {l} {w}"),
            13 => format!("MSETNX {k} {v} {l} {w}"),
            14 => format!("DEL {k} {l} {k}"),
            15 => format!("UNLINK {k}"),
            16 => format!("EXISTS {k} {l} {k}"),
            17 => format!("STRLEN {k}"),
            18 => format!("TYPE {k}"),
            19 => format!("GETRANGE {k} {from} {to}"),
            20 => format!("SETNX {k} {v}"),
            21 => format!("GETSET {k} {v}"),
            22 => format!("GETDEL {k}"),
            23 => self.pick(&["ECHO hi", "PING", "GET nothing"]),
            24 | 25 => {
                self.queues = !self.queues;
                let begin = if self.queues { "MULTI" } else { "EXEC" };
                begin.to_string()
            }
            26 => format!("SET {k} {v} NX XX"),
            27 => format!("GETRANGE {k} x {to}"),
            28 => format!("WATCH {k} {l}"),
            29 => format!("TTL {k}"),
            30 => self.pick(&["EXEC", "DISCARD", "UNWATCH", "SELECT 0"]),
            _ => self.pick(&["GET", "MSET a", "EXPIRETIME nothing", "SELECT x"]),
        }
    }
}

/// What comes back, after the reply to a `HELLO`.
fn replies(address: SocketAddr, bytes: &[u8]) -> Vec<String> {
    let mut client = Client::connect(address);
    client.send(bytes).unwrap();
    let rest = client.rest();
    let text = String::from_utf8_lossy(&rest);
    let (_, text) = text.split_once("$5\r\nbegin\r\n").expect("an echo");
    text.split("\r\n").map(str::to_string).collect()
}

#[test]
fn a_node_replies_as_redis_does() {
    let Some(server) = Server::start() else { return };
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    for (seed, version) in [(1, 2), (2, 3), (3, 2), (4, 3)] {
        let mut draw = Requests::new(seed);
        let mut lines = vec![format!("HELLO {version}"), "ECHO begin".to_string()];
        lines.extend((0..300).map(|_| draw.next()));
        let all = format!("MGET {}", draw.keys.join(" "));
        lines.extend(["RESET", &all, "QUIT"].map(str::to_string));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let bytes = requests(&lines);
        let (ours, theirs) = (replies(node.admin, &bytes), replies(server.address, &bytes));
        let differ = ours.iter().zip(&theirs).position(|(one, other)| one != other);
        let around = differ.map_or(0..0, |at| at.saturating_sub(6)..at + 1);
        assert_eq!(ours[around.clone()], theirs[around], "seed {seed}");
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
    }
}
