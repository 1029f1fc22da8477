//! Between values and columns: one row that was read ([`row`]), and many rows as parameters, one array per column.

pub(crate) mod batch;
pub(crate) mod lives;
pub(crate) mod moment;
pub(crate) mod row;
pub(crate) mod successes;
