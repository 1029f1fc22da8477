//! Ten thousand random schedules beside other implementations. Each difference is one of the kinds that `docs/schedules.md`
//! explains; any other fails the test.

mod chance;
mod cron;
mod cron_cases;
mod python;
mod rule;
