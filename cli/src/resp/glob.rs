//! Patterns of keys and channels: `*`, `?`, `[abc]`, `[^a-z]` and a backslash before what is meant
//! as it is, as in Redis.

/// Longest pattern, in bytes: longer than any key, escapes included.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Whether `text` matches `pattern` as a whole. Takes at most as many steps as the product of
/// their lengths.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when what follows the last `*` does not match here.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        let step = match text.split_first() {
            None if pattern.is_empty() => return true,
            None => None,
            Some((first, after)) => one(pattern, *first).map(|rest| (rest, after)),
        };
        if let Some(next) = step {
            (pattern, text) = next;
            continue;
        }
        // The last `*` takes one byte more.
        let Some((after_star, [_, from @ ..])) = retry else { return false };
        retry = Some((after_star, from));
        (pattern, text) = (after_star, from);
    }
}

/// The pattern after what matches `byte`, if its start does.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// The pattern after a `[..]` that `byte` is in. A class that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', escaped, after @ ..] => {
                found |= *escaped == byte;
                after
            }
            [low, b'-', high, after @ ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                after
            }
            [single, after @ ..] => {
                found |= *single == byte;
                after
            }
        };
    }
    (found != negated).then_some(rest)
}

/// What everything that matches starts with.
pub fn literal_prefix(pattern: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    let mut rest = pattern;
    loop {
        rest = match rest {
            [] | [b'*' | b'?' | b'[', ..] => return prefix,
            [b'\\', escaped, after @ ..] => {
                prefix.push(*escaped);
                after
            }
            [literal, after @ ..] => {
                prefix.push(*literal);
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, yes, no) in [
            ("", vec![""], vec!["a"]),
            ("*", vec!["", "a", "a/b"], vec![]),
            ("h?llo", vec!["hello", "hallo"], vec!["hllo", "heello"]),
            ("h*llo", vec!["hllo", "heeeello", "hllo llo"], vec!["hell"]),
            ("h[ae]llo", vec!["hello", "hallo"], vec!["hillo", "hllo"]),
            ("h[^e]llo", vec!["hallo"], vec!["hello", "hllo"]),
            ("h[a-c]llo", vec!["hallo", "hcllo"], vec!["hdllo"]),
            ("h[c-a]llo", vec!["hbllo"], vec!["hdllo"]),
            (r"h\*llo", vec!["h*llo"], vec!["hello"]),
            (r"[\]]x", vec!["]x"], vec!["\\x"]),
            ("a*b*c", vec!["abc", "aXbXc", "abbcc"], vec!["ac", "abcX"]),
            ("a[bc", vec!["ab", "ac"], vec!["a"]),
            ("*a*a*a*a*b", vec!["aaaaaab"], vec!["aaaaaaaaaaaaaaaaaaaaaaaaa"]),
        ] {
            for text in yes {
                assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern:?} {text:?}");
            }
            for text in no {
                assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_longer_than_its_product_with_the_text() {
        // Exponential search would not end within the age of the universe.
        let pattern = [b"*a".repeat(500), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(10_000)));
    }

    #[test]
    fn every_match_starts_with_the_literal_prefix() {
        for (pattern, prefix) in
            [("abc", "abc"), ("ab*c", "ab"), (r"a\*b?", "a*b"), ("[ab]", ""), (r"a\", r"a\")]
        {
            assert_eq!(literal_prefix(pattern.as_bytes()), prefix.as_bytes(), "{pattern}");
        }
    }
}
