//! Tests.

pub mod node;
