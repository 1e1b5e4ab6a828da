//! The commands about many keys at once: `import`, `export`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::{PAGE, TerminalError, print, progress_bar, stdout_error};
use crate::args::{ExportArgs, Global, ImportArgs};
use crate::client::Client;
use crate::command::Line;
use crate::import::rows::{Format, Rows};
use crate::import::{self, LineFailure, Report, Settings, Watcher};
use crate::node;
use crate::reply::{get_bytes, put_bytes};
use crate::words;

pub(super) fn import(global: &Global, args: &ImportArgs) -> Result<(), TerminalError> {
    let format = format(args)?;
    let file_error = |source| TerminalError::Io { path: args.file.clone(), source };
    let (input, length): (Box<dyn BufRead>, Option<u64>) = if args.file == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(&args.file).map_err(file_error)?;
        let length = file.metadata().map_err(file_error)?;
        let length = length.is_file().then_some(length.len());
        (Box::new(BufReader::with_capacity(64 * 1024, file)), length)
    };
    let mut client = Client::open(global)?;
    let limits = import::limits(&mut client)?;
    let mut rows = Rows::new(input, format, limits, args.from).map_err(file_error)?;
    let settings = Settings {
        confirmations: args.wait,
        patience: Duration::from_secs(args.timeout),
        operations: args.operations.map_or(usize::MAX, |most| most as usize),
    };
    let signals = node::signals()?;
    let mut screen = Screen {
        bar: bar("importing", length),
        tells: !global.json,
        told: 0,
        stops: Box::new(move || signals.try_recv().is_ok()),
    };
    let (report, result) = import::import(&mut client, limits, &mut rows, settings, &mut screen);
    screen.bar.finish_and_clear();
    print(global, &report.to_json(), |_| summary(&report))?;
    Ok(result?)
}

fn format(args: &ImportArgs) -> Result<Format, TerminalError> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    if args.file == Path::new("-") {
        return Ok(Format::Jsonl);
    }
    Format::of_name(&args.file).ok_or_else(|| {
        let what = format!("{}: say --format jsonl or --format tsv", args.file.display());
        TerminalError::Usage(what)
    })
}

/// A bar for a file of known length, else a sign of life.
fn bar(what: &'static str, length: Option<u64>) -> ProgressBar {
    if let Some(length) = length {
        let bar = progress_bar(what);
        bar.set_length(length);
        return bar;
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{prefix} {spinner} {msg}");
    bar.set_style(style.expect("the template is well formed"));
    bar.set_prefix(what);
    bar
}

/// Who looks on, at a terminal or not.
struct Screen {
    bar: ProgressBar,
    /// Whether failures are told as they come.
    tells: bool,
    told: usize,
    stops: Box<dyn FnMut() -> bool>,
}

impl Watcher for Screen {
    fn moved(&mut self, report: &Report, bytes_read: u64) {
        self.bar.set_position(bytes_read);
        let rate = report.confirmed as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        let failed = match report.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        self.bar.set_message(format!("{} confirmed, {rate:.0}/s{failed}", report.confirmed));
    }

    fn failed(&mut self, failure: &LineFailure) {
        if !self.tells || self.told > import::MAX_LISTED {
            return;
        }
        self.told += 1;
        let LineFailure { line, reason, message } = failure;
        self.bar.suspend(|| match self.told {
            told if told > import::MAX_LISTED => eprintln!("graven: more lines fail"),
            _ => eprintln!("graven: line {line}: {reason}: {message}"),
        });
    }

    fn stops(&mut self) -> bool {
        (self.stops)()
    }
}

fn summary(report: &Report) -> String {
    let Report { confirmed, transactions, failed, under_way, next_line, seconds, .. } = report;
    let (lines, sent) = (count(*confirmed, "line"), count(*transactions, "transaction"));
    let rate = report.rate();
    let mut text =
        format!("{lines} confirmed in {sent}, {failed} failed, {seconds:.1} s, {rate:.0} a second");
    if *under_way > 0 {
        let lines = count(*under_way, "line");
        text += &format!("\n{lines} with the node may still be confirmed");
    }
    if let Some(line) = next_line {
        text += &format!("\nevery line before {line} is done: go on with --from {line}");
    }
    text
}

fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads page after page, and holds one at a time.
pub(super) fn export(global: &Global, args: &ExportArgs) -> Result<(), TerminalError> {
    let mut client = Client::open(global)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let bar =
        if io::stdout().is_terminal() { ProgressBar::hidden() } else { bar("exporting", None) };
    let (mut after, mut count): (Option<Vec<u8>>, u64) = (None, 0);
    loop {
        let line = Line::new("SCAN")
            .typed(&args.prefix)
            .option("LIMIT", Some(PAGE))
            .option("AFTER", after.as_deref().map(words::encode));
        let page = client.request(&line)?;
        for found in page["keys"].as_array().into_iter().flatten() {
            let mut row = Map::new();
            for name in ["key", "value"] {
                put_bytes(&mut row, name, &get_bytes(found, name).unwrap_or_default());
            }
            writeln!(out, "{}", Value::Object(row)).map_err(stdout_error)?;
            count += 1;
        }
        bar.set_message(format!("{count} keys"));
        bar.tick();
        after = get_bytes(&page, "next");
        if after.is_none() {
            bar.finish_and_clear();
            return out.flush().map_err(stdout_error);
        }
    }
}
