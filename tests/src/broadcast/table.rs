//! Measurements as lines of a table, which is what is kept of them.

use std::fmt;
use std::str::FromStr;

use super::{How, Load, Outcome, Question};

/// The shares of nodes, in a hundred, whose times are kept.
pub const PERCENTS: [usize; 10] = [5, 10, 25, 50, 75, 90, 95, 98, 99, 100];

/// The names of a row's columns.
pub const COLUMNS: &str = "\
    load,way,nodes,payloads,payload_bytes,transaction_bytes,known_percent,trouble,\
    slow_lines,slow_start,entries,seed,counted,reached,bytes_mean,bytes_median,bytes_max,\
    line_bytes_mean,missing_mean,over_bound,copies_mean,ms_5,ms_10,ms_25,ms_50,ms_75,\
    ms_90,ms_95,ms_98,ms_99,ms_100";

/// One measurement. Bytes are those that came in at one node for one payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `block` or `transactions`.
    pub load: String,
    /// How it travelled.
    pub way: String,
    /// How many nodes there were.
    pub nodes: usize,
    /// How many payloads were sent.
    pub payloads: usize,
    /// Bytes of one.
    pub payload_bytes: usize,
    /// Bytes of a transaction of a block.
    pub transaction_bytes: usize,
    /// Transactions of a hundred that a node had.
    pub known_percent: u32,
    /// What went wrong.
    pub trouble: String,
    /// Lines of a hundred that were slow.
    pub slow_lines: u32,
    /// Whether TCP's slow start was simulated.
    pub slow_start: bool,
    /// Of so many nodes each knew three from the start.
    pub entries: usize,
    /// The seed.
    pub seed: u64,
    /// Nodes that count: honest and up.
    pub counted: usize,
    /// The share of them, over all payloads, that was reached.
    pub reached: f64,
    /// Of frames, the mean over nodes.
    pub bytes_mean: f64,
    /// The median over nodes.
    pub bytes_median: f64,
    /// The node with most.
    pub bytes_max: f64,
    /// With Noise, TCP and IP, the mean over nodes.
    pub line_bytes_mean: f64,
    /// Of the transactions of the block that a node lacked.
    pub missing_mean: f64,
    /// Nodes that got more bytes than promised.
    pub over_bound: usize,
    /// Payloads that came in for each that was needed.
    pub copies_mean: f64,
    /// When it was at so many nodes of a hundred, by [`PERCENTS`]; the median over payloads.
    pub times_ms: Vec<Option<u64>>,
}

/// How a load travels, as tables name it.
fn way(how: How, load: Load) -> String {
    match load {
        Load::Block { whole: false, .. } if how != How::Graven => format!("{}-compact", how.name()),
        _ => how.name().to_string(),
    }
}

impl Row {
    /// What a measurement came to.
    pub fn new(question: &Question, how: How, outcome: &Outcome) -> Row {
        let payloads = outcome.spreads.len();
        let each = |bytes: f64| bytes / payloads as f64;
        let mut bytes: Vec<u64> = outcome.costs.iter().map(|cost| cost.bytes).collect();
        bytes.sort_unstable();
        let (payload_bytes, transaction_bytes, known_percent) = match question.load {
            Load::Block { bytes, transaction_bytes, known_percent, .. } => {
                (bytes, transaction_bytes, known_percent)
            }
            Load::Transactions { bytes, .. } => (bytes, bytes, 0),
        };
        let is_block = matches!(question.load, Load::Block { .. });
        // Who sent a payload first did not need it.
        let needed = outcome.spreads.iter().map(|spread| spread.times_ms.len().saturating_sub(1));
        let copies: u64 = outcome.costs.iter().map(|cost| cost.copies).sum();
        Row {
            load: if is_block { "block" } else { "transactions" }.to_string(),
            way: way(how, question.load),
            nodes: question.nodes,
            payloads,
            payload_bytes,
            transaction_bytes,
            known_percent,
            trouble: question.trouble.to_string(),
            slow_lines: question.slow_lines,
            slow_start: question.slow_start,
            entries: question.entries,
            seed: question.seed,
            counted: outcome.spreads.first().map_or(0, |spread| spread.wanted),
            reached: outcome.reached(),
            bytes_mean: each(outcome.mean(|cost| cost.bytes)),
            bytes_median: each(bytes[bytes.len() / 2] as f64),
            bytes_max: each(bytes[bytes.len() - 1] as f64),
            line_bytes_mean: each(outcome.mean(|cost| cost.line_bytes)),
            missing_mean: outcome.mean(|cost| cost.missing),
            over_bound: if is_block { outcome.over_bound() } else { 0 },
            copies_mean: copies as f64 / needed.sum::<usize>() as f64,
            times_ms: PERCENTS.map(|percent| outcome.time_ms(percent)).to_vec(),
        }
    }

    /// When so many of a hundred nodes had it.
    pub fn time_ms(&self, percent: usize) -> Option<u64> {
        let at = PERCENTS.iter().position(|known| *known == percent)?;
        self.times_ms.get(at).copied().flatten()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { load, way, nodes, payloads, payload_bytes, transaction_bytes, .. } = self;
        write!(f, "{load},{way},{nodes},{payloads},{payload_bytes},{transaction_bytes},")?;
        let Row { known_percent, trouble, slow_lines, slow_start, entries, seed, .. } = self;
        write!(f, "{known_percent},{trouble},{slow_lines},{slow_start},{entries},{seed},")?;
        let Row { counted, reached, .. } = self;
        write!(f, "{counted},{reached:.5},")?;
        let Row { bytes_mean, bytes_median, bytes_max, line_bytes_mean, .. } = self;
        write!(f, "{bytes_mean:.1},{bytes_median:.1},{bytes_max:.1},{line_bytes_mean:.1},")?;
        let Row { missing_mean, over_bound, copies_mean, .. } = self;
        write!(f, "{missing_mean:.1},{over_bound},{copies_mean:.4}")?;
        self.times_ms.iter().try_for_each(|time| match time {
            Some(time) => write!(f, ",{time}"),
            None => write!(f, ","),
        })
    }
}

impl FromStr for Row {
    type Err = String;

    /// What [`Display`](fmt::Display) has written.
    fn from_str(line: &str) -> Result<Row, String> {
        fn field<T: FromStr>(fields: &mut std::str::Split<'_, char>) -> Result<T, String> {
            let text = fields.next().ok_or("too few columns")?;
            text.parse().map_err(|_| format!("{text:?} is not what belongs there"))
        }
        let fields = &mut line.split(',');
        let mut row = Row {
            load: field(fields)?,
            way: field(fields)?,
            nodes: field(fields)?,
            payloads: field(fields)?,
            payload_bytes: field(fields)?,
            transaction_bytes: field(fields)?,
            known_percent: field(fields)?,
            trouble: field(fields)?,
            slow_lines: field(fields)?,
            slow_start: field(fields)?,
            entries: field(fields)?,
            seed: field(fields)?,
            counted: field(fields)?,
            reached: field(fields)?,
            bytes_mean: field(fields)?,
            bytes_median: field(fields)?,
            bytes_max: field(fields)?,
            line_bytes_mean: field(fields)?,
            missing_mean: field(fields)?,
            over_bound: field(fields)?,
            copies_mean: field(fields)?,
            times_ms: Vec::new(),
        };
        row.times_ms = fields.map(|text| text.parse().ok()).collect();
        (row.times_ms.len() == PERCENTS.len()).then_some(row).ok_or("too few times".to_string())
    }
}

/// The rows of a table; lines that begin with `#`, and the names of columns, are left out.
///
/// # Errors
/// The first line that is no row.
pub fn parse(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && *line != COLUMNS);
    lines.map(|line| line.parse().map_err(|error| format!("{error}: {line}"))).collect()
}

/// The median of something over rows, and its least and most; `None` where some row lacks it.
pub fn median_of(rows: &[&Row], of: impl Fn(&Row) -> Option<f64>) -> Option<(f64, f64, f64)> {
    let mut values = rows.iter().map(|row| of(row)).collect::<Option<Vec<f64>>>()?;
    values.sort_by(f64::total_cmp);
    Some((*values.get(values.len() / 2)?, *values.first()?, *values.last()?))
}

#[cfg(test)]
mod tests {
    use super::super::{Cost, Spread, Trouble};
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let load =
            Load::Block { bytes: 1000, transaction_bytes: 250, known_percent: 95, whole: false };
        let trouble = Trouble::Crash(30);
        let question = Question {
            seed: 7,
            nodes: 4,
            load,
            trouble,
            slow_lines: 10,
            slow_start: true,
            entries: 3,
        };
        let spread = Spread { times_ms: vec![0, 120, 250], wanted: 4 };
        let cost = |bytes| Cost { bytes, copies: 1, missing: 50, ..Cost::default() };
        let costs = vec![cost(200), cost(300), cost(26_000)];
        let row = Row::new(&question, How::Graven, &Outcome { spreads: vec![spread], costs });
        assert_eq!((row.over_bound, row.copies_mean, row.reached), (1, 1.5, 0.75));
        assert_eq!(
            (row.time_ms(50), row.time_ms(75), row.time_ms(100)),
            (Some(120), Some(250), None)
        );
        let text = format!("# a comment\n{COLUMNS}\n{row}\n");
        let back = parse(&text).unwrap().remove(0);
        assert_eq!(back.to_string(), row.to_string());
        assert_eq!(COLUMNS.split(',').count(), row.to_string().split(',').count());
        assert!("block,graven,4".parse::<Row>().is_err());
    }
}
