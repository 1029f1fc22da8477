//! Which jobs a command is about: the filters that `jobs`, `retry`, `cancel` and `delete` share.

use backroom::{BatchId, DisplayState, Filter, Timestamp, core::bounds::check_name};
use clap::Args;

use crate::terminal::{
    Problem,
    parse::{MomentText, StateWord, moment, state_word},
};
use crate::{bodies::Select as Asked, target::Selection};

/// All filters hold together.
#[derive(Debug, Clone, Args)]
pub(crate) struct Select {
    /// In one of these states, as stored or as shown
    #[arg(long, short, value_name = "STATE,…", value_delimiter = ',', value_parser = state_word, help_heading = "Which jobs")]
    pub(super) state: Vec<StateWord>,

    /// Of this queue
    #[arg(long, short, value_name = "NAME", help_heading = "Which jobs")]
    queue: Option<String>,

    /// Of this kind
    #[arg(long, short, value_name = "KIND", help_heading = "Which jobs")]
    kind: Option<String>,

    /// With this tag
    #[arg(long, short, value_name = "WORD", help_heading = "Which jobs")]
    tag: Option<String>,

    /// Of this lane
    #[arg(long, value_name = "NAME", help_heading = "Which jobs")]
    lane: Option<String>,

    /// That this worker runs, or ran last
    #[arg(long, value_name = "NAME", help_heading = "Which jobs")]
    worker: Option<String>,

    /// Of this priority
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9), help_heading = "Which jobs")]
    priority: Option<u8>,

    /// With this text in the reason or in the error of an attempt
    #[arg(long, value_name = "TEXT", help_heading = "Which jobs")]
    error: Option<String>,

    /// Of this batch
    #[arg(long, value_name = "ID", help_heading = "Which jobs")]
    batch: Option<BatchId>,

    /// Not those that were discarded because they took worker processes down with them
    #[arg(long, help_heading = "Which jobs")]
    not_poison: bool,

    /// Enqueued at or after this moment: 2h (ago), 2026-01-31, 2026-01-31T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    since: Option<MomentText>,

    /// Enqueued before this moment
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    until: Option<MomentText>,

    /// Ended at or after this moment
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    ended: Option<MomentText>,
}

impl Select {
    /// As the library and the API take it, with the words for states as they hold at `now`; `default_states` hold where no state is
    /// named.
    pub(super) fn selection(
        &self,
        now: Timestamp,
        default_states: &[DisplayState],
    ) -> Result<Selection, Problem> {
        let names = [
            ("queue", &self.queue),
            ("kind", &self.kind),
            ("tag", &self.tag),
            ("lane", &self.lane),
            ("worker", &self.worker),
        ];
        for (what, name) in names {
            name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
        }
        let past = |moment: Option<MomentText>| {
            let at = moment.map(|moment| moment.past(now)).transpose();
            at.map_err(|why| Problem::new("read the time", &why))
        };
        let mut shown: Vec<_> = self.state.iter().flat_map(|word| word.shown()).collect();
        if shown.is_empty() {
            shown.extend_from_slice(default_states);
        }
        let (since, until, ended) = (past(self.since)?, past(self.until)?, past(self.ended)?);
        let (queue, kind, tag) = (self.queue.clone(), self.kind.clone(), self.tag.clone());
        let (lane, worker, priority) = (self.lane.clone(), self.worker.clone(), self.priority);
        let (error, batch, not_poison) = (self.error.clone(), self.batch, self.not_poison);
        let words: Vec<_> = shown.iter().map(|shown| shown.as_str()).collect();
        let state = (!words.is_empty()).then(|| words.join(","));
        let filter = Filter {
            queue: queue.clone(),
            kind: kind.clone(),
            tag: tag.clone(),
            lane: lane.clone(),
            worker: worker.clone(),
            priority,
            error: error.clone(),
            error_as_shown: error.is_some(),
            batch,
            not_poison,
            created_from: since,
            created_before: until,
            finished_from: ended,
            ..Filter::shown(&shown, now)
        };
        Ok(Selection {
            filter,
            asked: Asked {
                state,
                queue,
                kind,
                tag,
                lane,
                worker,
                priority,
                error,
                batch,
                not_poison,
                since,
                until,
                ended,
            },
        })
    }
}
