//! What a light client is told: `headers`, `prove`, `verify`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Headers without a node of one's own
#[derive(Debug, Subcommand)]
pub enum HeadersCommand {
    /// Write a file with all headers of a node, checked
    Export {
        /// The node's admin port, host:port [default: as for other commands]
        #[arg(long, value_name = "NODE")]
        from: Option<String>,
        /// The new file; one that is there is replaced
        file: PathBuf,
    },
    /// Take over the headers of such a file, if they have more work
    Import {
        /// The file to read
        from: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        own: HeaderFileArgs,
    },
    /// Ask nodes for headers and keep the chain with the most work, until interrupted
    Follow {
        /// The admin port of a node to ask, host:port (repeatable) [default: as for other commands]
        #[arg(long = "node", value_name = "NODE")]
        nodes: Vec<String>,
        /// Ask each of them once
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        own: HeaderFileArgs,
    },
    /// Say how far the headers go
    #[command(visible_alias = "status")]
    Show(HeaderFileArgs),
}

/// The light client's own headers
#[derive(Args, Clone, Debug)]
pub struct HeaderFileArgs {
    /// The light client's own file [default: headers.light in the data folder]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}
