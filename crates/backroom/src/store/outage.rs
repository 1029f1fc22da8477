//! Decides when an outage is logged, and when its end.
//!
//! An outage may concern some verbs only: a server that became a standby still answers reads, and so does a file that
//! another process has locked. A full disk still takes writes that need no space. So an outage is over when each verb that
//! failed in it is answered again, not when any call is. [`Observed`](super::Observed) writes the log lines.

use std::{collections::BTreeMap, time::Duration};

use super::layer::Verb;
use crate::{
    Error, ErrorKind,
    repeated::{QUIET, Repeated, Times},
};

/// A verb that fails for this long while others are answered has an outage of its own. A shorter failure may be a call that
/// began before the store came back.
const ALONE_AFTER: Duration = Duration::from_secs(3);
/// A verb that is not called again is forgotten this long after it last failed. Callers that retry do so more often: a
/// statement that hangs is given up after 65 s.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90);

/// Whether such an error is logged as part of an outage, so that the caller need not log it.
pub(crate) fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NoSpace)
}

/// What fails at the moment, and how much was answered.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Since when there is one.
    since: Option<Duration>,
    /// Failed calls in it.
    failures: u64,
    /// When the last one ended.
    ended: Option<Duration>,
    /// Outages that began soon after one had ended: a full disk takes what is small, and refuses the next call.
    relapses: Repeated,
    /// The verbs that failed in it and were not answered since, each with the moment it last failed.
    failing: BTreeMap<Verb, Duration>,
    /// Calls that were answered so far, by verb.
    answers: BTreeMap<Verb, u64>,
}

/// How much had been answered at some moment: of all verbs, and of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    all: u64,
    verb: u64,
}

/// A failed try of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Miss {
    /// When the call failed for the first time, and what had been answered before that.
    pub(super) first: (Duration, Answered),
    /// What had been answered before this try.
    pub(super) before: Answered,
    /// How often the call was made again before.
    pub(super) repeats: u32,
    /// It will not be made again.
    pub(super) is_last: bool,
}

/// An outage that is to be reported begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// One.
    Outage,
    /// One soon after the last one had ended. Those that follow are only counted.
    Relapses,
}

/// Something that was reported is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// An outage: failed calls, and how long it was.
    Outage(Times),
    /// Outages that followed each other.
    Relapses(Times),
}

impl Outage {
    /// What was answered so far.
    pub(super) fn answered_so_far(&self, verb: Verb) -> Answered {
        let verb = self.answers.get(&verb).copied().unwrap_or_default();
        Answered { all: self.answers.values().sum(), verb }
    }

    /// A call was answered. What that shows to be over.
    pub(super) fn answered(&mut self, verb: Verb, now: impl FnOnce() -> Duration) -> Option<Over> {
        *self.answers.entry(verb).or_default() += 1;
        let Some(since) = self.since else {
            let has_relapsed = self.relapses.is_met();
            return has_relapsed.then(|| self.relapses.over_if_quiet(now())).flatten().map(Over::Relapses);
        };
        let now = now();
        self.failing.remove(&verb);
        self.failing.retain(|_, failed_at| now.saturating_sub(*failed_at) < FORGOTTEN_AFTER);
        if !self.failing.is_empty() {
            return None;
        }
        self.since = None;
        self.ended = Some(now);
        let times = Times { times: std::mem::take(&mut self.failures), span: now.saturating_sub(since) };
        if self.relapses.is_met() { None } else { Some(Over::Outage(times)) }
    }

    /// A call failed with an error that [`is_outage`]. What that shows to begin.
    pub(super) fn failed(&mut self, verb: Verb, error: &Error, miss: &Miss, now: Duration) -> Option<Begun> {
        let is_out = self.failing.contains_key(&verb)
            || error.kind() == ErrorKind::NoSpace
            || self.shows(verb, miss, now);
        if !is_out {
            return None;
        }
        self.failing.insert(verb, now);
        self.failures += 1;
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        if self.ended.is_none_or(|ended| now.saturating_sub(ended) >= QUIET) {
            return Some(Begun::Outage);
        }
        self.relapses.met(now).then_some(Begun::Relapses)
    }

    /// One miss that the first repeat mends is no outage.
    fn shows(&self, verb: Verb, miss: &Miss, now: Duration) -> bool {
        let answered = self.answered_so_far(verb);
        let none_is_answered = answered == miss.before;
        let (failed_at, before) = miss.first;
        let is_alone =
            answered.verb == before.verb && (miss.is_last || now.saturating_sub(failed_at) >= ALONE_AFTER);
        miss.repeats > 0 && (none_is_answered || is_alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn error() -> Error {
        Error::new(ErrorKind::Unavailable, "do it")
    }

    /// A verb's call fails at these moments, while another verb is answered in the middle of each try; the moments at which
    /// an outage is logged.
    fn logged(verb: Verb, other: Verb, failures: &[u64]) -> Vec<u64> {
        let mut outage = Outage::default();
        let start = outage.answered_so_far(verb);
        let mut logged = Vec::new();
        for (repeats, millis) in failures.iter().enumerate() {
            let before = outage.answered_so_far(verb);
            assert_eq!(outage.answered(other, || at(*millis)), None);
            let miss =
                Miss { first: (at(failures[0]), start), before, repeats: repeats as u32, is_last: false };
            if outage.failed(verb, &error(), &miss, at(*millis)).is_some() {
                logged.push(*millis);
            }
        }
        logged
    }

    #[test]
    fn a_verb_that_fails_while_others_are_answered_is_logged_when_it_goes_on() {
        assert_eq!(logged(Verb::Commit, Verb::ExpiredJobs, &[0, 50, 1000, 2999, 3000, 5000, 90_000]), [3000]);
    }

    #[test]
    fn a_call_that_fails_while_others_of_its_verb_are_answered_is_its_own_affair() {
        assert_eq!(logged(Verb::Commit, Verb::Commit, &[0, 50, 1000, 3000, 5000, 90_000]), [0; 0]);
    }

    #[test]
    fn an_outage_is_over_when_what_failed_is_answered() {
        let mut outage = Outage::default();
        let start = outage.answered_so_far(Verb::Claim);
        let miss = Miss { first: (at(0), start), before: start, repeats: 1, is_last: false };
        assert_eq!(outage.failed(Verb::Claim, &error(), &miss, at(100)), Some(Begun::Outage));
        assert_eq!(outage.failed(Verb::Commit, &error(), &miss, at(200)), None, "it is reported already");
        assert_eq!(outage.answered(Verb::ExpiredJobs, || at(300)), None);
        assert_eq!(outage.answered(Verb::Claim, || at(400)), None);
        let times = Times { times: 2, span: Duration::from_millis(500) };
        assert_eq!(outage.answered(Verb::Commit, || at(600)), Some(Over::Outage(times)));
        assert_eq!(outage.answered(Verb::Commit, || at(700)), None);
    }

    #[test]
    fn outages_that_follow_each_other_are_counted_until_it_has_been_quiet() {
        let mut outage = Outage::default();
        let full = Error::new(ErrorKind::NoSpace, "do it");
        let start = outage.answered_so_far(Verb::Insert);
        let miss = Miss { first: (at(0), start), before: start, repeats: 0, is_last: true };
        let (mut begun, mut over) = (Vec::new(), Vec::new());
        for second in 0..100 {
            begun.extend(outage.failed(Verb::Insert, &full, &miss, at(second * 1000)));
            over.extend(outage.answered(Verb::Insert, || at(second * 1000 + 500)));
        }
        assert_eq!(begun, [Begun::Outage, Begun::Relapses]);
        let first = Times { times: 1, span: Duration::from_millis(500) };
        assert_eq!(over, [Over::Outage(first)]);
        assert_eq!(outage.answered(Verb::Insert, || at(158_999)), None);
        let relapses = Times { times: 99, span: Duration::from_secs(98) };
        assert_eq!(outage.answered(Verb::Insert, || at(159_000)), Some(Over::Relapses(relapses)));
        assert_eq!(outage.failed(Verb::Insert, &full, &miss, at(170_000)), Some(Begun::Outage));
    }
}
