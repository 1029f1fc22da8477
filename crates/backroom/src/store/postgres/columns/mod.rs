//! Between values and columns: one row that was read ([`row`]), and many rows as parameters, one array per column.

pub(crate) mod attempts;
pub(crate) mod changes;
pub(crate) mod jobs;
pub(crate) mod messages;
pub(crate) mod row;
pub(crate) mod successes;
pub(crate) mod table;
pub(crate) mod timestamp;
