//! What goes into a session and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use crate::job::{Job, Solution};

/// What a session is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A new connection to the server is open.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// The server sent a line, here without its end.
    Line(Vec<u8>),
    /// The search found this.
    Found(Solution),
    /// Time has passed.
    Tick,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this line; its end is to be added.
    Send(String),
    /// Mine this job from now on, or nothing.
    Mine(Option<Arc<Job>>),
    /// What has become of a solution; there is one for each that was handed in.
    Share(Verdict),
    /// Something that a log should show.
    Event(Event),
    /// Close the connection. The session has forgotten it already.
    Failed(Failure),
}

/// What has become of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server took it.
    Accepted,
    /// It came too late for its job.
    Stale(Refusal),
    /// The server refused it for another reason.
    Rejected(Refusal),
    /// Nobody knows: it could not be sent, or there was no answer.
    Lost,
}

/// Why the server refused something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The server's error code, if it named one. Usual are 21 (job not found, stale), 22
    /// (duplicate), 23 (low difficulty), 24 (not authorised).
    pub code: Option<i64>,
    /// Its words, fit to be shown.
    pub message: String,
}

/// Something that a log should show. Text of the server's is fit to be shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server has taken the user; mining begins with its next job.
    Authorised,
    /// Version bits that may be rolled; `None` when the server agreed to none.
    VersionMask(Option<u32>),
    /// The difficulty of the jobs from the next on.
    Difficulty(f64),
    /// A job, which [`Output::Mine`] follows.
    Job {
        /// Its name at the server.
        id: String,
        /// How hard its shares are.
        difficulty: f64,
    },
    /// The server knows the job no more that was being mined: rest until the next.
    JobGone,
    /// The server wants this to be shown.
    Message(String),
    /// The server named another to connect to, which is ignored.
    ForeignReconnect(String),
}

/// Why a connection must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server does not take the user: to connect again is of no use.
    #[error("the server does not authorise this user: {0}")]
    NotAuthorised(String),
    /// The server does not take us as a miner.
    #[error("the server refuses to be subscribed to: {0}")]
    NotSubscribed(String),
    /// The server has no place for us, or the like.
    #[error("the server sends us away: {0}")]
    SentAway(String),
    /// The server broke the protocol.
    #[error("the server breaks the protocol: {0}")]
    Broken(&'static str),
    /// The server did not answer when a connection begins.
    #[error("the server did not let us begin within {} s", .0.as_secs())]
    NoBeginning(Duration),
    /// The server has said nothing for too long.
    #[error("the server has said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// The server asks for a new connection to itself.
    #[error("the server asks to connect again in {} s", .wait.as_secs())]
    Reconnect {
        /// How long to wait first.
        wait: Duration,
    },
}
