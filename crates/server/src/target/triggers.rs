//! Triggers and dead letters.

use backroom::{Backroom, store::DeadLetter};
use backroom_triggers::{
    Definition,
    admin::{self, Sample},
};
use hyper::Method;
use uuid::Uuid;

use super::{Target, access::append, escaped};
use crate::{
    bodies::TriggerPause,
    terminal::Problem,
    views::{
        letter::{Reader, shown},
        trigger::{DeadLetterPage, DeadLetterView, OutcomeView, PreviewView, TriggerList, TriggerView},
    },
};

impl Target {
    /// Every trigger, by name.
    pub(crate) async fn triggers(&self) -> Result<Vec<TriggerView>, Problem> {
        match self {
            Self::Store(backroom) => {
                let (rows, now) = (admin::list(backroom, None).await?, backroom.clock().now());
                Ok(rows.into_iter().map(|row| TriggerView::new(row, now)).collect())
            }
            Self::Server(remote) => Ok(remote.get::<TriggerList>("/v1/triggers").await?.triggers),
        }
    }

    /// One trigger.
    pub(crate) async fn trigger(&self, name: &str) -> Result<TriggerView, Problem> {
        match self {
            Self::Store(backroom) => {
                let row = admin::get(backroom, name).await?;
                Ok(TriggerView::new(row, backroom.clock().now()))
            }
            Self::Server(remote) => remote.get(&format!("/v1/triggers/{}", escaped(name))).await,
        }
    }

    /// Pauses a trigger.
    pub(crate) async fn pause_trigger(&self, name: &str, reason: &str) -> Result<TriggerView, Problem> {
        match self {
            Self::Store(backroom) => admin::pause(backroom, name, reason).await?,
            Self::Server(remote) => {
                let path = format!("/v1/triggers/{}/pause", escaped(name));
                return remote
                    .send(Method::POST, &path, &TriggerPause { reason: Some(reason.to_owned()) })
                    .await;
            }
        }
        self.trigger(name).await
    }

    /// Ends the pause of a trigger.
    pub(crate) async fn resume_trigger(&self, name: &str) -> Result<TriggerView, Problem> {
        match self {
            Self::Store(backroom) => admin::resume(backroom, name).await?,
            Self::Server(remote) => {
                return remote
                    .send(Method::POST, &format!("/v1/triggers/{}/resume", escaped(name)), &())
                    .await;
            }
        }
        self.trigger(name).await
    }

    /// What a message would become.
    pub(crate) async fn test_trigger(&self, name: &str, sample: Sample) -> Result<PreviewView, Problem> {
        match self {
            Self::Store(backroom) => Ok(admin::test(backroom, name, sample).await?.into()),
            Self::Server(remote) => {
                remote.send(Method::POST, &format!("/v1/triggers/{}/test", escaped(name)), &sample).await
            }
        }
    }

    /// Dead letters, the newest first.
    pub(crate) async fn dead_letters(
        &self,
        trigger: Option<&str>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetterView>, Problem> {
        match self {
            Self::Store(backroom) => {
                let letters = admin::dead_letters(backroom, trigger, before, limit).await?;
                let mut views = Vec::with_capacity(letters.len());
                for letter in letters {
                    // What is hidden stands in the body, and perhaps in the reason, too. It may have been deleted meanwhile.
                    let Some(letter) = backroom.store().dead_letter(letter.id).await? else { continue };
                    let mut view = letter_of_store(backroom, letter).await;
                    (view.body, view.body_base64) = (None, None);
                    views.push(view);
                }
                Ok(views)
            }
            Self::Server(remote) => {
                let trigger = trigger.map(|name| format!("&trigger={}", escaped(name))).unwrap_or_default();
                let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
                let path = format!("/v1/dead-letters?limit={limit}{trigger}{before}");
                Ok(remote.get::<DeadLetterPage>(&path).await?.dead_letters)
            }
        }
    }

    /// One dead letter with its body.
    pub(crate) async fn dead_letter(&self, id: Uuid) -> Result<DeadLetterView, Problem> {
        match self {
            Self::Store(backroom) => {
                Ok(letter_of_store(backroom, admin::dead_letter(backroom, id).await?).await)
            }
            Self::Server(remote) => remote.get(&format!("/v1/dead-letters/{id}")).await,
        }
    }

    /// Deletes a dead letter.
    pub(crate) async fn delete_dead_letter(&self, id: Uuid) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => {
                append(backroom, "dead_letter.delete", &id.to_string()).await?;
                Ok(admin::delete_dead_letter(backroom, id).await?)
            }
            Self::Server(remote) => remote.send(Method::DELETE, &format!("/v1/dead-letters/{id}"), &()).await,
        }
    }

    /// Deletes a trigger with its state and its dead letters.
    pub(crate) async fn forget_trigger(&self, name: &str) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => {
                append(backroom, "trigger.delete", name).await?;
                Ok(admin::delete(backroom, name).await?)
            }
            Self::Server(remote) => {
                remote.send(Method::DELETE, &format!("/v1/triggers/{}", escaped(name)), &()).await
            }
        }
    }

    /// Delivers a dead letter again.
    pub(crate) async fn replay(&self, id: Uuid) -> Result<OutcomeView, Problem> {
        match self {
            Self::Store(backroom) => Ok(admin::replay(backroom, id).await?.into()),
            Self::Server(remote) => {
                remote.send(Method::POST, &format!("/v1/dead-letters/{id}/replay"), &()).await
            }
        }
    }
}

/// A dead letter as the holder of the store sees it: hidden fields are hidden where they can be found.
async fn letter_of_store(backroom: &Backroom, letter: DeadLetter) -> DeadLetterView {
    let row = admin::get(backroom, &letter.trigger).await.ok();
    let definition = row.and_then(|row| Definition::stored(&row.definition).ok());
    let mapping = definition.map(|definition| definition.mapping);
    shown(backroom, mapping.as_ref(), letter, Reader::OF_STORE).0
}
