//! From the wall clock of a zone to moments, over its changes.
//!
//! A change of the offset makes a gap (times of the wall clock that do not exist) or a fold (times that exist twice). What
//! an occurrence does there is its `Reading`. Everything here is found from the list of changes of the zone: a search steps
//! from change to change and never through the time between them.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use super::{
    Mistake,
    mark::{ClockMark, MarkKind},
};

/// Moments of a wall clock, without a zone.
pub(crate) trait WallClock {
    /// The first at or after `from`.
    fn at_or_after(&self, from: DateTime) -> Option<DateTime>;
    /// The last at or before `until`.
    fn at_or_before(&self, until: DateTime) -> Option<DateTime>;
}

/// What the moments of a wall clock mean where the offset of the zone changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Each moment of the wall clock means one moment: in a fold the first, in a gap its end.
    Once,
    /// What the wall clock shows: nothing in a gap, twice in a fold.
    AsShown,
}

/// A change of the offset.
struct Change {
    at: Timestamp,
    before: Offset,
    after: Offset,
}

const TICK: SignedDuration = SignedDuration::from_nanos(1);

/// The first moment after `after`.
pub(crate) fn next(
    zone: &TimeZone,
    reading: Reading,
    of: &dyn WallClock,
    after: Timestamp,
) -> Option<Timestamp> {
    match reading {
        Reading::Once => next_once(zone, of, after),
        Reading::AsShown => next_as_shown(zone, of, after),
    }
}

/// The last moment before `before`.
pub(crate) fn previous(
    zone: &TimeZone,
    reading: Reading,
    of: &dyn WallClock,
    before: Timestamp,
) -> Option<Timestamp> {
    let until = before.checked_sub(TICK).ok()?;
    match reading {
        Reading::Once => previous_once(zone, of, before, until),
        Reading::AsShown => previous_as_shown(zone, of, until),
    }
}

/// The moment that a moment of the wall clock means, read [`Reading::Once`].
pub(crate) fn resolve(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(at).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(at).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            change_up_to(zone, before.to_timestamp(at).ok()?).map(|change| change.at)
        }
    }
}

fn next_once(zone: &TimeZone, of: &dyn WallClock, after: Timestamp) -> Option<Timestamp> {
    // What the wall clock showed before it was set back has fired: go on where it shows something new.
    let mut from = match shown_again_until(zone, after) {
        Some(end) => end,
        None => zone.to_datetime(after).checked_add(TICK).ok()?,
    };
    loop {
        let shown = of.at_or_after(from)?;
        let at = resolve(zone, shown)?;
        if at > after {
            return Some(at);
        }
        from = shown.checked_add(TICK).ok()?;
    }
}

fn previous_once(
    zone: &TimeZone,
    of: &dyn WallClock,
    before: Timestamp,
    until: Timestamp,
) -> Option<Timestamp> {
    let mut to = match shown_again_until(zone, until) {
        Some(end) => end.checked_sub(TICK).ok()?,
        None => zone.to_datetime(until),
    };
    loop {
        let shown = of.at_or_before(to)?;
        let at = resolve(zone, shown)?;
        if at < before {
            return Some(at);
        }
        to = shown.checked_sub(TICK).ok()?;
    }
}

fn next_as_shown(zone: &TimeZone, of: &dyn WallClock, after: Timestamp) -> Option<Timestamp> {
    let mut since = after;
    let mut from = zone.to_datetime(after).checked_add(TICK).ok()?;
    loop {
        let offset = zone.to_offset(since);
        let change = change_after(zone, since);
        let at = of.at_or_after(from).and_then(|shown| offset.to_timestamp(shown).ok());
        match (at, change) {
            (Some(at), None) => return Some(at),
            (Some(at), Some(change)) if at < change.at => return Some(at),
            // Nothing more before the change. After a fold the wall clock may show once more what it has shown.
            (_, Some(change)) => {
                since = change.at;
                from = change.after.to_datetime(change.at);
            }
            (None, None) => return None,
        }
    }
}

fn previous_as_shown(zone: &TimeZone, of: &dyn WallClock, until: Timestamp) -> Option<Timestamp> {
    let mut until = until;
    loop {
        let offset = zone.to_offset(until);
        let change = change_up_to(zone, until);
        let at = of.at_or_before(offset.to_datetime(until)).and_then(|shown| offset.to_timestamp(shown).ok());
        match (at, change) {
            (Some(at), None) => return Some(at),
            (Some(at), Some(change)) if at >= change.at => return Some(at),
            (_, Some(change)) => until = change.at.checked_sub(TICK).ok()?,
            (None, None) => return None,
        }
    }
}

/// If the wall clock shows at `at` what it has shown before: the end of what it shows again.
fn shown_again_until(zone: &TimeZone, at: Timestamp) -> Option<DateTime> {
    let offset = zone.to_offset(at);
    match zone.to_ambiguous_timestamp(offset.to_datetime(at)).offset() {
        AmbiguousOffset::Fold { before, after } if offset == after && before != after => {
            change_up_to(zone, at).map(|change| change.before.to_datetime(change.at))
        }
        AmbiguousOffset::Fold { .. } | AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => {
            None
        }
    }
}

/// The last change at or before a moment. What changes only the abbreviation is none.
fn change_up_to(zone: &TimeZone, at: Timestamp) -> Option<Change> {
    let changes = zone.preceding(at.checked_add(TICK).ok()?);
    changes
        .map(|change| (change.timestamp(), change.offset()))
        .find_map(|(at, after)| change(zone, at, after))
}

/// The first change after a moment.
fn change_after(zone: &TimeZone, at: Timestamp) -> Option<Change> {
    zone.following(at)
        .map(|change| (change.timestamp(), change.offset()))
        .find_map(|(at, after)| change(zone, at, after))
}

/// What the clocks do at a moment: nothing at nearly all of them.
pub(crate) fn mark(zone: &TimeZone, at: Timestamp) -> Option<ClockMark> {
    let offset = zone.to_offset(at);
    let shown = offset.to_datetime(at);
    if let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(shown).offset()
        && before != after
    {
        let (mark, change) = if offset == before {
            (MarkKind::FirstOfFold, change_after(zone, at)?)
        } else {
            (MarkKind::SecondOfFold, change_up_to(zone, at)?)
        };
        let (from, to) = (change.after.to_datetime(change.at), change.before.to_datetime(change.at));
        return Some(ClockMark { mark, from, to });
    }
    let change = change_up_to(zone, at).filter(|change| change.at == at)?;
    let (from, to) = (change.before.to_datetime(at), change.after.to_datetime(at));
    (from < to).then_some(ClockMark { mark: MarkKind::EndOfGap, from, to })
}

fn change(zone: &TimeZone, at: Timestamp, after: Offset) -> Option<Change> {
    let before = zone.to_offset(at.checked_sub(TICK).ok()?);
    (before != after).then_some(Change { at, before, after })
}

/// Finds a zone by its name in the IANA time zone database. The system's copy is read if there is one, otherwise the copy
/// that this program was built with.
pub fn find(name: &str) -> Result<TimeZone, Mistake> {
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    zone.ok_or_else(|| {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let why = match nearest(name, &names).as_slice() {
            [] => "is no time zone of the IANA database; write one like Europe/Oslo or UTC".to_owned(),
            near => format!("is no time zone of the IANA database; did you mean {}?", near.join(" or ")),
        };
        Mistake::new(name, 0..name.len(), why)
    })
}

/// At most three names that are alike, the nearest first.
fn nearest<'a>(name: &str, names: &'a [String]) -> Vec<&'a str> {
    let wanted = plain(name);
    let bound = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .filter_map(|known| {
            let whole = distance(&wanted, &plain(known));
            // Who writes "Oslo" means "Europe/Oslo".
            let city = known.rsplit('/').next().map_or(whole, |city| distance(&wanted, &plain(city)));
            let far = whole.min(city);
            (far <= bound).then_some((far, known.as_str()))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}

fn plain(name: &str) -> String {
    let small = name.chars().take(64).flat_map(char::to_lowercase);
    small.map(|c| if matches!(c, ' ' | '-') { '_' } else { c }).collect()
}

/// The edit distance of Levenshtein.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut corner = index;
        let mut best = index + 1;
        if let Some(first) = row.first_mut() {
            *first = best;
        }
        for (right, cell) in to.iter().zip(row.iter_mut().skip(1)) {
            let replaced = corner + usize::from(left != *right);
            corner = *cell;
            best = replaced.min(*cell + 1).min(best + 1);
            *cell = best;
        }
    }
    row.last().copied().unwrap_or_default()
}
