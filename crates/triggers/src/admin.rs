//! What an operator does with triggers, over a store: also while no process reads their sources, and from another machine.

use std::sync::Arc;

use backroom::{
    Backroom, Error, ErrorKind,
    store::{DeadLetter, TriggerPause, TriggerRow},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Definition, Delivery, Intake, Outcome, Preview, delivery::Envelope};

/// Triggers on one page.
pub const PAGE_MAX: usize = 1000;

/// Triggers by name, after `after` when given, at most a thousand.
pub async fn list(backroom: &Backroom, after: Option<&str>) -> Result<Vec<TriggerRow>, Error> {
    backroom.store().triggers(after, PAGE_MAX).await
}

/// One trigger. [`NotFound`](ErrorKind::NotFound) if the store has none with this name.
pub async fn get(backroom: &Backroom, name: &str) -> Result<TriggerRow, Error> {
    backroom.store().trigger(name).await?.ok_or_else(|| not_found(name))
}

/// Pauses a trigger: within a third of a lease, no process reads its source, and what is pushed to it is refused.
pub async fn pause(backroom: &Backroom, name: &str, reason: &str) -> Result<(), Error> {
    let reason = backroom::core::bounds::clip(reason, backroom::core::bounds::ERROR_BYTES_MAX);
    let pause = TriggerPause { at: backroom.clock().now(), reason };
    if backroom.store().pause_trigger(name, Some(pause)).await? { Ok(()) } else { Err(not_found(name)) }
}

/// Ends the pause of a trigger.
pub async fn resume(backroom: &Backroom, name: &str) -> Result<(), Error> {
    if backroom.store().pause_trigger(name, None).await? { Ok(()) } else { Err(not_found(name)) }
}

/// Forgets a trigger with its state and its dead letters. If it is started again, its source is read from the beginning.
pub async fn delete(backroom: &Backroom, name: &str) -> Result<(), Error> {
    get(backroom, name).await?;
    backroom.store().delete_trigger(name).await
}

/// A message to test a mapping with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Its identity. Default `test`.
    #[serde(default)]
    pub identity: Option<String>,
    /// Headers by name.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// What it is in order with.
    #[serde(default)]
    pub key: Option<String>,
    /// The body as text.
    #[serde(default)]
    pub body: String,
}

impl From<Sample> for Delivery {
    fn from(sample: Sample) -> Self {
        let identity = sample.identity.unwrap_or_else(|| "test".into());
        let delivery = Self::new(identity, sample.body.into_bytes());
        let delivery = sample
            .headers
            .into_iter()
            .fold(delivery, |delivery, (name, value)| delivery.header(&name, value));
        Self { order_key: sample.key, ..delivery }
    }
}

/// What a message would become. Nothing is enqueued.
pub async fn test(backroom: &Backroom, name: &str, sample: Sample) -> Result<Preview, Error> {
    let row = get(backroom, name).await?;
    Ok(intake(backroom, &row)?.preview(&sample.into()))
}

/// Dead letters without their bodies, the newest first.
pub async fn dead_letters(
    backroom: &Backroom,
    trigger: Option<&str>,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<DeadLetter>, Error> {
    backroom.store().dead_letters(trigger, before, limit.min(PAGE_MAX)).await
}

/// One dead letter with its body.
pub async fn dead_letter(backroom: &Backroom, id: Uuid) -> Result<DeadLetter, Error> {
    backroom.store().dead_letter(id).await?.ok_or_else(|| {
        let why =
            format!("find the dead letter {id}: it does not exist; it was replayed, deleted or dropped");
        Error::new(ErrorKind::NotFound, why)
    })
}

/// Delivers a dead letter again, with the mapping as it is now. If it becomes a job, or is left out, it is deleted. A call that is
/// repeated makes no second job while the job stands for its delivery.
pub async fn replay(backroom: &Backroom, id: Uuid) -> Result<Outcome, Error> {
    let letter = dead_letter(backroom, id).await?;
    let row = get(backroom, &letter.trigger).await?;
    let Some(body) = letter.body else {
        let why = format!(
            "replay the dead letter {id}: its body of {} bytes was too large to be stored; send the message again at its source",
            letter.body_bytes
        );
        return Err(Error::new(ErrorKind::Refused, why));
    };
    let Envelope { headers, at, order_key, by_source } = letter.delivery.decode()?;
    if by_source {
        let why = format!(
            "replay the dead letter {id}: its source refused it, and it says why; send the event again at its source"
        );
        return Err(Error::new(ErrorKind::Refused, why));
    }
    let delivery =
        Delivery { identity: letter.identity, headers, body, at, order_key, receipt: 0, refused: None };
    let outcomes = intake(backroom, &row)?.take(&[delivery]).await?;
    let outcome = outcomes.into_iter().next();
    let outcome =
        outcome.ok_or_else(|| Error::new(ErrorKind::Internal, "replay a dead letter: it had no outcome"))?;
    match &outcome {
        // It is stored again under the same id, with the new reason.
        Outcome::Refused { .. } => {}
        Outcome::Enqueued(_) | Outcome::Duplicate(_) | Outcome::LeftOut => {
            backroom.store().delete_dead_letters(Arc::new(vec![id])).await?;
        }
    }
    Ok(outcome)
}

/// Deletes a dead letter.
pub async fn delete_dead_letter(backroom: &Backroom, id: Uuid) -> Result<(), Error> {
    dead_letter(backroom, id).await?;
    backroom.store().delete_dead_letters(Arc::new(vec![id])).await
}

fn intake(backroom: &Backroom, row: &TriggerRow) -> Result<Intake, Error> {
    let definition = Definition::stored(&row.definition)?;
    Ok(Intake::detached(backroom, &row.name, definition.mapping)?)
}

fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("find the trigger {name:?}: the store has none with this name"))
}
