//! Whatever a server sends, a session neither panics nor grows.

use proptest::prelude::*;

use super::*;

const LINES: [&str; 13] = [
    r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}"#,
    r#"{"id":2,"result":[[["mining.notify","s"]],"0a0b0c0d",4],"error":null}"#,
    r#"{"id":3,"result":true,"error":null}"#,
    r#"{"id":4,"result":true,"error":null}"#,
    r#"{"id":5,"result":null,"error":[21,"stale",null]}"#,
    r#"{"id":null,"method":"mining.set_difficulty","params":[0.001]}"#,
    include_str!("notify.json"),
    r#"{"id":null,"method":"mining.set_extranonce","params":["ffff",12]}"#,
    r#"{"id":null,"method":"mining.set_version_mask","params":["00006000"]}"#,
    r#"{"id":null,"method":"client.reconnect","params":["a",1,1]}"#,
    r#"{"id":9,"method":"client.get_version","params":[]}"#,
    r#"{"id":null,"method":"client.show_message","params":["hello"]}"#,
    r#"{"id":9,"method":"mining.ping","params":[]}"#,
];

/// Any JSON, though not large.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f]{0,16}".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 10, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..10).prop_map(Value::from),
            prop::collection::btree_map("[a-z.-]{0,20}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// A line of a real dialogue with some value in it replaced.
fn wrong_shape() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec!["id", "method", "params", "result", "error"]);
    (0..LINES.len(), field, any::<prop::sample::Index>(), json_value()).prop_map(
        |(line, field, at, value)| {
            let mut line: Value = serde_json::from_str(LINES[line]).expect("the lines are JSON");
            match &mut line[field] {
                Value::Array(items) if !items.is_empty() => {
                    let at = at.index(items.len());
                    items[at] = value;
                }
                other => *other = value,
            }
            line.to_string().into_bytes()
        },
    )
}

/// A line of a real dialogue with some bytes replaced, taken out or put in.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..3_u8, any::<u8>());
    (0..LINES.len(), prop::collection::vec(change, 1..4)).prop_map(|(line, changes)| {
        let mut line = LINES[line].as_bytes().to_vec();
        for (at, kind, byte) in changes {
            let at = at.index(line.len());
            match kind {
                0 => line[at] = byte,
                1 => line.insert(at, byte),
                _ => drop(line.remove(at)),
            }
        }
        line
    })
}

fn input() -> impl Strategy<Value = Input> {
    let solution = (0..40_u64, any::<u64>()).prop_map(|(job_id, extranonce)| Solution {
        job_id,
        extranonce,
        version: 0x2000_0000,
        time: 0,
        nonce: 0,
    });
    prop_oneof![
        20 => (0..LINES.len()).prop_map(|line| Input::Line(LINES[line].as_bytes().to_vec())),
        4 => wrong_shape().prop_map(Input::Line),
        4 => mutated().prop_map(Input::Line),
        2 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Input::Line),
        1 => json_value().prop_map(|value| Input::Line(value.to_string().into_bytes())),
        8 => solution.prop_map(Input::Found),
        1 => Just(Input::Tick),
        1 => Just(Input::Disconnected),
        1 => Just(Input::Connected),
    ]
}

/// The beginning of a dialogue that works.
fn begun() -> Session {
    let mut session = Session::new(super::tests::account());
    session.handle(Duration::ZERO, Input::Connected);
    for line in &LINES[..3] {
        session.handle(Duration::ZERO, Input::Line(line.as_bytes().to_vec()));
    }
    while session.poll().is_some() {}
    session
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_a_server_sends_breaks_a_session(
        inputs in prop::collection::vec((input(), 0..20_000_u64), 1..60),
    ) {
        let mut session = begun();
        let mut now = Duration::ZERO;
        for (input, passed_ms) in inputs {
            now += Duration::from_millis(passed_ms);
            let found = usize::from(matches!(input, Input::Found(_)));
            session.handle(now, input);
            let outputs: Vec<Output> = std::iter::from_fn(|| session.poll()).collect();
            let verdicts = outputs.iter().filter(|o| matches!(o, Output::Share(_))).count();
            prop_assert!(outputs.len() <= verdicts + 5, "{outputs:?}");
            prop_assert!(verdicts <= MAX_UNANSWERED + found);
            let failed = outputs.iter().any(|output| matches!(output, Output::Failed(_)));
            prop_assert!(!failed || session.link.is_none());
            for output in &outputs {
                if let Output::Mine(Some(job)) = output {
                    prop_assert_eq!(job.version & job.version_mask, 0);
                    prop_assert!(job.extranonce_start <= job.extranonce_max());
                    prop_assert!(job.coinbase(0).len() <= MAX_LINE);
                }
                if let Output::Send(line) = output {
                    prop_assert!(line.len() <= 2 * MAX_LINE && !line.contains('\n'));
                }
            }
            if let Some(link) = &session.link {
                prop_assert!(link.tickets.len() <= MAX_TICKETS);
                prop_assert!(link.asked.len() <= MAX_UNANSWERED + 4);
                prop_assert!(session.wake_at().is_some_and(|at| at > now));
            } else {
                prop_assert_eq!(session.wake_at(), None);
                session.handle(now, Input::Connected);
                while session.poll().is_some() {}
            }
        }
    }

    #[test]
    fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
        message::parse(&line).ok();
    }
}

#[test]
fn a_line_of_64_kib_is_the_longest_and_deep_nesting_is_refused() {
    let line = |len: usize| {
        let mut line = br#"{"method":"x"}"#.to_vec();
        line.resize(len, b' ');
        message::parse(&line)
    };
    assert!(line(MAX_LINE).is_ok());
    assert!(line(MAX_LINE + 1).is_err());
    assert!(message::parse("[".repeat(MAX_LINE).as_bytes()).is_err());
}
