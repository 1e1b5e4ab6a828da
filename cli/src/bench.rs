//! The measurements behind `graven bench` that need a node: a real one, as a process of its own,
//! asked over TCP.

mod get;
mod keys;
mod limits;
mod mixed;
mod prove;
mod put;
mod scale;
mod sync;

use std::time::Instant;

use chain::store::StoreError;

use crate::child::ChildError;
use crate::client::ClientError;
use crate::node::NodeError;
pub use get::{GetArgs, GetReport, get};
pub use mixed::{Kind, MixedArgs, MixedReport, MixedRow, mixed};
pub use prove::{ProveArgs, ProveReport, prove};
pub use put::{PutArgs, PutReport, put};
pub use scale::{ScaleArgs, ScaleReport, ScaleRow, scale};
pub use sync::{SyncArgs, SyncReport, sync};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A flag makes no sense.
    #[error("{0}")]
    Usage(&'static str),
    /// The node cannot be started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The node cannot be asked, or says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A chain for it cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Likewise.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A file cannot be written.
    #[error("a temporary folder cannot be written: {0}")]
    Io(#[from] std::io::Error),
    /// A write did not end as it should.
    #[error("the node answered a write with {0}")]
    NotWritten(String),
    /// A value is not what was written.
    #[error("the node answered a read with another value: {0}")]
    Differs(String),
    /// A proof does not show what was written.
    #[error("a proof of the node shows nothing: {0}")]
    NotProven(String),
}

#[expect(clippy::disallowed_methods, reason = "speed can only be measured against the clock")]
fn now() -> Instant {
    Instant::now()
}
