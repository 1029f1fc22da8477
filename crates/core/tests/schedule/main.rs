//! Schedules: their occurrences, their policies, their texts.

mod common;
mod cron;
mod definition;
mod describe;
mod plan;
mod rrule;
mod zone;
