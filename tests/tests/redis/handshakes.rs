//! What stock clients say first, word for word, and that each gets what it goes on with.

use crate::{answers, requests, start};

/// A client: what it says, and what of the answer it needs, line by line.
struct Handshake {
    client: &'static str,
    says: &'static [&'static str],
    needs: &'static [&'static str],
}

/// As their sources say; versions are those that were read.
const HANDSHAKES: &[Handshake] = &[
    Handshake {
        client: "redis-benchmark 7: settings first",
        says: &["CONFIG GET save", "CONFIG GET appendonly"],
        needs: &["*2", "save", "*2", "appendonly"],
    },
    Handshake {
        client: "redis-cli 7 on a terminal",
        says: &["HELLO 3", "COMMAND DOCS", "INFO SERVER", "COMMAND"],
        needs: &["%7", "summary", "redis_version:7.2.0"],
    },
    Handshake {
        client: "redis-py 8.1",
        says: &[
            "HELLO 3",
            "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
            "CLIENT SETNAME me",
            "CLIENT SETINFO LIB-NAME redis-py",
            "CLIENT SETINFO LIB-VER 8.1.0",
            "SELECT 0",
        ],
        needs: &["%7", "proto", ":3", "-ERR", "+OK", "+OK", "+OK", "+OK"],
    },
    Handshake {
        client: "node-redis 5",
        says: &[
            "HELLO 3 SETNAME me",
            "SELECT 0",
            "CLIENT SETINFO LIB-VER 5.8.0",
            "CLIENT SETINFO LIB-NAME node-redis",
        ],
        needs: &["%7", "+OK", "+OK", "+OK"],
    },
    Handshake {
        client: "ioredis 5",
        says: &["HELLO 3", "SELECT 0", "CLIENT SETINFO LIB-NAME ioredis", "INFO"],
        needs: &["%7", "+OK", "+OK", "loading:0", "role:master", "cluster_enabled:0"],
    },
    Handshake {
        client: "go-redis 9",
        says: &[
            "HELLO 3",
            "SELECT 0",
            "CLIENT SETNAME me",
            "CLIENT MAINT_NOTIFICATIONS ON",
            "CLIENT SETINFO LIB-NAME go-redis(,go1.23)",
            "CLIENT SETINFO LIB-VER 9.7.0",
        ],
        needs: &["%7", "+OK", "+OK", "-ERR", "+OK", "+OK"],
    },
    Handshake {
        client: "Jedis 6",
        says: &["HELLO 3", "CLIENT SETINFO LIB-NAME jedis", "CLIENT SETINFO LIB-VER 6.0.0"],
        needs: &["%7", "+OK", "+OK"],
    },
    Handshake {
        client: "StackExchange.Redis 2",
        says: &[
            "HELLO 3 SETNAME me",
            "CLIENT SETINFO lib-name SE.Redis",
            "CONFIG GET timeout",
            "CONFIG GET replica-read-only",
            "CONFIG GET databases",
            "SENTINEL MASTERS",
            "INFO replication",
            "INFO server",
            "CLUSTER NODES",
            "GET __Booksleeve_TieBreak",
            "ECHO me",
        ],
        needs: &["%7", "timeout", "databases", "-ERR", "role:master", "-ERR", "_", "me"],
    },
    Handshake {
        client: "redis_exporter",
        says: &["INFO ALL", "CLIENT SETNAME redis_exporter", "CONFIG GET *"],
        needs: &["redis_version:7.2.0", "role:master", "+OK", "maxmemory"],
    },
];

#[test]
fn every_stock_client_gets_what_it_goes_on_with() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    for Handshake { client, says, needs } in HANDSHAKES {
        let answer = answers(&node, &requests(&[*says, &["PING"]].concat()));
        let mut lines = answer.split_terminator("\r\n");
        for need in needs.iter().chain(&["+PONG"]) {
            let is_it = |line: &str| {
                if *need == "-ERR" { line.starts_with(need) } else { line == *need }
            };
            assert!(lines.any(is_it), "{client} needs {need:?}, got:\n{answer}");
        }
        assert_eq!(lines.next(), None, "{client} got more than it asked for:\n{answer}");
    }
}
