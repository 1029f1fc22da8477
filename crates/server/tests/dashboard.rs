//! The dashboard over real sockets: who may do what, attacks on it, and what its pages weigh. What a browser sees is in `browser.rs`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "browser/filled.rs"]
mod filled;
#[path = "dashboard/visitor.rs"]
mod visitor;

mod cli_support;
mod serve_support;

#[path = "dashboard/attacks.rs"]
mod attacks;
#[path = "dashboard/hidden.rs"]
mod hidden;
#[path = "dashboard/load.rs"]
mod load;
#[path = "dashboard/roles.rs"]
mod roles;
#[path = "dashboard/sessions.rs"]
mod sessions;
#[path = "dashboard/size.rs"]
mod size;
