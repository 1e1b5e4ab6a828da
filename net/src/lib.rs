//! How peers talk: wire format, sans-IO protocol and the one event loop.
//!
//! Three layers, each of which knows only those before it:
//!
//! - [`wire`]: bytes <-> messages, encrypted; no IO, no clock.
//! - [`protocol`]: what to say to whom. [`Protocol`] is a state machine: [`Protocol::handle`] takes
//!   the time and an [`Input`], [`Protocol::poll`] gives [`Output`]s until there are none,
//!   [`Protocol::wake_at`] says when time alone will matter. No IO, no clock; randomness comes
//!   from the seed given at the start.
//! - [`reactor`]: sockets and the clock. [`Reactor`] drives the protocol, and any number of
//!   line servers ([`Service`]), from one thread. What is to be verified or looked up leaves it
//!   through a [`Pipeline`], which also brings the answers.
//!
//! ```text
//! peers <-> Reactor { Session per peer } <-> Protocol -> Output::Work -> Pipeline::send
//!                                               ^                            |
//!                                               +---- Input <- Pipeline::receive
//! ```
//!
//! Assembly, in the order of a program that starts:
//!
//! 1. [`Identity::from_secret`] makes the node's key of 32 secret random bytes.
//! 2. [`Reactor::bind`] opens the peers' listener; [`Reactor::add_service`] opens others.
//! 3. [`AddressBook::decode`] reads the saved book, or [`AddressBook::new`] makes one.
//! 4. [`Protocol::new`] takes a [`Config`], the book and a seed.
//! 5. [`Reactor::run`] runs until [`Pipeline::stopping`]; other threads that have put something
//!    into the pipeline or a service call [`ReactorWaker::wake`].

pub mod protocol;
pub mod reactor;
pub mod wire;

pub use protocol::{
    AddressBook, Ban, BookError, Config, Direction, Group, Input, MAX_BANS, Millis, Output,
    PeerInfo, PeerState, Protocol, Reason, Served, Subnet, SubnetError, Timing, Work,
};
pub use reactor::{
    ClientId, Pipeline, Reactor, ReactorConfig, ReactorWaker, Service, ServiceLimits, ServiceOutput,
};
pub use wire::{Identity, Message, NodeId, PROTOCOL_VERSION};
