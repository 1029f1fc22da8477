//! The connections: addresses and options, TLS, settings of a session, statements, errors, and the database's time.
//!
//! Start reading at [`connection`]. Nothing here knows a table: statements come from the verbs.

pub(crate) mod alive;
pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod handshake;
pub(crate) mod home;
pub(crate) mod options;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod sql;
pub(crate) mod time;
pub(crate) mod tls;
