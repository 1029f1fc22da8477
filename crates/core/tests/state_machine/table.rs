//! What is expected, by hand: one line per situation and event. Never copy a line from what the code answers;
//! change it because the design changed.

mod finished;
mod live;

/// A situation, and for every event what follows: the new state and every effect, in the words of the page's legend.
pub(crate) type Row = (&'static str, &'static [(&'static str, &'static str)]);

/// The whole table, in the order of `common::starts`.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    live::LIVE.iter().chain(finished::FINISHED)
}
