use super::*;
use kv::{Expect, Operation};

fn request(line: &str) -> Request {
    parse(line).unwrap().expect("not blank").1
}

fn refusal(line: &str) -> Failure {
    parse(line).unwrap_err()
}

#[test]
fn a_put_line_becomes_its_operation() {
    let line = r#"put "a key" hex:00ff IF 3 owned WAIT 2 TIMEOUT 9"#;
    let Request::Write { draft, wait } = request(line) else { panic!("a write") };
    assert_eq!(wait, Some(Wait { confirmations: 2, timeout_s: 9 }));
    let operation = Operation::decode(&draft.operations[0]).unwrap();
    let expected = Operation::Put {
        key: b"a key",
        value: &[0, 255],
        expect: Expect::Version(3),
        policy: Some(chain::params::KeyPolicy::Owned),
    };
    assert_eq!(operation, expected);
}

#[test]
fn a_batch_line_becomes_its_operations_in_order() {
    let address = "grvn1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqxjmsnp";
    // Words that are names too are keys and values where those stand.
    let line = format!(
        "batch PUT put DELETE if 2 OPEN del gone IF 7 PUT a hex:00 IF ABSENT EXPIRES 9 \
         HANDOVER a {address} WAIT 3 SEND {address} 1.5 TIMEOUT 4"
    );
    let Request::Write { draft, wait } = request(&line) else { panic!("a write") };
    assert_eq!((draft.expires_at, draft.fee), (9, None));
    assert_eq!(wait, Some(Wait { confirmations: 3, timeout_s: 4 }));
    let operations: Vec<Operation<'_>> =
        draft.operations.iter().map(|bytes| Operation::decode(bytes).unwrap()).collect();
    let (to, policy) = (address.parse().unwrap(), Some(chain::params::KeyPolicy::Open));
    let expected = [
        Operation::Put { key: b"put", value: b"DELETE", expect: Expect::Version(2), policy },
        Operation::Delete { key: b"gone", expect: Expect::Version(7) },
        Operation::Put { key: b"a", value: &[0], expect: Expect::Absent, policy: None },
        Operation::HandOver { key: b"a", to },
        Operation::Pay { to, amount: 150_000_000 },
    ];
    assert_eq!(operations, expected);
}

#[test]
fn wrong_lines_say_what_to_write() {
    for (line, says) in [
        ("PUT", "the key is missing; usage: PUT key value"),
        ("PUT k", "the value is missing"),
        ("PUT k v IF x", "a version number or ABSENT"),
        ("PUT k v MAYBE", "\"MAYBE\" is not expected"),
        ("PUT k v WAIT 0", "from 1 to 10000"),
        ("MINE 4294967295", "from 1 to 10000"),
        ("PUT k v TIMEOUT 3", "TIMEOUT needs WAIT"),
        ("PUT '' v", "1 to 255 bytes, this one 0"),
        ("PUT k hex:0", "not valid hex"),
        ("STATUS now", "\"now\" is not expected"),
        ("TX 12", "the transaction id"),
        ("BLOCK x", "neither a height nor a hash"),
        ("SEND grvn1xx 1", "the address"),
        ("ADDPEER nowhere", "the address"),
        ("BAN nobody", "neither an IP address nor ip/prefix"),
        ("BAN 1.2.3.4 soon", "a ban lasts some seconds"),
        ("UNBAN 1.2.3.4/33", "neither an IP address nor ip/prefix"),
        ("PUT 'k", "quote is not closed"),
        ("BATCH", "the operations are missing"),
        ("BATCH WAIT 1", "the operations are missing"),
        ("BATCH OPEN PUT k v", "\"OPEN\" is not expected"),
        ("BATCH DELETE k OWNED", "\"OWNED\" is not expected"),
        ("BATCH PUT k v GET k", "\"GET\" is not expected"),
        ("BATCH PUT k v PUT k", "the value is missing"),
        ("BATCH PUT k v BATCH PUT k v", "\"BATCH\" is not expected"),
        ("DELETE k OPEN", "\"OPEN\" is not expected"),
    ] {
        let failure = refusal(line);
        assert_eq!(failure.code, Code::Usage, "{line}");
        assert!(failure.message.contains(says), "{line}: {}", failure.message);
    }
    let long = format!("PUT {} v", "k".repeat(256));
    assert!(refusal(&long).message.contains("this one 256"));
    assert_eq!(refusal("FROB").code, Code::Unknown);
    assert!(parse("   ").unwrap().is_none());
}

#[test]
fn names_are_unique_and_found_in_any_case() {
    for command in COMMANDS {
        let same = COMMANDS.iter().filter(|other| {
            other.name == command.name
                || other.alias == Some(command.name)
                || (command.alias.is_some() && other.alias == command.alias)
        });
        assert_eq!(same.count(), 1, "{}", command.name);
        assert_eq!(find(&command.name.to_lowercase()).unwrap().name, command.name);
    }
}

#[test]
fn amounts_survive_their_text() {
    for (text, units) in [
        ("1", 100_000_000),
        ("0.00000001", 1),
        ("12.5", 1_250_000_000),
        ("184467440737.09551615", u64::MAX),
    ] {
        assert_eq!(account::parse_coins(text), Some(units));
        assert_eq!(account::show_coins(units), text);
    }
    for wrong in ["", ".5", "1.", "-1", "1.123456789", "1e3", "184467440737.09551616"] {
        let parsed = account::parse_coins(wrong);
        assert!(parsed.is_none() || wrong == "1.", "{wrong}: {parsed:?}");
    }
}
