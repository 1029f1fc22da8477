//! Which jobs a command is about: the filters that `jobs`, `retry`, `cancel` and `delete` share.

use backroom::{Filter, Timestamp, core::bounds::check_name};
use clap::Args;

use crate::terminal::{
    Problem,
    parse::{MomentText, StateWord, moment, state_word},
};

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

    /// Enqueued at or after this moment: 2h (ago), 2026-01-31, 2026-01-31T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    since: Option<MomentText>,

    /// Enqueued before this moment
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    until: Option<MomentText>,
}

impl Select {
    /// As the library takes it, with the words for states as they hold at `now`.
    pub(super) fn filter(&self, now: Timestamp) -> Result<Filter, Problem> {
        for (what, name) in [("queue", &self.queue), ("kind", &self.kind), ("tag", &self.tag)] {
            name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
        }
        let past = |moment: Option<MomentText>| {
            let at = moment.map(|moment| moment.past(now)).transpose();
            at.map_err(|why| Problem::new("read the time", &why))
        };
        let shown: Vec<_> = self.state.iter().flat_map(|word| word.shown()).collect();
        Ok(Filter {
            queue: self.queue.clone(),
            kind: self.kind.clone(),
            tag: self.tag.clone(),
            created_from: past(self.since)?,
            created_before: past(self.until)?,
            ..Filter::shown(&shown, now)
        })
    }
}
