//! The words of an inline command, with the quoting of Redis: `".."` knows `\n`, `\r`, `\t`,
//! `\b`, `\a` and `\xHH`; `'..'` knows `\'`.

/// A quote is not closed, or something follows it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits a line.
///
/// # Errors
/// When its quotes do not match.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                b' ' | b'\n' | b'\r' | b'\t' | 0 => break,
                b'"' => double_quoted(after, &mut word)?,
                b'\'' => single_quoted(after, &mut word)?,
                other => {
                    word.push(*other);
                    after
                }
            };
        }
        words.push(word);
        // A zero byte ends a word and is no blank.
        rest = rest.strip_prefix(&[0]).unwrap_or(rest);
    }
}

/// Takes the inside of `".."`; what comes after it.
fn double_quoted<'a>(text: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return closed(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [other, after @ ..] => {
                word.push(*other);
                after
            }
            [] => return Err(UnbalancedQuotes),
        };
    }
}

/// Takes the inside of `'..'`; what comes after it.
fn single_quoted<'a>(text: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return closed(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [other, after @ ..] => {
                word.push(*other);
                after
            }
            [] => return Err(UnbalancedQuotes),
        };
    }
}

/// After a closing quote a word ends.
fn closed(after: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match after.first() {
        Some(byte) if !byte.is_ascii_whitespace() => Err(UnbalancedQuotes),
        _ => Ok(after),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_in_redis() {
        let cases: [(&[u8], &[&[u8]]); 8] = [
            (b"SET a b", &[b"SET", b"a", b"b"]),
            (b"  SET\ta  b ", &[b"SET", b"a", b"b"]),
            (b"", &[]),
            (br#"SET a "x \"y\" \x00\xfF\n""#, &[b"SET", b"a", b"x \"y\" \x00\xff\n"]),
            (br"SET a 'it\'s \n'", &[b"SET", b"a", br"it's \n"]),
            (br#"a"b""#, &[b"ab"]),
            (br#""\x0g\q""#, &[b"x0gq"]),
            (b"a\0b", &[b"a", b"b"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{}", line.escape_ascii());
        }
        for line in [&b"\"open"[..], b"'open", br#""a"b"#, b"'a'b", br#""a\"#, br"'a\'"] {
            assert_eq!(split(line), Err(UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }
}
