//! A light client, a real node, and nodes that lie to it: whatever they say, no lie is proven.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod light {
    pub(crate) mod headers;
    pub(crate) mod liar;
    pub(crate) mod proofs;
}
