//! What the integration tests share: real nodes as processes, chains made by hand, naive models.

pub mod chains;
pub mod model;
pub mod node;
