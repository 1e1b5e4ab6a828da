use super::*;
use crate::job::Job;
use crate::pow::{Target, sha256d};
use crate::stratum::text::hex;

const NOW: Duration = Duration::from_secs(1000);
const NOTIFY: &str = include_str!("notify.json");

pub(super) fn account() -> Account {
    Account {
        host: "pool.example".to_owned(),
        port: 3333,
        user: "user".to_owned(),
        password: "x".to_owned(),
    }
}

fn drain(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn say(session: &mut Session, line: &str) -> Vec<Output> {
    session.handle(NOW, Input::Line(line.as_bytes().to_vec()));
    drain(session)
}

fn sent(outputs: &[Output]) -> Vec<&str> {
    let lines = outputs.iter().filter_map(|output| match output {
        Output::Send(line) => Some(line.as_str()),
        _ => None,
    });
    lines.collect()
}

fn mined(outputs: &[Output]) -> Job {
    let jobs: Vec<_> = outputs.iter().filter(|o| matches!(o, Output::Mine(_))).collect();
    let [Output::Mine(Some(job))] = jobs[..] else { panic!("not one job: {outputs:?}") };
    (**job).clone()
}

fn failure(outputs: &[Output]) -> &Failure {
    let Some(Output::Failed(failure)) = outputs.last() else { panic!("no end: {outputs:?}") };
    failure
}

/// A session that is authorised; `configured` is the answer to `mining.configure`.
fn authorised(configured: &str, subscription: &str) -> Session {
    let mut session = Session::new(account());
    session.handle(NOW, Input::Connected);
    drain(&mut session);
    for line in [configured, subscription, r#"{"id":3,"result":true,"error":null}"#] {
        let outputs = say(&mut session, line);
        assert!(!outputs.iter().any(|o| matches!(o, Output::Failed(_))), "{outputs:?}");
    }
    session
}

const ROLLING: &str = concat!(
    r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"#,
    r#""error":null}"#
);
const NO_ROLLING: &str = r#"{"id":1,"result":null,"error":[20,"what?",null]}"#;
const SUBSCRIPTION: &str =
    r#"{"id":2,"result":[[["mining.notify","s"]],"0a0b0c0d",4],"error":null}"#;

fn solution(job: &Job, extranonce: u64) -> Solution {
    Solution {
        job_id: job.id,
        version: job.version,
        extranonce,
        time: job.time,
        nonce: 0x7856_3412,
    }
}

#[test]
fn the_dialogue_goes_as_servers_expect_it() {
    let mut session = Session::new(account());
    session.handle(NOW, Input::Connected);
    let outputs = drain(&mut session);
    let subscribe = format!(r#"{{"id":2,"method":"mining.subscribe","params":["{AGENT}"]}}"#);
    let configure = concat!(
        r#"{"id":1,"method":"mining.configure","params":"#,
        r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}"#,
    );
    assert_eq!(sent(&outputs), [configure, &subscribe]);

    let outputs = say(&mut session, ROLLING);
    assert_eq!(outputs, [Output::Event(Event::VersionMask(Some(0x1fff_e000)))]);
    let outputs = say(&mut session, SUBSCRIPTION);
    let authorise = r#"{"id":3,"method":"mining.authorize","params":["user","x"]}"#;
    let extranonce = r#"{"id":4,"method":"mining.extranonce.subscribe","params":[]}"#;
    assert_eq!(sent(&outputs), [authorise, extranonce]);
    let difficulty = r#"{"id":null,"method":"mining.set_difficulty","params":[0.5]}"#;
    assert_eq!(say(&mut session, difficulty), [Output::Event(Event::Difficulty(0.5))]);
    assert_eq!(say(&mut session, NOTIFY), [], "nothing is mined before we are authorised");
    let outputs = say(&mut session, r#"{"id":3,"result":true,"error":null}"#);
    let job = mined(&outputs);
    let double = Target::from_uint(Target::DIFFICULTY_1.to_uint() << 1);
    assert_eq!((job.target, job.version_mask), (double, 0x1fff_e000));
    assert_eq!(job.time_max, job.time + 60);
    assert_eq!(say(&mut session, r#"{"id":4,"result":null,"error":"no"}"#), []);

    let found = Solution { version: 0x2000_0000 | 5 << 13, ..solution(&job, 1) };
    session.handle(NOW, Input::Found(found));
    let submit = concat!(
        r#"{"id":5,"method":"mining.submit","params":"#,
        r#"["user","1a","01000000","68a5c0de","78563412","0000a000"]}"#,
    );
    assert_eq!(sent(&drain(&mut session)), [submit]);
    let outputs = say(&mut session, r#"{"id":5,"result":true,"error":null}"#);
    assert_eq!(outputs, [Output::Share(Verdict::Accepted)]);
}

/// The dialogue's job and the header that a stock miner makes of it.
#[test]
fn a_share_is_assembled_as_stock_miners_do_it() {
    let mut session = authorised(NO_ROLLING, SUBSCRIPTION);
    let job = mined(&say(&mut session, NOTIFY));
    let found = solution(&job, 1);
    let expected = concat!(
        "000000203b86630c78db663e96b29b39ac630eaedf1408af8a5e9b29662cb659830e0d65",
        "48764e7f7df3b1004479fd64182eea1bf58ee43d6f4827edd68bc5cd3cb9a090",
        "dec0a568ffff001e12345678",
    );
    assert_eq!(hex(&job.header(&found)), expected);
    let hash = "b82c37ca3d9e82ee25ec1b0a8600cf9fadb4260d88a3c7938dd3d8452fa247a8";
    assert_eq!(sha256d(&job.header(&found)).to_string(), hash);
    session.handle(NOW, Input::Found(found));
    let params = r#""params":["user","1a","01000000","68a5c0de","78563412"]}"#;
    assert!(sent(&drain(&mut session))[0].ends_with(params), "no version bits without rolling");
}

#[test]
fn extranonces_of_all_sizes_stand_in_the_coinbase_as_they_are_submitted() {
    for bytes in 1..=32 {
        let subscription = SUBSCRIPTION.replace(",4]", &format!(",{bytes}]"));
        let mut session = authorised(NO_ROLLING, &subscription);
        let job = mined(&say(&mut session, NOTIFY));
        let extranonce = 0x1122_3344_5566_7788 & job.extranonce_max();
        session.handle(NOW, Input::Found(solution(&job, extranonce)));
        let outputs = drain(&mut session);
        let request: Value = serde_json::from_str(sent(&outputs)[0]).unwrap();
        let submitted = request["params"][2].as_str().unwrap();
        assert_eq!(submitted.len(), 2 * bytes);
        let coinbase = hex(&job.coinbase(extranonce));
        let inner = format!("0a0b0c0d{submitted}2f6b762f");
        assert!(coinbase.contains(&inner), "{inner} in {coinbase}");
        assert!(job.extranonce_start <= job.extranonce_max() / 4 * 3 + 3);
    }
}

#[test]
fn what_the_server_sets_holds_from_the_next_job_on() {
    let mut session = authorised(ROLLING, SUBSCRIPTION);
    let first = mined(&say(&mut session, NOTIFY));
    say(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[16]}"#);
    assert_eq!(say(&mut session, r#"{"method":"mining.set_difficulty","params":[0]}"#), []);
    let set = r#"{"id":null,"method":"mining.set_extranonce","params":["ff",2]}"#;
    assert_eq!(say(&mut session, set), []);
    let next = NOTIFY.replace("\"1a\"", "\"1b\"").replace("true]", "false]");
    let second = mined(&say(&mut session, &next));
    assert_eq!(second.target.to_uint(), first.target.to_uint() >> 4);
    assert_eq!(second.extranonce_bytes, 2);
    assert!(second.coinbase_prefix.ends_with(&[0x01, 0xff]));
    assert_ne!(second.extranonce_start, first.extranonce_start);

    // The mask holds at once.
    let mask = r#"{"method":"mining.set_version_mask","params":["00006000"]}"#;
    let third = mined(&say(&mut session, mask));
    assert_eq!((third.version_mask, third.id), (0x6000, second.id + 1));
    // None of the jobs before has ended.
    for job in [&first, &second, &third] {
        session.handle(NOW, Input::Found(solution(job, 0)));
        assert_eq!(sent(&drain(&mut session)).len(), 1);
    }
    assert_eq!(say(&mut session, &next.replace("false]", "true]")), [], "it is mined already");
    session.handle(NOW, Input::Found(solution(&third, 0)));
    assert_eq!(sent(&drain(&mut session)).len(), 1, "and has not ended");
    let replaced = Output::Share(Verdict::Stale(super::replaced()));
    session.handle(NOW, Input::Found(solution(&first, 0)));
    assert_eq!(drain(&mut session), [replaced], "a clean job ends those before");
}

#[test]
fn without_an_agreement_versions_are_not_rolled() {
    for answer in [
        r#"{"id":1,"result":{"version-rolling":false}}"#,
        r#"{"id":1,"result":false,"error":null}"#,
        r#"{"id":9,"result":"never asked"}"#,
        NO_ROLLING,
    ] {
        let mut session = authorised(answer, SUBSCRIPTION);
        let mask = r#"{"method":"mining.set_version_mask","params":["1fffe000"]}"#;
        assert_eq!(say(&mut session, mask), []);
        assert_eq!(mined(&say(&mut session, NOTIFY)).version_mask, 0);
    }
}

#[test]
fn a_stale_share_of_the_job_lets_us_rest_until_the_next() {
    let mut session = authorised(ROLLING, SUBSCRIPTION);
    let job = mined(&say(&mut session, NOTIFY));
    for extranonce in 0..2 {
        session.handle(NOW, Input::Found(solution(&job, extranonce)));
    }
    drain(&mut session);
    let refusal = Refusal { code: Some(21), message: "Job not found".to_owned() };
    let stale = Output::Share(Verdict::Stale(refusal));
    let rest = [stale.clone(), Output::Event(Event::JobGone), Output::Mine(None)];
    let answer = |id| format!(r#"{{"id":{id},"result":null,"error":[21,"Job not found",null]}}"#);
    assert_eq!(say(&mut session, &answer(5)), rest);
    assert_eq!(say(&mut session, &answer(6)), [stale]);
    let again = mined(&say(&mut session, NOTIFY));
    assert!(again.id > job.id, "told again, it is mined again");
    // A stale share of an older job says nothing about this one; other refusals neither.
    session.handle(NOW, Input::Found(solution(&again, 0)));
    drain(&mut session);
    let outputs =
        say(&mut session, r#"{"id":7,"result":false,"error":{"code":23,"message":"lo\u001bw"}}"#);
    let refusal = Refusal { code: Some(23), message: "low".to_owned() };
    assert_eq!(outputs, [Output::Share(Verdict::Rejected(refusal))]);
}

#[test]
fn servers_that_refuse_us_are_left() {
    let mut session = Session::new(account());
    session.handle(NOW, Input::Connected);
    say(&mut session, SUBSCRIPTION);
    let outputs = say(&mut session, r#"{"id":3,"result":false,"error":[24,"who?",null]}"#);
    assert_eq!(failure(&outputs), &Failure::NotAuthorised("who?".to_owned()));

    session.handle(NOW, Input::Connected);
    drain(&mut session);
    let outputs = say(&mut session, r#"{"id":2,"error":"full","result":null}"#);
    assert_eq!(failure(&outputs), &Failure::NotSubscribed("full".to_owned()));
    assert_eq!(say(&mut session, "garbage of a connection that is gone"), []);
}

#[test]
fn requests_of_the_server_are_answered() {
    let mut session = authorised(ROLLING, SUBSCRIPTION);
    let outputs = say(&mut session, r#"{"id":7,"method":"client.get_version","params":[]}"#);
    let version = format!(r#"{{"id":7,"result":"{AGENT}","error":null}}"#);
    assert_eq!(sent(&outputs), [version]);
    let outputs = say(&mut session, r#"{"id":"a","method":"mining.ping"}"#);
    assert_eq!(sent(&outputs), [r#"{"id":"a","result":"pong","error":null}"#]);
    let outputs = say(&mut session, r#"{"id":8,"method":"mining.dance","params":[]}"#);
    let unknown = r#"{"id":8,"result":null,"error":[-3,"method not found",null]}"#;
    assert_eq!(sent(&outputs), [unknown]);
    assert_eq!(say(&mut session, r#"{"id":null,"method":"mining.dance","params":[]}"#), []);
    let message = r#"{"method":"client.show_message","params":["a\u001b[31m\u202eb\n"]}"#;
    let shown = Event::Message("a[31mb".to_owned());
    assert_eq!(say(&mut session, message), [Output::Event(shown)]);
}

#[test]
fn only_the_same_server_is_connected_to_again() {
    for (params, wait) in [
        ("[]", 0),
        (r#"["",0,7]"#, 7),
        (r#"["POOL.example","3333",7000]"#, 60),
        (r#"["pool.example",3333]"#, 0),
    ] {
        let mut session = authorised(ROLLING, SUBSCRIPTION);
        mined(&say(&mut session, NOTIFY));
        let line = format!(r#"{{"id":null,"method":"client.reconnect","params":{params}}}"#);
        let failed = Failure::Reconnect { wait: Duration::from_secs(wait) };
        assert_eq!(say(&mut session, &line), [Output::Mine(None), Output::Failed(failed)]);
    }
    for params in [r#"["thief.example",3333,0]"#, r#"["pool.example",3334,0]"#] {
        let mut session = authorised(ROLLING, SUBSCRIPTION);
        let line = format!(r#"{{"id":null,"method":"client.reconnect","params":{params}}}"#);
        let outputs = say(&mut session, &line);
        assert!(matches!(outputs[..], [Output::Event(Event::ForeignReconnect(_))]), "{outputs:?}");
    }
}

#[test]
fn silence_and_slow_beginnings_end_a_connection() {
    let mut session = Session::new(account());
    assert_eq!(session.wake_at(), None);
    session.handle(NOW, Input::Connected);
    drain(&mut session);
    assert_eq!(session.wake_at(), Some(NOW + BEGINNING_LIMIT));
    session.handle(NOW + BEGINNING_LIMIT, Input::Tick);
    assert_eq!(failure(&drain(&mut session)), &Failure::NoBeginning(BEGINNING_LIMIT));

    let mut session = authorised(ROLLING, SUBSCRIPTION);
    assert_eq!(session.wake_at(), Some(NOW + SILENCE_LIMIT));
    session.handle(NOW + SILENCE_LIMIT - Duration::from_millis(1), Input::Tick);
    assert_eq!(drain(&mut session), []);
    session.handle(NOW + SILENCE_LIMIT, Input::Tick);
    assert_eq!(failure(&drain(&mut session)), &Failure::Silent(SILENCE_LIMIT));
    assert_eq!(session.wake_at(), None);
}

#[test]
fn every_find_has_one_verdict_though_the_server_never_answers() {
    let mut session = authorised(ROLLING, SUBSCRIPTION);
    let job = mined(&say(&mut session, NOTIFY));
    let (mut lines, mut verdicts) = (0, 0);
    let mut count = |outputs: &[Output]| {
        lines += sent(outputs).len();
        verdicts += outputs.iter().filter(|o| **o == Output::Share(Verdict::Lost)).count();
        (lines, verdicts)
    };
    for extranonce in 0..1000 {
        session.handle(NOW, Input::Found(solution(&job, extranonce)));
        count(&drain(&mut session));
    }
    assert_eq!(count(&[]), (MAX_UNANSWERED, 1000 - MAX_UNANSWERED));
    assert_eq!(session.wake_at(), Some(NOW + ANSWER_LIMIT));
    session.handle(NOW + ANSWER_LIMIT, Input::Tick);
    assert_eq!(count(&drain(&mut session)), (MAX_UNANSWERED, 1000));
    session.handle(NOW + ANSWER_LIMIT, Input::Found(solution(&job, 1)));
    count(&drain(&mut session));
    session.handle(NOW + ANSWER_LIMIT, Input::Disconnected);
    assert_eq!(count(&drain(&mut session)), (MAX_UNANSWERED + 1, 1001));
}

#[test]
fn finds_of_an_old_connection_are_not_sent_on_a_new_one() {
    let mut session = authorised(ROLLING, SUBSCRIPTION);
    let job = mined(&say(&mut session, NOTIFY));
    session.handle(NOW, Input::Connected);
    for line in [ROLLING, SUBSCRIPTION, r#"{"id":3,"result":true}"#] {
        say(&mut session, line);
    }
    let again = mined(&say(&mut session, NOTIFY));
    assert!(again.id > job.id);
    session.handle(NOW, Input::Found(solution(&job, 0)));
    assert_eq!(drain(&mut session), [Output::Share(Verdict::Stale(replaced()))]);
}
