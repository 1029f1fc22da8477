//! What each command does: one file for each group of them.

pub(super) mod batch;
pub(super) mod beat;
pub(super) mod fetch;
pub(super) mod finish;
pub(super) mod flush;
pub(super) mod info;
pub(super) mod mutate;
pub(super) mod push;
pub(super) mod queues;
pub(super) mod track;
