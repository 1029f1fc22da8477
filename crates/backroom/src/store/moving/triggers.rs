//! Triggers on their way from one store to another.

use std::sync::Arc;

use crate::{
    Error,
    store::{Store, TriggerRow, WriteState},
};

/// Triggers on one page.
const PAGE: usize = 500;
/// Values of a source that are copied at once.
const VALUES: usize = 2000;
/// Dead letters that are listed at once.
const LETTERS: usize = 100;

/// Copies every trigger with its pause, the state of its source and its dead letters, so that the target goes on where the source
/// stopped. A trigger that a process has read at the target keeps what it has there. Answers how many were copied.
///
/// To be called before [`copy_jobs`](super::copy_jobs): what the state says to be done is a job of the source by then, so it is copied
/// too.
pub async fn copy_triggers(from: &dyn Store, to: &dyn Store) -> Result<u64, Error> {
    let (mut after, mut copied) = (None::<String>, 0);
    loop {
        let page = from.triggers(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(copied) };
        after = Some(last.name.clone());
        for row in page {
            copied += u64::from(copy(from, to, row).await?);
        }
    }
}

async fn copy(from: &dyn Store, to: &dyn Store, row: TriggerRow) -> Result<bool, Error> {
    let TriggerRow { name, definition, paused, defined_at, .. } = row;
    if let Some(known) = to.trigger(&name).await? {
        if !known.readers.is_empty() {
            return Ok(false);
        }
        // An older copy, perhaps of a move that was cut off.
        to.delete_trigger(&name).await?;
    }
    to.put_trigger(&name, definition, defined_at).await?;
    if paused.is_some() {
        to.pause_trigger(&name, paused).await?;
    }
    let mut after = None::<String>;
    loop {
        let page = from.trigger_state(&name, "", after.as_deref(), VALUES).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let values = page.into_iter().map(|(key, value)| (key, Some(value))).collect();
        to.write_trigger_state(Arc::new(WriteState { trigger: name.clone(), lease: None, values })).await?;
    }
    let mut before = None;
    loop {
        let page = from.dead_letters(Some(&name), before, LETTERS).await?;
        let Some(last) = page.last() else { return Ok(true) };
        before = Some(last.id);
        for letter in page {
            // One at a time: a body may have many megabytes. One that was deleted meanwhile is gone.
            if let Some(whole) = from.dead_letter(letter.id).await? {
                to.put_dead_letters(Arc::new(vec![whole])).await?;
            }
        }
    }
}
