//! What is expected, by hand: one line per situation and event. Never copy a line from what the code answers;
//! change it because the design changed.

mod finished;
mod queued;
mod running;
mod tied;
mod waiting;

/// A situation, and for every event what follows: the new state and every effect, as the page's legend names them.
pub(crate) type Row = (&'static str, &'static [(&'static str, &'static str)]);

/// The whole table, in the order of `common::starts`.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    [queued::QUEUED, running::RUNNING, waiting::WAITING, finished::FINISHED, tied::TIED].into_iter().flatten()
}
