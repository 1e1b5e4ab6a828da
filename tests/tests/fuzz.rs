//! Everything that reads bytes from outside, given bytes that nobody sane would send.
//!
//! Each target is a test: the inputs kept in `fuzz/__fuzz__/TARGET/`, then random ones for two
//! seconds (docs/reliability.md says how to run it for longer). What a target promises is in its
//! module: nothing panics, what decodes encodes to the same, limits hold, and no input makes it
//! allocate more than the target's [`Memory`](fuzz::target::Memory) says.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod fuzz {
    mod books;
    mod compact;
    mod config;
    mod corpus;
    mod draw;
    mod frames;
    mod headers;
    mod lines;
    mod log;
    mod messages;
    mod miners;
    mod node;
    mod payloads;
    mod protocol;
    mod requests;
    mod rows;
    mod sessions;
    mod target;
    mod tests;
    mod world;
}
