//! Lines of every kind, as a miner could send them and as none would.

use proptest::prelude::*;

use super::tests::{NOW, free_job, mining, output, session};
use super::*;

/// Values as a miner could send them, and others.
fn any_value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9a-f]{8}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("user")),
        Just(json!("1")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..7).prop_map(Value::from),
            prop::collection::btree_map("[a-z.-]{1,20}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let methods = [
        "mining.configure",
        "mining.subscribe",
        "mining.authorize",
        "mining.submit",
        "mining.suggest_difficulty",
        "mining.extranonce.subscribe",
        "mining.ping",
        "x",
    ];
    let request = (any_value(), prop::sample::select(methods.to_vec()), any_value())
        .prop_map(|(id, method, params)| json!({"id": id, "method": method, "params": params}))
        .boxed();
    prop_oneof![
        4 => request.clone().prop_map(|request| request.to_string().into_bytes()),
        1 => any_value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..80),
        1 => (request, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(request, at, byte)| {
            let mut line = request.to_string().into_bytes();
            let at = at.index(line.len());
            line[at] = byte;
            line
        }),
    ]
}

proptest! {
    #[test]
    fn any_line_is_answered_once(lines in prop::collection::vec(any_line(), 1..12)) {
        for mut session in [session(), mining(&free_job())] {
            for line in &lines {
                let event = session.line(NOW, line);
                if let Event::Authorize(login) = event {
                    session.authorise(login, Err("not today".to_string()));
                }
                let output = output(&mut session);
                prop_assert!(output.len() <= 1, "{output:?}");
                for reply in output {
                    let code = reply["error"].as_array().map(|error| error[0].as_u64());
                    prop_assert!(code.is_none_or(|code| (20..=25).contains(&code.unwrap_or(0))));
                }
            }
        }
    }
}
