use super::shares::{MAX_SHARES, share_target};
use super::*;
use crate::pow::{CompactTarget, sha256d};

const MASK: u32 = 0x1fff_e000;
pub(super) const NOW: u64 = 1_000_000;

pub(super) fn session() -> Session {
    Session::new(NOW, u32::from_le_bytes([0x0a, 0x0b, 0x0c, 0x0d]), MASK)
}

/// The job of a dialogue with minerd, whose code made the same header of it.
fn vector_job() -> Arc<Job> {
    let branch = [
        "ba7b78fe1b215636d326b297f0a60df4f20b9e3cbaa0bc0e76a093b4d88d087c",
        "89c76c3eb6cab8c3a04c759a445fc64a8e09cf8b3035be4183244a4e714ee75b",
        "f3d4aa59e8722e83f7625eb73eeb46fd05521d5d3341c76fda50cd86dbe17e09",
    ];
    let prev = "3b86630c78db663e96b29b39ac630eaedf1408af8a5e9b29662cb659830e0d65";
    let prefix = "01000000010000000000000000000000000000000000000000000000000000000000000000\
                  ffffffff1003701101";
    let suffix = "2f6b762fffffffff010000000000000000226a2070cf603c9b18678ef42d11834f5685f4ae9f\
                  d5e1f96a6ea2f5584719e6bee0bd00000000";
    let bits = CompactTarget(0x1e00_ffff);
    Arc::new(Job {
        id: 7,
        version: 0x2000_0000,
        prev: text::unhex_hash(prev).unwrap(),
        coinbase_prefix: text::unhex(prefix).unwrap(),
        coinbase_suffix: text::unhex(suffix).unwrap(),
        branch: branch.map(|hash| text::unhex_hash(hash).unwrap()).to_vec(),
        time: 0x68a5_c0de,
        time_max: 0x68a5_dcfe,
        bits,
        target: bits.decode().unwrap(),
        extranonce_start: 0,
        extranonce_bytes: 8,
        version_mask: MASK,
    })
}

/// The same, but every second hash makes a block.
pub(super) fn free_job() -> Arc<Job> {
    let bits = CompactTarget(0x207f_ffff);
    Arc::new(Job { bits, target: bits.decode().unwrap(), ..(*vector_job()).clone() })
}

pub(super) fn say(session: &mut Session, line: &str) -> (Event, Vec<Value>) {
    let event = session.line(NOW, line.as_bytes());
    if let Event::Authorize(login) = event.clone() {
        session.authorise(login, Ok(()));
    }
    (event, output(session))
}

pub(super) fn output(session: &mut Session) -> Vec<Value> {
    let output = String::from_utf8(session.take_output()).unwrap();
    assert!(output.is_empty() || output.ends_with('\n'));
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A miner that has subscribed, may roll versions and has one job.
pub(super) fn mining(job: &Arc<Job>) -> Session {
    let mut session = session();
    say(&mut session, r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{}]}"#);
    say(&mut session, r#"{"id":2,"method":"mining.subscribe","params":["test/1"]}"#);
    say(&mut session, r#"{"id":3,"method":"mining.authorize","params":["user","x"]}"#);
    assert!(session.is_ready());
    session.give(job);
    output(&mut session);
    session
}

fn submit(session: &mut Session, words: &[&str]) -> (Result<Share, Reject>, Value) {
    let line = json!({"id": 4, "method": "mining.submit", "params": words}).to_string();
    let (event, mut replies) = say(session, &line);
    assert_eq!(replies.len(), 1);
    match event {
        Event::Share { verdict, .. } => (verdict, replies.remove(0)),
        other => panic!("{other:?}"),
    }
}

/// The dialogue's bytes on the wire, and the header that minerd hashed.
#[test]
fn the_check_vector_passes_byte_for_byte() {
    let mut session = session();
    let (_, replies) = say(&mut session, r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    let subscriptions =
        json!([["mining.set_difficulty", "0a0b0c0d"], ["mining.notify", "0a0b0c0d"]]);
    let expected = json!({"id": 1, "result": [subscriptions, "0a0b0c0d", 4], "error": null});
    assert_eq!(replies[0].to_string(), expected.to_string());
    say(&mut session, r#"{"id":2,"method":"mining.authorize","params":["user","x"]}"#);
    session.next_job = 0x1a;
    session.give(&vector_job());
    let lines = output(&mut session);
    assert_eq!(lines[0]["method"], "mining.set_difficulty");
    let expected = concat!(
        r#"["1a","0c63863b3e66db78399bb296ae0e63acaf0814df299b5e8a59b62c66650d0e83","#,
        r#""0100000001000000000000000000000000000000000000000000000000000000000000"#,
        r#"0000ffffffff1003701101","2f6b762fffffffff010000000000000000226a2070cf60"#,
        r#"3c9b18678ef42d11834f5685f4ae9fd5e1f96a6ea2f5584719e6bee0bd00000000","#,
        r#"["ba7b78fe1b215636d326b297f0a60df4f20b9e3cbaa0bc0e76a093b4d88d087c","#,
        r#""89c76c3eb6cab8c3a04c759a445fc64a8e09cf8b3035be4183244a4e714ee75b","#,
        r#""f3d4aa59e8722e83f7625eb73eeb46fd05521d5d3341c76fda50cd86dbe17e09"],"#,
        r#""20000000","1e00ffff","68a5c0de",true]"#,
    );
    assert_eq!(lines[1]["params"].to_string(), expected);
    assert_eq!(lines[1]["id"], Value::Null);
    let words = ["user", "1a", "01000000", "68a5c0de", "78563412"];
    let (event, replies) = say(
        &mut session,
        &json!({"id": 9, "method": "mining.submit", "params": words}).to_string(),
    );
    // Its hash is far from easy enough, as everybody can check.
    assert_eq!(replies[0]["error"][0], 23);
    assert!(matches!(event, Event::Share { verdict: Err(Reject::Low), .. }));
    let submission = Submission {
        user: words[0].to_string(),
        job_id: words[1].to_string(),
        extranonce2: words[2].to_string(),
        time: words[3].to_string(),
        nonce: words[4].to_string(),
        version_bits: None,
    };
    let free = Free { extranonce1: session.extranonce1, version_mask: 0 };
    let job = vector_job();
    let header = job.header(&free.solution(&job, &submission).unwrap());
    assert_eq!(
        text::hex(&header),
        "000000203b86630c78db663e96b29b39ac630eaedf1408af8a5e9b29662cb659830e0d65\
         48764e7f7df3b1004479fd64182eea1bf58ee43d6f4827edd68bc5cd3cb9a090dec0a568\
         ffff001e12345678"
    );
    let hash = sha256d(&header).to_string();
    assert!(hash.starts_with("b82c37ca") && hash.ends_with("47a8"), "{hash}");
}

#[test]
fn a_share_is_taken_once_and_makes_the_block_it_is() {
    let mut session = mining(&free_job());
    let mut blocks = 0;
    for nonce in 0..64u32 {
        let nonce = text::hex_u32(nonce);
        let words = ["user", "1", "00000001", "68a5c0de", &nonce, "00006000"];
        let (verdict, reply) = submit(&mut session, &words);
        match verdict {
            Ok(share) => {
                assert!(share.is_block, "nothing is easier than these blocks");
                assert_eq!(reply["result"], true);
                assert_eq!(share.hash, sha256d(&share.job.header(&share.solution)));
                assert_eq!(share.solution.version, 0x2000_6000);
                assert_eq!(share.solution.extranonce, 0x0100_0000_0d0c_0b0a);
                blocks += 1;
                assert_eq!(submit(&mut session, &words).0, Err(Reject::Duplicate));
            }
            Err(reject) => assert_eq!((reject, &reply["error"][0]), (Reject::Low, &json!(23))),
        }
    }
    assert!((16..=48).contains(&blocks), "{blocks} of 64");
    // The next job does not end the first; a new tip does.
    session.give(&free_job());
    let next = output(&mut session);
    assert_eq!(next[0]["params"][8], false);
    // Given again, a job is another: some miners would try the same headers, others ignore it.
    assert_eq!((&next[0]["params"][0], &next[0]["params"][5]), (&json!("2"), &json!("20000020")));
    let words = ["user", "2", "00000003", "68a5c0de", "00000000", "00002000"];
    if let Ok(share) = submit(&mut session, &words).0 {
        assert_eq!(share.solution.version, 0x2000_2020);
    }
    let words = ["user", "1", "00000002", "68a5c0de", "00000000"];
    assert_ne!(submit(&mut session, &words).0, Err(Reject::Stale));
    session.forget_jobs();
    session.give(&free_job());
    assert_eq!(output(&mut session)[0]["params"][8], true, "a new tip's job is clean");
    assert_eq!(submit(&mut session, &words).0, Err(Reject::Stale));
}

#[test]
fn every_wrong_submission_has_its_code() {
    let mut session = mining(&vector_job());
    let good = ["user", "1", "00000001", "68a5c0de", "00000000", "00002000"];
    let cases: [(usize, &str, u32, &str); 13] = [
        (0, "other", 24, "authorised"),
        (1, "99", 21, "stale"),
        (1, "", 21, "stale"),
        (1, "zz", 21, "stale"),
        (2, "000001", 20, "extranonce2"),
        (2, "0000000001", 20, "extranonce2"),
        (2, "0000000g", 20, "extranonce2"),
        (3, "68a5c0dd", 20, "ntime"),
        (3, "68a5dcff", 20, "ntime"), // more than two hours on
        (3, "soon", 20, "ntime"),
        (4, "0", 20, "nonce"),
        (5, "00001000", 20, "mask"),
        (5, "20000000", 20, "mask"),
    ];
    for (at, word, code, what) in cases {
        let mut words = good;
        words[at] = word;
        let (verdict, reply) = submit(&mut session, &words);
        assert_eq!(reply["error"][0], code, "{words:?}: {reply}");
        assert_eq!(reply["result"], Value::Null);
        assert!(verdict.unwrap_err().to_string().contains(what), "{words:?}: {reply}");
    }
}

#[test]
fn every_wrong_line_has_its_code() {
    let mut session = session();
    let cases = [
        ("", 20, "not JSON"),
        ("{", 20, "not JSON"),
        ("[]", 20, "object"),
        ("7", 20, "object"),
        (r#"{"id":1}"#, 20, "method"),
        (r#"{"id":1,"method":7}"#, 20, "method"),
        (r#"{"id":{},"method":"mining.ping"}"#, 20, "id"),
        (r#"{"id":1,"method":"mining.submit","params":{}}"#, 20, "list"),
        (r#"{"id":1,"method":"mining.submit"}"#, 20, "user"),
        (r#"{"id":1,"method":"mining.submit","params":["u","1","00000000"]}"#, 20, "ntime"),
        (r#"{"id":1,"method":"mining.submit","params":["u",1,"0","0","0"]}"#, 20, "job"),
        (r#"{"id":1,"method":"mining.submit","params":["u","1","0","0","0",5]}"#, 20, "version"),
        (r#"{"id":1,"method":"mining.submit","params":["u","1","0","0","0"]}"#, 25, "subscribe"),
        (r#"{"id":1,"method":"mining.authorize","params":["u"]}"#, 25, "subscribe"),
        (r#"{"id":1,"method":"mining.authorize","params":[null]}"#, 20, "user"),
        (r#"{"id":1,"method":"mining.configure","params":[]}"#, 20, "extensions"),
        (r#"{"id":1,"method":"mining.suggest_difficulty","params":["1"]}"#, 20, "difficulty"),
        (r#"{"id":1,"method":"mining.get_transactions","params":[]}"#, 20, "unknown"),
    ];
    for (line, code, what) in cases {
        let (_, replies) = say(&mut session, line);
        assert_eq!(replies.len(), 1, "{line}");
        let (error, shown) = (&replies[0]["error"], replies[0].to_string());
        assert_eq!(error[0], code, "{line}: {shown}");
        assert!(error[1].as_str().unwrap().contains(what), "{line}: {shown}");
        assert_eq!(replies[0].get("result"), Some(&Value::Null), "{line}: {shown}");
    }
    // The answer to something we have sent.
    assert_eq!(
        say(&mut session, r#"{"id":0,"result":"miner/1","error":null}"#).1,
        [json!(null); 0]
    );
}

#[test]
fn extensions_are_agreed_one_by_one() {
    let mut session = session();
    let configure = |session: &mut Session, params: Value| {
        let line = json!({"id": 1, "method": "mining.configure", "params": params}).to_string();
        say(session, &line).1[0]["result"].to_string()
    };
    let params = json!([["version-rolling", "info"], {"version-rolling.mask": "ffffffff"}]);
    assert_eq!(
        configure(&mut session, params),
        r#"{"version-rolling.mask":"1fffe000","version-rolling":true,"info":false}"#
    );
    let params = json!([["version-rolling"], {"version-rolling.mask": "0000f000"}]);
    assert_eq!(
        configure(&mut session, params),
        r#"{"version-rolling.mask":"0000e000","version-rolling":true}"#
    );
    for (line, result) in [
        (r#"{"id":1,"method":"mining.extranonce.subscribe"}"#, json!(true)),
        (r#"{"id":1,"method":"mining.suggest_difficulty","params":[0.5]}"#, json!(true)),
        (r#"{"id":1,"method":"mining.suggest_target","params":["ff"]}"#, json!(true)),
        (r#"{"id":1,"method":"mining.ping","params":null}"#, json!("pong")),
        (r#"{"id":1,"method":"client.get_version","params":[]}"#, json!(AGENT)),
    ] {
        assert_eq!(say(&mut session, line).1[0]["result"], result, "{line}");
    }
}

#[test]
fn shares_are_never_harder_than_blocks() {
    for (bits, exponent) in [
        (0x207f_ffff, -31),
        (0x1e0f_ffff, -13),
        (0x1e00_ffff, -8),
        (0x1d00_ffff, 0),
        (0x1b00_ffff, 16),
    ] {
        let target = CompactTarget(bits).decode().unwrap();
        assert_eq!(easiest_exponent(target), exponent, "{bits:x}");
        assert!(share_target(exponent) >= target);
    }
    let mut session = mining(&vector_job());
    assert_eq!(session.difficulty(), Some(2f64.powi(-8)), "the network's, not the start's");
    let suggested = r#"{"id":1,"method":"mining.suggest_difficulty","params":[0.0001]}"#;
    say(&mut session, suggested);
    assert!(session.wants_job(NOW));
    session.give(&vector_job());
    let lines = output(&mut session);
    assert_eq!(lines[0]["params"][0], json!(2f64.powi(-14)));
    assert_eq!(lines[1]["params"][8], false, "what is done so far still counts");
    assert!(!session.wants_job(NOW));
}

#[test]
fn memory_of_jobs_and_shares_is_bounded() {
    let mut session = mining(&free_job());
    let mut refused = 0;
    for nonce in 0..1000u32 {
        let words = ["user", "1", "00000001", "68a5c0de", &text::hex_u32(nonce)];
        refused += u32::from(matches!(submit(&mut session, &words).0, Err(Reject::Other(_))));
    }
    assert_eq!(refused, 0, "every one of them is a block or too low");
    assert!((MAX_SHARES..=2 * MAX_SHARES).contains(&session.jobs[0].seen.len()));
    assert!(session.wants_job(NOW));
    (0..100).for_each(|_| session.give(&free_job()));
    assert_eq!(session.jobs.len(), MAX_JOBS);
    for worker in 0..100 {
        let line = format!(r#"{{"id":1,"method":"mining.authorize","params":["u{worker}"]}}"#);
        say(&mut session, &line);
    }
    assert_eq!(session.users().len(), MAX_USERS);
}

/// It was silent to a miner that had never had a job, which hung up after minutes.
#[test]
fn a_miner_without_work_hears_of_its_difficulty() {
    let mut session = session();
    session.repeat_difficulty();
    assert_eq!(output(&mut session)[0]["params"], json!([2f64.powi(-6)]));
    session.give(&vector_job());
    assert_eq!(output(&mut session)[0]["params"], json!([2f64.powi(-8)]), "blocks are easier");
}

/// What is found is worth more than who says so, if the connection is paid.
#[test]
fn a_block_under_an_unknown_name_is_taken_and_a_share_is_not() {
    let mut session = mining(&free_job());
    let (mut blocks, mut refused) = (0, 0);
    for nonce in 0..32u32 {
        let words = ["user.rig", "1", "00000001", "68a5c0de", &text::hex_u32(nonce)];
        match submit(&mut session, &words).0 {
            Ok(share) => blocks += u32::from(share.is_block),
            Err(reject) => refused += u32::from(matches!(reject, Reject::Unauthorised(_))),
        }
    }
    assert!(blocks > 0 && refused > 0 && blocks + refused == 32, "{blocks} {refused}");
}
