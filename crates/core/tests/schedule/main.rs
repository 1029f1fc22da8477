//! Schedules: their occurrences, their policies, their texts.

mod common;
mod cron;
mod describe;
