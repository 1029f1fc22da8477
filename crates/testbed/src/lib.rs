//! Servers to throw away: made from the programs on this machine in a temporary folder, started on a port of
//! their own, crashed, copied and promoted as a test likes, and gone afterwards, whatever becomes of the program.
//!
//! It never touches a server that is already here. [`Place`] is the folder, [`Server`] the life of one PostgreSQL server in it, [`Broker`]
//! that of one message broker, [`Emulator`] that of a service of a cloud. [`Proxy`] cuts connections.

#![cfg(unix)]

mod account;
mod broker;
mod emulators;
mod failure;
mod keeper;
mod patience;
mod place;
mod proxy;
mod server;

pub use account::Account;
pub use broker::{Broker, BrokerKind};
pub use emulators::{AZURITE_ACCOUNT, AZURITE_KEY, EMULATORS_VARIABLE, Emulator, emulators};
pub use failure::Failure;
pub use patience::wait_until;
pub use place::Place;
pub use proxy::Proxy;
pub use server::{Login, Server};
