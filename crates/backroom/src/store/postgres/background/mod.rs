//! Tasks of a store that run beside its verbs: batching writes, notifying, listening, measuring the clock, and vacuum.

pub(crate) mod batcher;
pub(crate) mod claims;
pub(crate) mod hints;
pub(crate) mod vacuum;
pub(crate) mod watch;
