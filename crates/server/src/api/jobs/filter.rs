//! Turns the filters of a request into those of the library.

use backroom::{
    Filter,
    core::bounds::{check_name, check_text},
};

use crate::{
    api::{caller::Caller, codes::Code, problem::Problem},
    bodies::Select,
    serve::AppState,
    terminal::parse::state_word,
};

/// Longest text of an error to filter by.
const ERROR_BYTES_MAX: usize = 1024;

/// The filter as the library takes it, among the queues that the caller sees.
pub(crate) async fn of(select: &Select, state: &AppState, caller: &Caller) -> Result<Filter, Problem> {
    let names = [
        ("queue", &select.queue),
        ("kind", &select.kind),
        ("tag", &select.tag),
        ("lane", &select.lane),
        ("worker", &select.worker),
    ];
    for (what, name) in names {
        name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
    }
    if select.priority.is_some_and(|priority| priority > 9) {
        return Err(Problem::new(Code::Invalid, "the priority is larger than 9; use 0 (first) to 9 (last)"));
    }
    if let Some(text) = &select.error {
        check_text("error", text, ERROR_BYTES_MAX)?;
    }
    let words = select.state.as_deref().unwrap_or_default();
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<_> = words
        .map(state_word)
        .collect::<Result<_, _>>()
        .map_err(|why| Problem::new(Code::Invalid, format!("the state {why}")))?;
    if select.state.is_some() && words.is_empty() {
        return Err(Problem::new(Code::Invalid, "the state is empty; leave it out for any state"));
    }
    let shown: Vec<_> = words.iter().flat_map(|word| word.shown()).collect();
    Ok(Filter {
        queue: select.queue.clone(),
        queues: queues(state, caller).await?,
        kind: select.kind.clone(),
        tag: select.tag.clone(),
        lane: select.lane.clone(),
        worker: select.worker.clone(),
        priority: select.priority,
        error: select.error.clone(),
        error_as_shown: select.error.is_some(),
        batch: select.batch,
        not_poison: select.not_poison,
        created_from: select.since,
        created_before: select.until,
        finished_from: select.ended,
        ..Filter::shown(&shown, state.backroom.clock().now())
    })
}

/// The queues that a caller sees; none if that is every queue.
async fn queues(state: &AppState, caller: &Caller) -> Result<Option<Vec<String>>, Problem> {
    if caller.sees_all() {
        return Ok(None);
    }
    let queues = state.backroom.queues().await?.into_iter().map(|queue| queue.name);
    Ok(Some(queues.filter(|queue| caller.sees(queue)).collect()))
}
