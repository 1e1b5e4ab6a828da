//! The `graven` binary.
fn main() {}
