//! Stratum: lines of a miner to the server's session, and of a server to the miner's.

use std::sync::Arc;
use std::time::Duration;

use miner::stratum::client::{self, Account, Input, MAX_LINE, Output};
use miner::stratum::server::{Event, Session};
use miner::{CompactTarget, Hash, Job, Solution};
use serde_json::Value;

use super::draw::Draw;
use super::target::{Memory, Target};

/// Values of JSON are many times as large as their text, and so are hashes as bytes of a job.
pub(super) const TARGET: Target =
    Target { name: "miners", samples, run, memory: Memory { per_byte: 256, fixed: 32 * 1024 } };

/// Answers and shares that one line can cause.
const MAX_ANSWERS: usize = 24;

/// What a miner says, a line each.
const MINER: &str = include_str!("miner.jsonl");

/// What a server says.
const SERVER: &str = include_str!("server.jsonl");

fn samples() -> Vec<Vec<u8>> {
    let side = |side: u8, lines: &[&str]| [&[side][..], lines.join("\n").as_bytes()].concat();
    let mut samples = vec![side(0, &[MINER]), side(1, &[SERVER])];
    for (number, lines, beginning) in [(0, MINER, 3), (1, SERVER, 4)] {
        let lines: Vec<&str> = lines.lines().collect();
        for line in &lines {
            samples.push(side(number, &[&lines[..beginning], &[line]].concat()));
            samples.push(side(number, &[line]));
        }
    }
    samples
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let is_server = draw.byte() % 2 == 1;
    let lines = draw.rest().split(|byte| *byte == b'\n');
    if is_server { mine(lines) } else { serve(lines) }
}

fn job() -> Arc<Job> {
    let bits = CompactTarget(0x207f_ffff);
    Arc::new(Job {
        id: 1,
        version: 0x2000_0000,
        prev: Hash([7; 32]),
        coinbase_prefix: vec![1; 60],
        coinbase_suffix: vec![2; 80],
        branch: vec![Hash([3; 32]); 3],
        time: 0x68a5_c0de,
        time_max: 0x68a5_c1de,
        bits,
        target: bits.decode().expect("canonical bits"),
        extranonce_bytes: 8,
        extranonce_start: 0,
        version_mask: miner::job::VERSION_MASK,
    })
}

/// The session of a server that has a job for whoever logs in.
fn serve<'a>(lines: impl Iterator<Item = &'a [u8]>) -> String {
    let (mut session, mut now) = (Session::new(0, 7, miner::job::VERSION_MASK), 0);
    let mut last = "nothing".to_string();
    for line in lines.take(200) {
        now += 700;
        last = match session.line(now, line) {
            Event::Served => "served".to_string(),
            Event::Nonsense => "nonsense".to_string(),
            Event::Authorize(login) => {
                session.authorise(login, Ok(()));
                if session.is_ready() {
                    session.give(&job());
                }
                "login".to_string()
            }
            Event::Share { verdict: Ok(_), .. } => "share".to_string(),
            Event::Share { verdict: Err(reject), .. } => {
                format!("share {}", reject.to_string().split(' ').next().unwrap_or_default())
            }
        };
        if session.wants_job(now) {
            session.give(&job());
        }
        let output = session.take_output();
        assert!(output.is_empty() || output.ends_with(b"\n"));
        assert!(output.split(|byte| *byte == b'\n').count() <= 6, "many answers to one line");
        for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            serde_json::from_slice::<Value>(line).expect("the server's lines are JSON");
        }
    }
    format!("server {last}")
}

/// The session of a miner that finds something after every line.
fn mine<'a>(lines: impl Iterator<Item = &'a [u8]>) -> String {
    let (host, user, password) = ("pool".to_string(), "me".to_string(), "x".to_string());
    let mut session = client::Session::new(Account { host, port: 3333, user, password });
    let mut now = Duration::ZERO;
    session.handle(now, Input::Connected);
    let (mut last, mut job_id) = ("nothing".to_string(), 0);
    for line in lines.take(200) {
        now += Duration::from_millis(700);
        session.handle(now, Input::Line(line.to_vec()));
        let solution =
            Solution { job_id, version: 0x2000_0000, extranonce: 5, time: 0x68a5_c0de, nonce: 1 };
        session.handle(now, Input::Found(solution));
        let outputs: Vec<Output> = std::iter::from_fn(|| session.poll()).collect();
        assert!(outputs.len() <= MAX_ANSWERS, "{outputs:?}");
        for output in outputs {
            match output {
                Output::Send(line) => assert!(line.len() <= 2 * MAX_LINE && !line.contains('\n')),
                Output::Mine(Some(job)) => {
                    assert!(job.version & job.version_mask == 0);
                    assert!(job.extranonce_start <= job.extranonce_max());
                    job_id = job.id;
                    last = "mines".to_string();
                }
                Output::Failed(failure) => {
                    let text = failure.to_string();
                    last = text.split(' ').take(7).collect::<Vec<_>>().join(" ");
                    session.handle(now, Input::Connected);
                }
                Output::Share(_) | Output::Event(_) | Output::Mine(None) => {}
            }
        }
        assert!(session.wake_at().is_some_and(|at| at > now));
    }
    format!("miner {last}")
}
