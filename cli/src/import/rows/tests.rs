use chain::params::Network;
use chain::tx::{PublicKey, Unsigned};

use super::*;

fn limits() -> Limits {
    Network::dev().limits
}

fn rows(text: &[u8], format: Format) -> Rows<&[u8]> {
    Rows::new(text, format, limits(), 1).unwrap()
}

/// Of each line that is not blank: its number, and its words or what is wrong.
fn read(text: &[u8], format: Format) -> Vec<(u64, Result<String, String>)> {
    let mut rows = rows(text, format);
    std::iter::from_fn(|| rows.read().unwrap())
        .map(|row| match row {
            Ok(row) => (row.line, Ok(row.words)),
            Err(wrong) => (wrong.line, Err(wrong.what)),
        })
        .collect()
}

#[test]
fn lines_of_json_become_operations() {
    let text = br#"{"key":"a","value":"1"}

{"key_base64":"AP8=","value_base64":"AA==","if_version":3}
{"key":"b c","value":"it's","policy":"owned","if_absent":true}
{"key":"gone","delete":true}
{"key":"empty","value":""}"#;
    let words = [
        (1, "PUT a 1"),
        (3, "PUT base64:AP8= base64:AA== IF 3"),
        (4, r"PUT 'b c' 'it'\''s' IF ABSENT OWNED"),
        (5, "DELETE gone"),
        (6, "PUT empty ''"),
    ];
    let expected: Vec<(u64, Result<String, String>)> =
        words.map(|(line, text)| (line, Ok(text.to_string()))).into();
    assert_eq!(read(text, Format::Jsonl), expected);
}

#[test]
fn lines_with_a_tab_become_puts() {
    let text = b"a\t1\r\n\nkey with blanks\ta\\tb\\n\\\\\n\xff\t\n \t \n";
    let words = [
        (1, "PUT a 1"),
        (3, "PUT 'key with blanks' base64:YQliClw="),
        (4, "PUT base64:/w== ''"),
        (5, "PUT ' ' ' '"),
    ];
    let expected: Vec<(u64, Result<String, String>)> =
        words.map(|(line, text)| (line, Ok(text.to_string()))).into();
    assert_eq!(read(text, Format::Tsv), expected);
}

#[test]
fn what_is_wrong_with_a_line_is_said_and_the_next_is_read() {
    let long_key = format!(r#"{{"key":"{}","value":""}}"#, "k".repeat(256));
    let long_value = format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(65_537));
    let long_line = format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(400_000));
    for (line, says) in [
        ("nothing", "expected ident (column 2)"),
        (r#"{"key":"a"}"#, "neither a value nor"),
        (r#"{"value":"a"}"#, "there is no key"),
        (r#"{"key":"","value":"a"}"#, "the key is empty"),
        (&long_key, "the key has 256 bytes"),
        (&long_value, "the value has 65537 bytes, this network allows at most 65536"),
        (&long_line, "the line has more than 395770 bytes"),
        (r#"{"key":"a","value":1}"#, "invalid type: integer `1`, expected a string"),
        (r#"{"key":"a","value":"1","frob":1}"#, "unknown field `frob`"),
        (r#"{"key":"a","key_base64":"AA==","value":""}"#, "both key and key_base64"),
        (r#"{"key":"a","value_base64":"A"}"#, "value_base64 is not valid base64"),
        (r#"{"key":"a","value":"1","delete":true}"#, "a deletion has no value"),
        (r#"{"key":"a","delete":true,"policy":"open"}"#, "a deletion has no policy"),
        (r#"{"key":"a","value":"","if_version":1,"if_absent":true}"#, "both if_version and"),
        (r#"{"key":"a","value":"","if_version":-1}"#, "invalid value: integer `-1`"),
    ] {
        let text = format!("{line}\n{}\n", r#"{"key":"next","value":""}"#);
        let read = read(text.as_bytes(), Format::Jsonl);
        let [(1, Err(what)), (2, Ok(_))] = &read[..] else { panic!("{line}: {read:?}") };
        assert!(what.contains(says), "{line}: {what}");
    }
    for (line, says) in [
        ("a", "there is no tab"),
        ("a\tb\tc", "more than one tab"),
        ("a\tb\\x", "after a backslash"),
        ("a\tb\\", "after a backslash"),
        ("\tb", "the key is empty"),
    ] {
        let text = format!("{line}\nnext\t1\n");
        let read = read(text.as_bytes(), Format::Tsv);
        let [(1, Err(what)), (2, Ok(_))] = &read[..] else { panic!("{line}: {read:?}") };
        assert!(what.contains(says), "{line}: {what}");
    }
}

#[test]
fn reading_starts_at_the_line_that_is_asked_for() {
    let text = b"a\t1\n\nb\t2\nc\t3\n";
    for (from, words) in [(1, "PUT a 1"), (2, "PUT b 2"), (3, "PUT b 2"), (4, "PUT c 3")] {
        let mut rows = Rows::new(&text[..], Format::Tsv, limits(), from).unwrap();
        assert_eq!(rows.next_line(), from);
        assert_eq!(rows.read().unwrap().unwrap().unwrap().words, words);
    }
    let mut rows = Rows::new(&text[..], Format::Tsv, limits(), 9).unwrap();
    assert_eq!((rows.read().unwrap(), rows.bytes()), (None, text.len() as u64));
}

/// Fills a batch with rows that are alike, as many as it takes.
fn filled(row: &Row, most: usize) -> Vec<Row> {
    let mut batch = Batch::default();
    while batch.push(row.clone(), &limits(), most).is_ok() {}
    batch.into_rows()
}

#[test]
fn a_batch_is_as_full_as_the_networks_limits_allow() {
    for (value, least) in [(0, 1024), (200, 1024), (1000, 240), (65_000, 4)] {
        let text = format!("key\t{}", "\\n".repeat(value));
        let row = rows(text.as_bytes(), Format::Tsv).read().unwrap().unwrap().unwrap();
        let full = filled(&row, usize::MAX);
        assert!(full.len() >= least, "{value}: {}", full.len());
        // The largest numbers there are around it.
        let value = vec![b'\n'; value];
        let put = Operation::Put { key: b"key", value: &value, expect: Expect::Any, policy: None };
        let transaction = Unsigned {
            version: 1,
            signer: PublicKey([7; 32]),
            sequence: u64::MAX,
            expires_at: u32::MAX,
            fee: u64::MAX,
            operations: vec![put.encode(); full.len()],
        };
        assert!(transaction.signed_len() <= limits().transaction_bytes as usize);
        let line: usize = full.iter().map(|row| row.words.len() + 1).sum();
        assert!(line + "BATCH".len() < 2 * limits().transaction_bytes as usize + 4096);
        assert_eq!(filled(&row, 3).len(), 3);
    }
}
