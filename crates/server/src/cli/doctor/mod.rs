//! `backroom doctor`: is everything as it should be?
//!
//! The store checks itself ([`Health`]); this module adds what only shows in the jobs: clocks, dead workers, queues
//! that no worker serves. Each check is a function from what was read to a [`HealthCheck`]; one that cannot be made says so and
//! fails, and hides no other.

mod busy;
mod check;
mod clients;
mod clocks;
mod disk;
mod schedules;
mod stuck;
#[cfg(feature = "triggers")]
mod triggers;
mod unread;

use backroom::{Backroom, Error, Filter, Health, HealthCheck, Timestamp};
use clap::Args;
use serde::Serialize;

use self::{check::not_made, stuck::Work};
use crate::settings::Settings;
use crate::terminal::{Problem, out, visible, words};

/// Is everything as it should be?
///
/// Opens the store, looks through all of it (minutes for gigabytes), and looks for what is stuck: leases that ran
/// out, queues without workers, jobs due for long, slots that hung jobs hold. Ends with exit code 1 when a check fails, each with
/// a remedy; a check that cannot be made fails, too, and the others are made all the same. Nothing is written.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom doctor
  backroom doctor --json | jq '.checks[] | select(.ok | not)'

With --json: {\"ok\", \"version\", \"store\", \"engine\", \"schema\", \"durability\", \"bytes\",
\"checks\": [{\"name\", \"ok\", \"found\"}]}.")]
pub(crate) struct DoctorArgs {}

pub(crate) async fn run(_: DoctorArgs, settings: &Settings) -> Result<(), Problem> {
    let health = settings.with_store_to_read(async |backroom| Ok(examine(backroom, settings).await)).await?;
    let failed = health.checks.iter().filter(|check| !check.ok).count();
    if settings.json {
        let answer = Answer { ok: failed == 0, version: env!("CARGO_PKG_VERSION"), health: &health };
        out::json(&answer, settings.terminal)?;
        return if failed == 0 { Ok(()) } else { Err(Problem::Reported) };
    }
    out::text(&page(&health))?;
    match failed {
        0 => out::line("everything is as it should be"),
        _ => {
            let checks = words::count(failed as u64, "check");
            Err(Problem::new("find everything as it should be", &format_args!("{checks} failed")))
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    version: &'static str,
    #[serde(flatten)]
    health: &'a Health,
}

async fn examine(backroom: &Backroom, settings: &Settings) -> Health {
    let mut health = match backroom.health().await {
        Ok(health) => health,
        Err(error) => unknown(settings, &error),
    };
    let now = backroom.clock().now();
    health.checks.extend(settings.file().and_then(|file| disk::space(&file)));
    health.checks.extend(settings.file().and_then(|_| clients::shell()));
    health.checks.push(match backroom.list(Filter::default(), None, 1).await {
        Ok(newest) => clock(newest.jobs.first().map(|job| job.created_at), now),
        Err(error) => not_made("clock", &error),
    });
    match backroom.store().workers(Timestamp::MIN).await {
        Ok(workers) => health.checks.extend(clocks::checks(&workers, now)),
        Err(error) => health.checks.push(not_made("clocks of machines", &error)),
    }
    health.checks.extend(Work::read(backroom, now).await.checks(now));
    health.checks.push(busy::slots(backroom, now).await);
    health.checks.push(busy::longest(backroom, now).await);
    health.checks.push(busy::failing(backroom, now).await);
    #[cfg(feature = "triggers")]
    health.checks.extend(triggers::triggers(backroom, now).await);
    health.checks.push(schedules::schedules(backroom, now).await);
    health
}

/// What is known of a store that cannot look at itself.
fn unknown(settings: &Settings, error: &Error) -> Health {
    Health {
        store: settings.shown(),
        engine: "unknown".into(),
        schema: 0,
        // The lesser of the two promises.
        durability: backroom::Durability::Relaxed,
        bytes: None,
        checks: vec![not_made("store", error)],
    }
}

/// A check that could not be made.
/// The year this was written: no clock that is right tells an earlier time.
const EARLIEST: Timestamp = Timestamp::constant(1_735_689_600, 0);
/// How far clocks of different machines may differ without a fault.
const SKEW_SECS_MAX: u64 = 60;

/// Whether this machine's clock can be right: jobs are never created in the future.
fn clock(newest: Option<Timestamp>, now: Timestamp) -> HealthCheck {
    let ahead = newest.map_or(0, |newest| backroom::core::bounds::span_until(now, newest).as_secs());
    let (ok, found) = if now < EARLIEST {
        (false, format!("this machine says it is {now}; set its clock (NTP)"))
    } else if ahead > SKEW_SECS_MAX {
        let span = words::span(std::time::Duration::from_secs(ahead));
        let remedy = "compare the machines' clocks, and set them by NTP";
        (false, format!("the newest job was enqueued {span} ahead of this machine's clock; {remedy}"))
    } else {
        (true, "agrees with the jobs".into())
    };
    HealthCheck { name: "clock".into(), ok, found }
}

fn page(health: &Health) -> String {
    let durability = match health.durability {
        backroom::Durability::Full => "full (survives the loss of power)",
        backroom::Durability::Relaxed => "relaxed (power loss may take the last moments)",
    };
    let size = health.bytes.map_or("unknown".into(), words::bytes);
    let mut page = format!(
        "backroom {}\nstore       {}\nengine      {}\nschema      {}\ndurability  {durability}\nsize        {size}\n\n",
        env!("CARGO_PKG_VERSION"),
        visible::line(&health.store),
        health.engine,
        health.schema,
    );
    for check in &health.checks {
        let mark = if check.ok { "ok  " } else { "FAIL" };
        page += &format!("{mark}  {}: {}\n", visible::line(&check.name), visible::line(&check.found));
    }
    page + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).expect("a moment")
    }

    #[test]
    fn a_clock_behind_the_newest_job_is_reported() {
        assert!(clock(None, at(0)).ok);
        assert!(clock(Some(at(-5)), at(0)).ok);
        assert!(clock(Some(at(30)), at(0)).ok, "a little skew is normal");
        let behind = clock(Some(at(7200)), at(0));
        assert!(!behind.ok);
        assert!(behind.found.contains("2h"), "{}", behind.found);
    }

    #[test]
    fn a_clock_that_was_never_set_is_reported() {
        assert!(!clock(None, Timestamp::UNIX_EPOCH).ok);
    }
}
