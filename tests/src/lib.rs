//! What the integration tests share: real nodes and miners as processes, chains made by hand,
//! naive models, and the simulator of the whole system.

pub mod broadcast;
pub mod chains;
pub mod miner;
pub mod model;
pub mod node;
pub mod sim;
