//! Seals what a workflow of a sealed kind writes into its journal, and opens what it reads from it. Inside a run everything is open.
//!
//! Sealed are the values of steps, the signals that waits have taken, errors, and what is published. Names, kinds and times are not.

use backroom_core::{
    Json,
    workflow::{Answer, Entry, EntryState, Header, Opened, Undo},
};

use crate::{
    Error, ErrorKind,
    ids::Ids,
    sealed::{Codec, Field, OpenError},
    store::{JournalPage, JournalWrite},
};

/// The place of what a workflow publishes. No entry has this key: names of steps have no slash at their end.
const PUBLISHED: &str = "published/";

/// Opens a journal. Fails if something in it was not sealed for its place.
pub(super) fn open(codec: Option<&Codec>, mut page: JournalPage) -> Result<JournalPage, Error> {
    let Some(codec) = codec else { return Ok(page) };
    let failed = |why: OpenError| {
        Error::new(ErrorKind::Refused, "open the journal of a sealed workflow").caused_by(why)
    };
    for entry in &mut page.entries {
        open_entry(codec, entry).map_err(failed)?;
    }
    if let Some(header) = page.head.as_mut().and_then(|head| head.header.as_mut())
        && let Some(published) = &mut header.published
    {
        *published = codec.open_json(Field::Step(PUBLISHED), published).map_err(failed)?;
    }
    Ok(page)
}

/// Opens the value of one entry, and its errors.
pub(super) fn open_entry(codec: &Codec, entry: &mut Entry) -> Result<(), OpenError> {
    let key = entry.key.clone();
    let field = Field::Step(&key);
    each(
        entry,
        &mut |value| {
            *value = codec.open_json(field, value)?;
            Ok(())
        },
        &mut |text| {
            *text = codec.open_text(field, text)?;
            Ok(())
        },
    )
}

/// Seals all that a write holds.
pub(super) fn seal(codec: Option<&Codec>, ids: &Ids, write: &mut JournalWrite) {
    let Some(codec) = codec else { return };
    for entry in &mut write.entries {
        let key = entry.key.clone();
        let field = Field::Step(&key);
        let sealed: Result<(), std::convert::Infallible> = each(
            entry,
            &mut |value| {
                *value = codec.seal_json(field, value, ids);
                Ok(())
            },
            &mut |text| {
                *text = codec.seal(field, text, ids);
                Ok(())
            },
        );
        let Ok(()) = sealed;
    }
    seal_header(codec, ids, &mut write.header);
    if let Some(args) = &mut write.args {
        *args = codec.seal_json(Field::Args, args, ids);
    }
}

/// Seals the value of a step.
pub(super) fn seal_value(codec: Option<&Codec>, ids: &Ids, key: &str, value: Json) -> Json {
    match codec {
        Some(codec) => codec.seal_json(Field::Step(key), &value, ids),
        None => value,
    }
}

fn seal_header(codec: &Codec, ids: &Ids, header: &mut Header) {
    if let Some(published) = &mut header.published {
        *published = codec.seal_json(Field::Step(PUBLISHED), published, ids);
    }
}

/// Does the same to each value and to each error of an entry.
fn each<E>(
    entry: &mut Entry,
    on_value: &mut dyn FnMut(&mut Json) -> Result<(), E>,
    on_text: &mut dyn FnMut(&mut String) -> Result<(), E>,
) -> Result<(), E> {
    match &mut entry.state {
        EntryState::Open(Opened::Trying { error, .. }) | EntryState::Superseded { error } => on_text(error)?,
        EntryState::Open(Opened::Timer { .. } | Opened::Signal { .. } | Opened::Child { .. })
        | EntryState::Lost => {}
        EntryState::Closed { answer, .. } => match answer {
            Answer::Value { value } | Answer::Signal { value } => on_value(value)?,
            Answer::Failed { error } => on_text(error)?,
            // The output of a child is sealed by the child, if its kind is.
            Answer::Child { .. }
            | Answer::Fired
            | Answer::TimedOut
            | Answer::Won { .. }
            | Answer::Patched { .. }
            | Answer::Now { .. } => {}
        },
    }
    match &mut entry.undo {
        Some(Undo::Trying { error, .. }) => on_text(error),
        Some(_) | None => Ok(()),
    }
}
