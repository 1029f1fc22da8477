//! Dead letters as a caller may see them.

use std::collections::BTreeMap;

use backroom::{Scope, store::DeadLetter};
use backroom_triggers::{Definition, MappingRule, admin};
use uuid::Uuid;

use super::{act, caller::Caller, problem::Problem};
use crate::{
    serve::AppState,
    views::{
        letter::{Reader, may_hide, shown},
        trigger::DeadLetterView,
    },
};

/// One dead letter with its body. Where an admin sees what is hidden from others, the audit log says so first.
pub(crate) async fn one(state: &AppState, caller: &Caller, id: Uuid) -> Result<DeadLetterView, Problem> {
    let letter = admin::dead_letter(&state.backroom, id).await?;
    let mapping = mapping(state, &letter.trigger).await?;
    let sees = |queue: Option<&str>| sees(caller, queue);
    let (view, is_whole) = shown(&state.backroom, mapping.as_ref(), letter, reader(caller, &sees));
    if is_whole {
        act::record(state, caller, "dead_letter.reveal", &id.to_string(), None::<&()>).await?;
    }
    Ok(view)
}

/// A page of dead letters without their bodies.
pub(crate) async fn many(
    state: &AppState,
    caller: &Caller,
    trigger: Option<&str>,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<DeadLetterView>, Problem> {
    let letters = admin::dead_letters(&state.backroom, trigger, before, limit).await?;
    let sees = |queue: Option<&str>| sees(caller, queue);
    // A list shows nothing whole that should be hidden: that is for one at a time, with an entry in the audit log.
    let reader = Reader { sees_whole: false, sees: &sees };
    let mut mappings = BTreeMap::new();
    let mut views = Vec::with_capacity(letters.len());
    for mut letter in letters {
        let mapping = match mappings.get(&letter.trigger) {
            Some(known) => known,
            None => {
                let found = mapping(state, &letter.trigger).await?;
                mappings.entry(letter.trigger.clone()).or_insert(found)
            }
        };
        if may_hide(&state.backroom, mapping.as_ref()) {
            // What is hidden stands in the body, and perhaps in the reason, too.
            let Some(DeadLetter { body, .. }) = state.backroom.store().dead_letter(letter.id).await? else {
                continue;
            };
            letter.body = body;
        }
        let mut view = shown(&state.backroom, mapping.as_ref(), letter, reader).0;
        (view.body, view.body_base64) = (None, None);
        views.push(view);
    }
    Ok(views)
}

fn reader<'a>(caller: &Caller, sees: &'a (dyn Fn(Option<&str>) -> bool + Sync)) -> Reader<'a> {
    Reader { sees_whole: caller.require_everywhere(Scope::Admin).is_ok(), sees }
}

fn sees(caller: &Caller, queue: Option<&str>) -> bool {
    queue.map_or_else(|| caller.sees_all(), |queue| caller.sees(queue))
}

/// Which jobs a trigger makes; none if it is gone, or of a newer version.
async fn mapping(state: &AppState, trigger: &str) -> Result<Option<MappingRule>, Problem> {
    match admin::get(&state.backroom, trigger).await {
        Ok(row) => Ok(Definition::stored(&row.definition).ok().map(|definition| definition.mapping)),
        Err(error) if error.kind() == backroom::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
