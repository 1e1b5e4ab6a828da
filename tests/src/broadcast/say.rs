//! What nodes say to each other in the other ways, and how long it is.

use super::Role;
use super::plumtree::Timer;

/// A frame's length and tag.
pub(super) const HEAD_BYTES: usize = 5;
const HASH_BYTES: usize = 32;
pub(super) const SHORT_ID_BYTES: usize = 6;
/// Header, salt and coinbase of a block, about.
pub(super) const BLOCK_HEAD_BYTES: usize = 200;

/// Names a payload, in the order of sending.
pub(super) type Id = u32;

/// What nodes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// A payload, and how many nodes it has passed.
    Payload(Id, u8),
    /// What is missing of it is wanted.
    Fetch(Id),
    /// What was missing.
    Rest(Id),
    /// The sender has payloads, which have passed so many nodes.
    Have(Vec<(Id, u8)>),
    /// Send me payloads from now on, this one too.
    Graft(Option<Id>),
    /// Send me payloads no more.
    Prune,
}

/// What a way wants done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Say(usize, Say),
    Wake(u64, Timer),
}

impl Say {
    /// Its name in tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Say::Payload(..) => "payload",
            Say::Fetch(_) => "fetch",
            Say::Rest(_) => "rest",
            Say::Have(_) => "have",
            Say::Graft(_) => "graft",
            Say::Prune => "prune",
        }
    }

    /// The bytes of its frame. A payload takes `form`, whole or in compact form; of a block in
    /// compact form, who receives it lacks so many transactions of so many bytes.
    pub(super) fn frame_bytes(&self, form: usize, lacks: usize, missing: usize) -> usize {
        match self {
            Say::Payload(..) => form,
            // A gap takes a byte, mostly; a transaction two more than its own.
            Say::Fetch(_) => HEAD_BYTES + HASH_BYTES + lacks,
            Say::Rest(_) => HEAD_BYTES + HASH_BYTES + missing + 2 * lacks,
            Say::Have(list) => HEAD_BYTES + 1 + list.len() * (HASH_BYTES + 1),
            Say::Graft(id) => HEAD_BYTES + id.map_or(0, |_| HASH_BYTES + 1),
            Say::Prune => HEAD_BYTES,
        }
    }

    /// Whether a node in this role keeps it to itself.
    pub(super) fn is_withheld(&self, role: Role, is_compact: bool) -> bool {
        let is_body = match self {
            Say::Payload(..) => !is_compact,
            Say::Rest(_) => true,
            _ => false,
        };
        match role {
            Role::Honest => false,
            Role::Silent => is_body || matches!(self, Say::Payload(..)),
            Role::Halting => is_body,
            Role::Mute => true,
            Role::Pruning => *self != Say::Prune,
        }
    }
}
