//! Which jobs a request is about: the filters that the command line has.

use backroom::{Filter, Timestamp, core::bounds::check_name};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{caller::Caller, codes::Code, problem::Problem},
    serve::AppState,
    terminal::parse::state_word,
};

/// All filters hold together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Select {
    /// In one of these states, as stored or as shown, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(example = "available,retrying")]
    pub(super) state: Option<String>,
    /// Of this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<String>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    /// With this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    /// Enqueued at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) since: Option<Timestamp>,
    /// Enqueued before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) until: Option<Timestamp>,
}

impl Select {
    /// Whether it leaves no job out.
    pub(super) fn is_all(&self) -> bool {
        let Self { state, queue, kind, tag, since, until } = self;
        [state, queue, kind, tag].into_iter().all(Option::is_none) && since.is_none() && until.is_none()
    }

    /// As the library takes it, among the queues that the caller sees.
    pub(super) async fn filter(&self, state: &AppState, caller: &Caller) -> Result<Filter, Problem> {
        for (what, name) in [("queue", &self.queue), ("kind", &self.kind), ("tag", &self.tag)] {
            name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
        }
        let words = self.state.as_deref().unwrap_or_default();
        let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
        let words: Vec<_> = words
            .map(state_word)
            .collect::<Result<_, _>>()
            .map_err(|why| Problem::new(Code::Invalid, format!("the state {why}")))?;
        if self.state.is_some() && words.is_empty() {
            return Err(Problem::new(Code::Invalid, "the state is empty; leave it out for any state"));
        }
        let shown: Vec<_> = words.iter().flat_map(|word| word.shown()).collect();
        Ok(Filter {
            queue: self.queue.clone(),
            queues: queues(state, caller).await?,
            kind: self.kind.clone(),
            tag: self.tag.clone(),
            created_from: self.since,
            created_before: self.until,
            ..Filter::shown(&shown, state.backroom.clock().now())
        })
    }
}

/// The queues that a caller sees; none if that is every queue.
async fn queues(state: &AppState, caller: &Caller) -> Result<Option<Vec<String>>, Problem> {
    if caller.sees_all() {
        return Ok(None);
    }
    let queues = state.backroom.queues().await?.into_iter().map(|queue| queue.name);
    Ok(Some(queues.filter(|queue| caller.sees(queue)).collect()))
}
