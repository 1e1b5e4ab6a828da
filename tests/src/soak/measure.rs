//! What a node takes of the machine, from `/proc`.

use std::fmt;
use std::path::PathBuf;

use crate::node::Node;

/// Most memory of a node, in kB: twice what nodes had after ten minutes.
const MAX_RSS_KB: u64 = 64 * 1024;
/// Most threads of a node, besides one for each core.
const MAX_OTHER_THREADS: usize = 12;
/// Most open files that are no sockets.
const MAX_FILES: usize = 48;
/// Sockets at rest that are no peers: two ports, a client, and connections that come or go.
const MAX_OTHER_SOCKETS: usize = 12;

/// What one node takes now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    rss_kb: u64,
    threads: usize,
    files: usize,
    sockets: usize,
}

/// The largest values of any node at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Memory that is in use (`VmRSS`), in kB.
    pub rss_kb: u64,
    /// Threads.
    pub threads: usize,
    /// Open files that are no sockets.
    pub files: usize,
    /// Sockets.
    pub sockets: usize,
}

impl fmt::Display for Peaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peaks { rss_kb, threads, files, sockets } = self;
        writeln!(f, "{:>8.1}  MB of memory at most (VmRSS of a node)", *rss_kb as f64 / 1024.0)?;
        writeln!(f, "{threads:>8}  threads at most")?;
        writeln!(f, "{files:>8}  open files at most")?;
        writeln!(f, "{sockets:>8}  sockets at most")
    }
}

impl Peaks {
    /// Takes a look at a node.
    ///
    /// # Errors
    /// When it takes more than it may.
    pub(super) fn look_at(&mut self, node: &Node) -> Result<Usage, String> {
        let usage = Usage::of(node)?;
        self.rss_kb = self.rss_kb.max(usage.rss_kb);
        self.threads = self.threads.max(usage.threads);
        self.files = self.files.max(usage.files);
        self.sockets = self.sockets.max(usage.sockets);
        let Usage { rss_kb, threads, files, .. } = usage;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let most_threads = MAX_OTHER_THREADS + cores;
        if rss_kb > MAX_RSS_KB || threads > most_threads || files > MAX_FILES {
            return Err(format!("{} takes too much: {usage:?}", node.setup.data.display()));
        }
        Ok(usage)
    }
}

impl Usage {
    fn of(node: &Node) -> Result<Usage, String> {
        let folder = PathBuf::from(format!("/proc/{}", node.pid()));
        let gone = |error: std::io::Error| format!("{}: {error}", node.setup.data.display());
        let status = std::fs::read_to_string(folder.join("status")).map_err(gone)?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let links = std::fs::read_dir(folder.join("fd")).map_err(gone)?;
        // One that is closed meanwhile is none.
        let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let (sockets, files): (Vec<PathBuf>, Vec<PathBuf>) =
            links.partition(|link| link.to_string_lossy().starts_with("socket:"));
        let missing = || format!("{} has ended", node.setup.data.display());
        Ok(Usage {
            rss_kb: field("VmRSS:").ok_or_else(missing)?,
            threads: usize::try_from(field("Threads:").ok_or_else(missing)?).unwrap_or(usize::MAX),
            files: files.len(),
            sockets: sockets.len(),
        })
    }

    /// Asserts that this is no more than a node needs that rests and has so many peers.
    ///
    /// # Errors
    /// When it is more.
    pub(super) fn check_rest(&self, peers: usize) -> Result<(), String> {
        let others = self.sockets.saturating_sub(peers);
        let rests = others <= MAX_OTHER_SOCKETS;
        rests.then_some(()).ok_or_else(|| format!("{others} sockets that are no peers"))
    }

    /// Asserts that a node has not grown since an earlier look.
    ///
    /// # Errors
    /// When it has more threads or open files.
    pub(super) fn check_growth(&self, earlier: &Usage) -> Result<(), String> {
        // The store opens a file now and then.
        let grown = self.threads > earlier.threads || self.files > earlier.files + 4;
        (!grown).then_some(()).ok_or_else(|| format!("it grew from {earlier:?} to {self:?}"))
    }
}
