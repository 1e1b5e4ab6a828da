//! What the integration tests share: real nodes and miners as processes, chains made by hand,
//! naive models, lines and hosts that go wrong, and the simulator of the whole system.

pub mod broadcast;
pub mod chains;
pub mod headers;
pub mod miner;
pub mod model;
pub mod netns;
pub mod node;
pub mod proxy;
pub mod replay;
pub mod sim;
pub mod soak;
