use std::collections::BTreeMap;

use super::*;

struct Map(BTreeMap<&'static str, &'static str>);

impl Known for Map {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(std::str::from_utf8(key).unwrap()).map(|value| value.as_bytes())
    }
}

fn parsed(line: &str) -> Result<Data, Reply> {
    let mut words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    let name = words.remove(0);
    parse(&name, words).expect("a command about values")
}

/// The reply and the writes of a command where `a` is `one`, `b` is `two two`.
fn done(line: &str) -> (Reply, String) {
    let known = Map([("a", "one"), ("b", "two two")].into());
    let mut writes = Vec::new();
    let reply = parsed(line).unwrap().decide(&known, &mut writes);
    let shown = writes.iter().map(|Write { key, value, expect }| {
        let value = value.as_ref().map_or("-".into(), |value| String::from_utf8_lossy(value));
        format!(
            "{}={value}{}",
            key.escape_ascii(),
            match expect {
                Expect::Any => "",
                _ => "?",
            }
        )
    });
    (reply, shown.collect::<Vec<_>>().join(" "))
}

#[test]
fn commands_decide_on_what_is_known() {
    let values = |list: &[Option<&str>]| {
        let value = |value: &Option<&str>| value.map_or(Reply::Null, Reply::text);
        Reply::Array(list.iter().map(value).collect())
    };
    for (line, reply, writes) in [
        ("GET a", Reply::text("one"), ""),
        ("GET c", Reply::Null, ""),
        ("MGET a c b a", values(&[Some("one"), None, Some("two two"), Some("one")]), ""),
        ("EXISTS a c a", Reply::Integer(2), ""),
        ("TYPE a", Reply::Simple("string"), ""),
        ("TYPE c", Reply::Simple("none"), ""),
        ("TTL a", Reply::Integer(-1), ""),
        ("PTTL c", Reply::Integer(-2), ""),
        ("STRLEN b", Reply::Integer(7), ""),
        ("STRLEN c", Reply::Integer(0), ""),
        ("SET a 1", Reply::OK, "a=1"),
        ("SET c 1 nx", Reply::OK, "c=1?"),
        ("SET a 1 NX", Reply::Null, ""),
        ("SET a 1 XX", Reply::OK, "a=1"),
        ("SET c 1 XX", Reply::Null, ""),
        ("SET a 1 GET", Reply::text("one"), "a=1"),
        ("SET a 1 NX GET", Reply::text("one"), ""),
        ("SET c 1 GET KEEPTTL", Reply::Null, "c=1"),
        ("GETSET a 1", Reply::text("one"), "a=1"),
        ("SETNX a 1", Reply::Integer(0), ""),
        ("SETNX c 1", Reply::Integer(1), "c=1?"),
        ("MSET a 1 c 2", Reply::OK, "a=1 c=2"),
        ("MSETNX c 1 d 2 c 3", Reply::Integer(1), "c=1? d=2? c=3"),
        ("MSETNX c 1 a 2", Reply::Integer(0), ""),
        ("DEL a c b a", Reply::Integer(2), "a=- b=-"),
        ("DEL c", Reply::Integer(0), ""),
        ("GETDEL a", Reply::text("one"), "a=-"),
        ("GETDEL c", Reply::Null, ""),
    ] {
        assert_eq!(done(line), (reply, writes.to_string()), "{line}");
    }
}

#[test]
fn ranges_count_from_both_ends() {
    for (start, end, part) in [
        (0, 2, "012"),
        (0, -1, "01234"),
        (-2, -9, ""),
        (-9, -9, "0"),
        (-3, -2, "23"),
        (1, 1, "1"),
        (3, 1, ""),
        (5, 9, ""),
        (-99, 0, "0"),
        (0, -99, "0"),
        (i64::MIN, i64::MAX, "01234"),
        (i64::MAX, i64::MIN, ""),
    ] {
        assert_eq!(range(b"01234", start, end), part.as_bytes(), "{start} {end}");
        assert_eq!(range(b"", start, end), b"");
    }
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let long = "k".repeat(256);
    for (line, what) in [
        ("SET a 1 EX 10", "ERR values do not expire here"),
        ("SET a 1 NX XX", "ERR syntax error"),
        ("SET a 1 FROB", "ERR syntax error"),
        ("MSET a 1 b", "ERR wrong number of arguments"),
        ("GETRANGE a 0 x", "ERR value is not an integer"),
        ("GET ", "ERR a key has 1 to 255 bytes, this one 0"),
        (&format!("GET {long}"), "ERR a key has 1 to 255 bytes, this one 256"),
        (&format!("MGET{}", " k".repeat(1025)), "ERR a command names at most 1024 keys"),
    ] {
        let Err(Reply::Error(error)) = parsed(line) else { panic!("{line}") };
        assert!(error.starts_with(what), "{line}: {error}");
    }
}

#[test]
fn what_needs_no_knowledge_asks_for_none() {
    for (line, keys) in [("SET a 1", 0), ("MSET a 1 b 2", 0), ("SET a 1 NX", 1), ("DEL a b", 2)] {
        assert_eq!(parsed(line).unwrap().must_know().len(), keys, "{line}");
    }
}
