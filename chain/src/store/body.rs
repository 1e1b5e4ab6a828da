//! What a store has of a block's body. Header, state and proofs of a block of the main chain stay
//! when its body is gone.

/// What there is of a block's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Its bytes.
    Here(Vec<u8>),
    /// Its record in the log is damaged, which nobody has noted yet:
    /// [`Store::lose_body`](super::Store::lose_body) does.
    Damaged(Damage),
    /// It belongs to a block of the main chain and is not here: to be fetched from peers.
    Missing,
    /// It belongs to a block of the main chain and was removed, because it lies deep.
    Pruned,
    /// No such block is stored.
    Unknown,
}

impl Body {
    /// Its bytes, if they are here.
    pub fn here(self) -> Option<Vec<u8>> {
        match self {
            Body::Here(bytes) => Some(bytes),
            Body::Damaged(_) | Body::Missing | Body::Pruned | Body::Unknown => None,
        }
    }
}

/// What is wrong with a record of the block log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged at offset {offset} of blocks.log: {what}")]
pub struct Damage {
    /// Where the record begins.
    pub offset: u64,
    /// What is wrong with it.
    pub what: String,
}

/// What bodies take, and which are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Height up to which bodies and undo of the main chain were removed; 0 = none were.
    pub pruned: u32,
    /// Bodies of the main chain that are to be fetched, as the ledger says.
    pub missing: usize,
    /// Bytes of the disk that the block log takes.
    pub log_bytes: u64,
}
