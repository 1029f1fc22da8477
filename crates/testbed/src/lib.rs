//! A PostgreSQL server to throw away: made from the programs on this machine in a temporary folder, started on a port of
//! its own, crashed, copied and promoted as a test likes, and gone afterwards, whatever becomes of the program.
//!
//! It never touches a server that is already here. [`Place`] is the folder, [`Server`] one server's life in it.

#![cfg(unix)]

mod account;
mod failure;
mod keeper;
mod patience;
mod place;
mod server;

pub use account::Account;
pub use failure::Failure;
pub use patience::wait_until;
pub use place::Place;
pub use server::{Login, Server};
