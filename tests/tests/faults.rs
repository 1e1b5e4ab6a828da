//! Real nodes on lines that go wrong: docs/reliability.md, "Real sockets".

mod faults {
    mod cuts;
    mod garble;
    mod half_open;
    mod namespaces;
    mod slow;
    mod support;
    mod sync;
}
