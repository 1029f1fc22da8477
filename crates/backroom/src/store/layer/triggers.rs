//! Forwards the verbs for triggers.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{Json, LeaseId, Timestamp};
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{
        Call, DeadLetter, TriggerHold, TriggerPause, TriggerReader, TriggerRow, TriggerVerbs, WriteState,
    },
};

#[async_trait]
impl<L: Layer> TriggerVerbs for L {
    async fn put_trigger(&self, name: &str, definition: Json, now: Timestamp) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, PutTrigger { name, definition, now }, |store, _call| store
            .put_trigger(&name, definition, now))
    }

    async fn trigger(&self, name: &str) -> Result<Option<TriggerRow>, Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, Trigger { name }, |store, _call| store.trigger(&name))
    }

    async fn triggers(&self, after: Option<&str>, limit: usize) -> Result<Vec<TriggerRow>, Error> {
        let after: Option<Arc<str>> = after.map(Into::into);
        forward!(self, Call::First, Triggers { after, limit }, |store, _call| store
            .triggers(after.as_deref(), limit))
    }

    async fn pause_trigger(&self, name: &str, pause: Option<TriggerPause>) -> Result<bool, Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, PauseTrigger { name, pause }, |store, _call| store
            .pause_trigger(&name, pause))
    }

    async fn delete_trigger(&self, name: &str) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, DeleteTrigger { name }, |store, _call| store.delete_trigger(&name))
    }

    async fn hold_trigger(&self, hold: Arc<TriggerHold>, now: Timestamp) -> Result<TriggerReader, Error> {
        forward!(self, Call::First, HoldTrigger { hold, now }, |store, _call| store.hold_trigger(hold, now))
    }

    async fn release_trigger(&self, name: &str, lease: LeaseId) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, ReleaseTrigger { name, lease }, |store, _call| store
            .release_trigger(&name, lease))
    }

    async fn write_trigger_state(&self, write: Arc<WriteState>) -> Result<bool, Error> {
        forward!(self, Call::First, WriteTriggerState { write }, |store, _call| store
            .write_trigger_state(write))
    }

    async fn trigger_state(
        &self,
        name: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, Error> {
        let (name, prefix): (Arc<str>, Arc<str>) = (name.into(), prefix.into());
        let after: Option<Arc<str>> = after.map(Into::into);
        forward!(self, Call::First, TriggerState { name, prefix, after, limit }, |store, _call| store
            .trigger_state(&name, &prefix, after.as_deref(), limit))
    }

    async fn trigger_values(&self, name: &str, keys: Arc<Vec<String>>) -> Result<Vec<Option<String>>, Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, TriggerValues { name, keys }, |store, _call| store
            .trigger_values(&name, keys))
    }

    async fn put_dead_letters(&self, letters: Arc<Vec<DeadLetter>>) -> Result<Vec<Uuid>, Error> {
        forward!(self, Call::First, PutDeadLetters { letters }, |store, _call| store
            .put_dead_letters(letters))
    }

    async fn dead_letters(
        &self,
        trigger: Option<&str>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let trigger: Option<Arc<str>> = trigger.map(Into::into);
        forward!(self, Call::First, DeadLetters { trigger, before, limit }, |store, _call| store
            .dead_letters(trigger.as_deref(), before, limit))
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, Error> {
        forward!(self, Call::First, DeadLetter { id }, |store, _call| store.dead_letter(id))
    }

    async fn delete_dead_letters(&self, ids: Arc<Vec<Uuid>>) -> Result<(), Error> {
        forward!(self, Call::First, DeleteDeadLetters { ids }, |store, _call| store.delete_dead_letters(ids))
    }
}
