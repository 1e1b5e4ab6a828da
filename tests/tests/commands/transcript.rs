//! Transcripts in Markdown: what is run, what must come out, and how the two differ.

use std::fmt::Write;

/// Stands for anything within a line.
const ANYTHING: &str = "[..]";

/// A line that stands for any lines.
const ANY_LINES: &str = "[...]";

/// A command of a transcript.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its line in the page, from 1.
    pub(crate) line: usize,
    /// What the shell is given.
    pub(crate) command: String,
    /// What must come out.
    pub(crate) expected: Vec<String>,
    /// The exit code.
    pub(crate) exit: i32,
}

/// The steps of all `console` blocks of a page.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(page.lines()) {
        if text.starts_with("```") {
            inside = text == "```console";
        } else if !inside {
        } else if let Some(command) = text.strip_prefix("$ ") {
            let command = command.to_string();
            steps.push(Step { line, command, expected: Vec::new(), exit: 0 });
        } else {
            let step = steps.last_mut().expect("a transcript begins with `$ `");
            match exit_code(text) {
                Some(exit) => step.exit = exit,
                None => step.expected.push(text.to_string()),
            }
        }
    }
    steps
}

fn exit_code(text: &str) -> Option<i32> {
    text.strip_prefix("[exit ")?.strip_suffix(']')?.parse().ok()
}

/// How the output differs from what was expected, line by line; `None` if it does not.
pub(crate) fn difference(expected: &[String], printed: &str) -> Option<String> {
    let mut wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
    let mut got: Vec<&str> = printed.lines().map(str::trim_end).collect();
    // A blank line at the end of either is no difference.
    while got.last() == Some(&"") {
        got.pop();
    }
    while wanted.last() == Some(&"") {
        wanted.pop();
    }
    if lines_match(&wanted, &got) {
        return None;
    }
    let same = |(want, line): &(&&str, &&str)| line_matches(want, line);
    let head = wanted.iter().zip(&got).take_while(same).count();
    let (wanted_rest, got_rest) = (&wanted[head..], &got[head..]);
    let tail = wanted_rest.iter().rev().zip(got_rest.iter().rev()).take_while(same).count();
    let mut out = String::new();
    let mut say = |mark: char, lines: &[&str]| {
        for line in lines {
            writeln!(out, "{mark} {line}").expect("writing to a string cannot fail");
        }
    };
    say(' ', &got[..head]);
    say('-', &wanted_rest[..wanted_rest.len() - tail]);
    say('+', &got_rest[..got_rest.len() - tail]);
    say(' ', &got_rest[got_rest.len() - tail..]);
    Some(out)
}

fn lines_match(wanted: &[&str], got: &[&str]) -> bool {
    match wanted.split_first() {
        None => got.is_empty(),
        Some((&ANY_LINES, rest)) => (0..=got.len()).any(|skip| lines_match(rest, &got[skip..])),
        Some((want, rest)) => got
            .split_first()
            .is_some_and(|(line, more)| line_matches(want, line) && lines_match(rest, more)),
    }
}

fn line_matches(want: &str, line: &str) -> bool {
    let parts: Vec<&str> = want.trim_end().split(ANYTHING).collect();
    let [first, middle @ .., last] = &parts[..] else { return parts[0] == line };
    let inner = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let Some(mut rest) = inner else { return false };
    middle.iter().all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn patterns_match_within_lines_and_across_them() {
    let lines = |text: &str| text.lines().map(str::to_string).collect::<Vec<_>>();
    let differs = |want: &str, got: &str| difference(&lines(want), got).is_some();
    assert!(!differs("a [..] c [..]", "a b c d  \n\n"));
    assert!(!differs("", ""));
    assert!(!differs("[...]\nend", "1\n2\nend\n"));
    assert!(!differs("[...]\nend", "end"));
    assert!(differs("a [..] c", "a c"), "the blanks are two");
    assert!(differs("[...]\nend", "end\nmore"));
    assert!(differs("a", "a\nb"));
    let shown = difference(&lines("1\nx[..]\n3"), "1\n2\n3\n").unwrap();
    assert_eq!(shown, "  1\n- x[..]\n+ 2\n  3\n");
}

#[test]
fn a_page_falls_into_its_steps() {
    let page =
        "Text\n```console\n$ a b\nout\n\nmore\n$ c\n[exit 3]\n```\n```text\n$ not run\n```\n";
    let step = |line, command: &str, expected: &[&str], exit| Step {
        line,
        command: command.to_string(),
        expected: expected.iter().map(|text| (*text).to_string()).collect(),
        exit,
    };
    let expected = [step(3, "a b", &["out", "", "more"], 0), step(7, "c", &[], 3)];
    assert_eq!(steps(page), expected);
}
