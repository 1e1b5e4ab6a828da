//! The Redis protocol, RESP2 and RESP3: requests out of bytes, replies into bytes, and what the
//! commands about keys mean. No IO and no clock; `admin/redis.rs` serves connections with it.

pub mod data;
pub mod glob;
pub mod inline;
pub mod latest;
pub mod parser;
pub mod reply;
pub mod table;

/// The version of Redis that clients are told: its commands are followed where they are offered.
pub const REDIS_VERSION: &str = "7.2.0";

/// Most keys one command may name.
pub const MAX_KEYS: usize = 1024;

/// Most bytes of values in a reply, those of `EXEC` together.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;
