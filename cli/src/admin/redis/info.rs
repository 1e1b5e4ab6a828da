//! `INFO`: what Redis clients look for, and what the node is doing.

use std::fmt::Write;

use net::PeerState;

use super::super::Admin;
use crate::resp::REDIS_VERSION;
use crate::resp::reply::Reply;

type Section = (&'static str, Vec<(&'static str, String)>);

impl Admin {
    /// `INFO [section ..]`.
    pub(super) fn info(&self, words: &[Vec<u8>]) -> Reply {
        let wanted: Vec<String> =
            words[1..].iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
        let all = ["all", "default", "everything"];
        let is_wanted = |name: &str| {
            let is = |word: &String| all.contains(&word.as_str()) || *word == name.to_lowercase();
            wanted.is_empty() || wanted.iter().any(is)
        };
        let mut text = String::new();
        for (name, fields) in self.sections().iter().filter(|(name, _)| is_wanted(name)) {
            if !text.is_empty() {
                text += "\r\n";
            }
            write!(text, "# {name}\r\n").expect("strings take everything");
            for (field, value) in fields {
                write!(text, "{field}:{value}\r\n").expect("strings take everything");
            }
        }
        Reply::text(text)
    }

    fn sections(&self) -> Vec<Section> {
        let text = |text: &str| text.to_string();
        let sessions = self.clients.values().filter(|client| client.redis.is_some()).count();
        let blocked = self.clients.values().filter(|client| client.busy).count();
        let peers = self.joints.peers.lock().iter().filter(|p| p.state == PeerState::Ready).count();
        let (tip, best, pool_count, pool_bytes) = self.status.standing();
        vec![
            (
                "Server",
                vec![
                    ("redis_version", text(REDIS_VERSION)),
                    ("redis_mode", text("standalone")),
                    ("server_name", text("graven")),
                    ("os", text(std::env::consts::OS)),
                    ("process_id", std::process::id().to_string()),
                    ("server_time_usec", (self.now.0 * 1000).to_string()),
                ],
            ),
            (
                "Clients",
                vec![
                    ("connected_clients", self.clients.len().to_string()),
                    ("redis_clients", sessions.to_string()),
                    ("blocked_clients", blocked.to_string()),
                ],
            ),
            ("Persistence", vec![("loading", text("0")), ("aof_enabled", text("1"))]),
            ("Replication", vec![("role", text("master")), ("connected_slaves", text("0"))]),
            ("Cluster", vec![("cluster_enabled", text("0"))]),
            (
                "Graven",
                vec![
                    ("graven_version", text(env!("CARGO_PKG_VERSION"))),
                    ("network", self.options.network.name.clone()),
                    ("height", tip.height.to_string()),
                    ("tip", tip.hash.to_string()),
                    ("best_header", best.height.to_string()),
                    ("peers", peers.to_string()),
                    ("pool_transactions", pool_count.to_string()),
                    ("pool_bytes", pool_bytes.to_string()),
                ],
            ),
        ]
    }
}
