//! The verbs of [`Store`](crate::store::Store): one file per verb, or per few verbs that read or write the same rows.

mod access;
pub(crate) mod claim;
pub(crate) mod commit;
pub(crate) mod effects;
pub(crate) mod endpoints;
pub(crate) mod frontier;
pub(crate) mod health;
pub(crate) mod held;
pub(crate) mod import;
pub(crate) mod insert;
pub(crate) mod journals;
pub(crate) mod links;
pub(crate) mod note;
pub(crate) mod queues;
pub(crate) mod read;
pub(crate) mod replies;
mod samples;
pub(crate) mod schedules;
pub(crate) mod stats;
mod triggers;
pub(crate) mod upkeep;
pub(crate) mod workers;
