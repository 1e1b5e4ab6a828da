//! What may be typed after `import` and `export`.

use std::path::PathBuf;

use clap::Args;

use crate::import::rows::Format;

/// Writes the operations of a file: many to a transaction, several transactions at a time
///
/// The file has an operation a line. As JSON, {"key":..,"value":..}, {"key":..,"delete":true},
/// with key_base64 and value_base64 for other bytes, and if wanted "if_version":n,
/// "if_absent":true, "policy":"owned" or "open". As TSV, a key, a tab and a value, in both of
/// which \t, \n, \r and \\ stand for tab, line feed, carriage return and backslash.
///
/// A line that fails keeps no other one from being written. Exit codes: 0 all are written, 1 some
/// are not or it ended early, 2 wrong usage, 4 nothing was confirmed for too long.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// The file ('-' = standard input)
    pub file: PathBuf,
    /// What its lines look like [default: as its name ends, .jsonl or .tsv; of standard input
    /// jsonl]
    #[arg(long)]
    pub format: Option<Format>,
    /// Blocks that must have a line's transaction, or come after it
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub wait: u32,
    /// Give up when nothing was confirmed for so many seconds (exit code 4)
    #[arg(long, value_name = "S", default_value_t = 600)]
    pub timeout: u64,
    /// Most operations in a transaction [default: as many as the network allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub operations: Option<u32>,
    /// Begin at this line, where a report says that an import ended early
    #[arg(
        long,
        value_name = "LINE",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub from: u64,
}

/// Prints keys and their latest values as lines that import reads
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// What the keys start with ('' = all)
    #[arg(default_value = "")]
    pub prefix: String,
}
