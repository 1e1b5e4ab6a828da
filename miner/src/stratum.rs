//! Stratum v1, the protocol between miners and those who give them work: lines of JSON.
//!
//! The facts (order of bytes, tolerances, error codes) are those of the miners people run; the
//! source of each is named where it matters. Everything here is text and numbers: no socket, no
//! clock.

pub mod client;
pub mod difficulty;
pub mod server;
pub mod text;
