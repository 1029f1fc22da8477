//! What the clock starts: schedules, and the arithmetic of their occurrences.
//!
//! A [`Schedule`] says when ([`Spec`]), in which zone, with which [`Policies`], and which job. A [`Timetable`] answers which
//! occurrences there are. [`plan`](plan::plan) decides at a moment what fires, what is skipped and why, and when to decide
//! again. Nothing here reads a clock or draws a random number. Zones come from the system's database, or from the copy that
//! the program was built with.

pub mod calendar;
pub mod cron;
mod definition;
mod describe;
pub mod ended;
pub mod every;
mod identity;
pub mod jitter;
pub mod mark;
mod mistake;
pub mod notice;
pub mod plan;
pub mod policy;
mod rate;
mod record;
pub mod rrule;
mod spec;
pub mod state;
mod stored;
pub mod template;
mod times;
mod timetable;
pub mod turn;
pub mod zone;

pub use definition::{BYTES_MAX, Schedule, ScheduledJob, ZONE_DEFAULT};
pub use describe::{PREVIEW_MAX, Preview};
pub use identity::{Became, Occurrence, RunReport};
pub use mistake::Mistake;
pub use policy::Policies;
pub use rate::{FREQUENT_GAP, Rate};
pub use record::{EndOfRun, Entry, HISTORY_MAX, KEY_RETAINED, Origin, ScheduleRow, What};
pub use spec::Spec;
pub use state::State;
pub use stored::VERSION;
pub use timetable::{SPECS_MAX, Timetable};
