//! How many files and sockets the process may have open.

/// Raises the limit as far as the system allows. Many systems start programs with 1024, for the
/// sake of old ones; a node under a flood of connections can need more. When it cannot be raised
/// the node takes fewer connections: a listener without descriptors rests and tries again.
#[cfg(unix)]
pub fn allow_many() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(target: "node", %error, ?limit, "the limit of open files stays as it is");
    }
}

/// There is no such limit that is known here.
#[cfg(not(unix))]
pub fn allow_many() {}
