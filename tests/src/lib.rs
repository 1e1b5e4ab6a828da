//! What the integration tests share: real nodes and miners as processes, chains made by hand,
//! naive models.

pub mod chains;
pub mod miner;
pub mod model;
pub mod node;
