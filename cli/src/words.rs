//! Words of a line, with shell quoting, and bytes as words.
//!
//! Unlike a shell, `#` starts no comment and nothing is expanded: values are data.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

/// Why a line has no words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote is opened and not closed.
    #[error("a {0} quote is not closed")]
    OpenQuote(char),
    /// A backslash ends the line.
    #[error("a backslash at the end of the line escapes nothing")]
    TrailingBackslash,
    /// `base64:` or `hex:` is followed by something else.
    #[error("{0:?} is not valid {1}")]
    Encoding(String, &'static str),
}

/// Splits a line as a shell would: blanks separate, `'..'` is literal, `".."` knows `\"` and
/// `\\`, a backslash elsewhere makes the next character literal.
///
/// # Errors
/// When a quote or an escape is not finished.
pub fn split(line: &str) -> Result<Vec<String>, WordError> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        // Most words are plain, and some are transactions: as one piece.
        let plain = plain_bytes(rest.as_bytes());
        let mut word = rest[..plain].to_string();
        let mut chars = rest[plain..].chars();
        while let Some(c) = chars.next().filter(|c| !c.is_ascii_whitespace()) {
            match c {
                '\'' => loop {
                    match chars.next().ok_or(WordError::OpenQuote('\''))? {
                        '\'' => break,
                        other => word.push(other),
                    }
                },
                '"' => loop {
                    match chars.next().ok_or(WordError::OpenQuote('"'))? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(WordError::OpenQuote('"'))? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                },
                '\\' => word.push(chars.next().ok_or(WordError::TrailingBackslash)?),
                other => word.push(other),
            }
        }
        words.push(word);
        rest = chars.as_str();
    }
}

/// Bytes before the first that is special: 32 at a time while none could be, in a form that
/// compilers make vector instructions of.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<32>();
    let could_be = |byte: u8| (byte <= b' ') | (byte == b'\'') | (byte == b'"') | (byte == b'\\');
    let has_none = |chunk: &&[u8; 32]| !chunk.iter().fold(false, |any, byte| any | could_be(*byte));
    let plain = 32 * chunks.iter().take_while(has_none).count();
    let rest = &bytes[plain..];
    plain + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// Whether a byte ends a word or quotes something.
fn is_special(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b'\\')
}

/// Quotes a word so that [`split`] gives it back. Line breaks cannot be quoted: see [`encode`].
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+=@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The bytes a word stands for: those of `base64:..` or `hex:..`, else its own.
///
/// # Errors
/// When what follows the prefix is not of that encoding.
pub fn decode(word: &str) -> Result<Vec<u8>, WordError> {
    if let Some(text) = word.strip_prefix("base64:") {
        return BASE64
            .decode(text.as_bytes())
            .map_err(|_| WordError::Encoding(word.to_string(), "base64"));
    }
    if let Some(text) = word.strip_prefix("hex:") {
        return HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(|_| WordError::Encoding(word.to_string(), "hex"));
    }
    Ok(word.as_bytes().to_vec())
}

/// A word that [`decode`] turns back into these bytes.
pub fn encode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text)
            if !text.chars().any(char::is_control)
                && !text.starts_with("base64:")
                && !text.starts_with("hex:") =>
        {
            text.to_string()
        }
        _ => format!("base64:{}", BASE64.encode(bytes)),
    }
}

/// Bytes as a quoted word: text as it is, unless quoting more than doubles it, else base64.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    let quoted = quote(&encode(bytes));
    if quoted.len() <= 2 * bytes.len() + 16 {
        return quoted;
    }
    format!("base64:{}", BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_in_a_shell_but_for_comments() {
        for (line, words) in [
            ("PUT a b", vec!["PUT", "a", "b"]),
            ("  PUT\ta  b ", vec!["PUT", "a", "b"]),
            (r#"PUT a "two words" 'x "y"'"#, vec!["PUT", "a", "two words", r#"x "y""#]),
            (r#""a\"b\\c\d""#, vec![r#"a"b\c\d"#]),
            (r"a\ b \'", vec!["a b", "'"]),
            ("tag #1 '' \"\"", vec!["tag", "#1", "", ""]),
            (r#"pre"mid"'post'"#, vec!["premidpost"]),
            ("", vec![]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        // Whatever stands between pieces of 32 bytes that have nothing special.
        for gap in [" ", "\t", " ''"] {
            for length in 25..70 {
                let word = "\u{1}\u{7f}xyz".repeat(length)[..length].to_string();
                let split = split(&[word.as_str(), &word].join(gap)).unwrap();
                assert_eq!(split.first(), Some(&word));
                assert_eq!(split.last(), Some(&word));
            }
        }
        assert_eq!(split("a 'b"), Err(WordError::OpenQuote('\'')));
        assert_eq!(split("a \"b\\"), Err(WordError::OpenQuote('"')));
        assert_eq!(split("a\\"), Err(WordError::TrailingBackslash));
    }

    #[test]
    fn any_bytes_survive_as_a_quoted_word() {
        for bytes in [
            &b"plain"[..],
            b"",
            b"it's \"quoted\" \\ #",
            b"line\nbreak",
            b"\xff\x00",
            b"base64:AA==",
            &[b'\''; 100],
            "gr\u{fc}n \u{1f331}".as_bytes(),
        ] {
            let words = split(&quoted_bytes(bytes)).unwrap();
            assert_eq!(words.len(), 1);
            assert!(quoted_bytes(bytes).len() <= 2 * bytes.len() + 16);
            assert_eq!(decode(&words[0]).unwrap(), bytes);
        }
        assert!(decode("hex:0g").is_err() && decode("base64:?").is_err());
        assert_eq!(decode("hex:00fF").unwrap(), [0, 255]);
    }
}
