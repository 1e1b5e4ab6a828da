//! What the integration tests share: real nodes as processes, chains made by hand, naive models,
//! and the simulator of the whole system.

pub mod chains;
pub mod model;
pub mod node;
pub mod sim;
