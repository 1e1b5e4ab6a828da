//! Tests.

pub mod chains;
pub mod model;
pub mod node;
