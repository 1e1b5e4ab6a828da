//! Lines of the admin port: words are words again when they are quoted, and every line is a
//! request or gets a reply that is one line.

use cli::{command, reply, words};

use super::target::{Memory, Target};

/// Words, and a reply that says what was wrong with them.
pub(super) const TARGET: Target =
    Target { name: "lines", samples, run, memory: Memory { per_byte: 64, fixed: 8 * 1024 } };

const LINES: &[&str] = &[
    "PUT greeting \"hello world\" WAIT 1 TIMEOUT 5",
    "PUT k v IF 7 FEE 0.5 EXPIRES 10",
    "PUT base64:AAEC hex:00fF IF ABSENT OPEN",
    "put 'it''s' \"a \\\"quoted\\\" one\" owned",
    "DELETE key IF 3",
    "HANDOVER key grvn1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
    "BATCH PUT k v IF 7 OWNED DEL k IF ABSENT PAY grvn1qq 1 HANDOVER k grvn1qq WAIT 1 TIMEOUT 2",
    "BATCH DEL a DEL b DEL c DEL d DEL e DEL f DEL g DEL h",
    "RETRIEVE greeting VERSION 1",
    "GET greeting HEIGHT 4294967295",
    "RETRIEVE_ALL greeting LIMIT 10 AFTER 3 DESC",
    "SCAN prefix LIMIT 18446744073709551615 AFTER a VALUES",
    "TX 1111111111111111111111111111111111111111111111111111111111111111",
    "WAIT 1111111111111111111111111111111111111111111111111111111111111111 10000 TIMEOUT 1",
    "SUBMIT base64:AAAA WAIT 1",
    "WATCH pre CONFIRMATIONS 3",
    "UNWATCH",
    "BLOCK 17",
    "BLOCK 1111111111111111111111111111111111111111111111111111111111111111",
    "STATUS",
    "PEERS",
    "MINERS",
    "ADDPEER 127.0.0.1:7400",
    "ADDPEER [::1]:0",
    "BAN 203.0.113.0/24 FOR 60",
    "BAN ::ffff:1.2.3.4/120 18446744073709551615",
    "UNBAN 203.0.113.0/24",
    "BANS",
    "BALANCE",
    "SEND grvn1qq 184467440737.09551615",
    "SEND grvn1qq 0.000000001 WAIT 1",
    "MINE 10000",
    "AUTH 0123456789abcdef",
    "HELP PUT",
    "QUIT",
    "SHUTDOWN",
    "",
    "NOTHING like this",
    "PUT 'open",
    "PUT \"open\\",
    "PUT trailing\\",
];

fn samples() -> Vec<Vec<u8>> {
    LINES.iter().map(|line| line.as_bytes().to_vec()).collect()
}

fn run(input: &[u8]) -> String {
    assert_eq!(words::decode(&words::encode(input)).as_deref(), Ok(input), "bytes as a word");
    let quoted = words::quote(&words::encode(input));
    assert_eq!(words::split(&quoted).map(|list| list.len()), Ok(1), "{quoted:?}");
    let Ok(line) = std::str::from_utf8(input) else { return "not text".to_string() };
    if let Ok(list) = words::split(line) {
        let again: Vec<String> = list.iter().map(|word| words::quote(word)).collect();
        assert_eq!(words::split(&again.join(" ")), Ok(list), "words quoted again");
    }
    match command::parse(line) {
        Ok(None) => "blank".to_string(),
        Ok(Some((command, _))) => command.name.to_string(),
        Err(failure) => {
            let line = reply::line(&Err(failure));
            let text = String::from_utf8(line).expect("replies are text");
            let ends = text.bytes().filter(|byte| *byte == b'\n').count();
            assert!(text.starts_with('-') && text.ends_with('\n') && ends == 1, "{text:?}");
            let first = input.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let name = command::find(&String::from_utf8_lossy(first)).map(|command| command.name);
            format!("{} {}", text.split(' ').next().unwrap_or_default(), name.unwrap_or("other"))
        }
    }
}
