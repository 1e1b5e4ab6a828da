//! Which cores the workers run on.

use std::io;

/// Where the operating system may run the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// On any core, moved as it likes.
    #[default]
    AnyCore,
    /// Worker `i` on the `i`-th core that the process may run on, beginning again after the last.
    /// On Linux only.
    OneCoreEach,
}

/// The cores that the process may run on, in order.
#[cfg(target_os = "linux")]
pub(super) fn cores() -> io::Result<Vec<usize>> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps the calling thread on one core.
#[cfg(target_os = "linux")]
pub(super) fn keep_on(core: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Not known how.
#[cfg(not(target_os = "linux"))]
pub(super) fn cores() -> io::Result<Vec<usize>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads are pinned on Linux only"))
}

/// Not known how.
#[cfg(not(target_os = "linux"))]
pub(super) fn keep_on(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
