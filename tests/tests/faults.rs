//! Real nodes on lines that go wrong: docs/reliability.md, "Real sockets".

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod faults {
    mod cuts;
    mod garble;
    mod half_open;
    mod namespaces;
    mod slow;
    mod support;
    mod sync;
}
