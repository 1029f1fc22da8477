//! What may be done to a schedule by hand, on a store and through a server: a schedule of the settings is changed there.

use backroom::{
    Error, ErrorKind, Put, Schedules,
    schedule::{Origin, Schedule},
};

use crate::{
    bodies::schedule::BackfillBody,
    views::schedule::{BackfillView, ScheduleView},
};

/// Puts a schedule by hand, unless the settings have one of its name or `guard` refuses what is there.
pub(crate) async fn put(
    schedules: &Schedules,
    origin: Origin,
    schedule: &Schedule,
    guard: impl Fn(Option<&ScheduleView>) -> Result<(), Error> + Send + Sync,
) -> Result<Put, Error> {
    schedules
        .put_if(origin, schedule.clone(), |before| {
            let before = before.map(|before| ScheduleView::new(before.clone()));
            check(before.as_ref(), "put")?;
            guard(before.as_ref())
        })
        .await
}

/// Deletes a schedule by hand, under the same conditions.
pub(crate) async fn delete(
    schedules: &Schedules,
    name: &str,
    guard: impl Fn(&ScheduleView) -> Result<(), Error> + Send + Sync,
) -> Result<(), Error> {
    schedules
        .delete_if(name, |before| {
            let before = ScheduleView::new(before.clone());
            check(Some(&before), "delete")?;
            guard(&before)
        })
        .await
}

fn check(before: Option<&ScheduleView>, doing: &str) -> Result<(), Error> {
    match before {
        Some(before) if before.origin == Origin::Settings => {
            let why = format!(
                "{doing} schedule {:?}: it comes from the settings of a server; change it there, and reload the server",
                before.name
            );
            Err(Error::new(ErrorKind::Refused, why))
        }
        Some(_) | None => Ok(()),
    }
}

/// Counts a backfill, or begins it.
pub(crate) async fn backfill(
    schedules: &Schedules,
    name: &str,
    body: &BackfillBody,
) -> Result<BackfillView, Error> {
    let options = body.options()?;
    if body.dry_run {
        let total = schedules.count(name, body.from, body.until).await?;
        return Ok(BackfillView { total, backfill: None });
    }
    let backfill = schedules.backfill(name, (body.from, body.until), options).await?;
    Ok(BackfillView { total: backfill.total, backfill: Some(backfill) })
}
