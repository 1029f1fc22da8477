//! Files that changed and have not been still for long enough. Pure: readings of a monotonic clock go in.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::ledger::Print;

/// Most files that are watched until they settle. Further ones are found by the next scan.
const UNSETTLED_MAX: usize = 10_000;

/// Files that are watched until they settle.
#[derive(Debug, Default)]
pub(super) struct Settling {
    files: HashMap<String, Unsettled>,
    /// When each is to be looked at, the first one first; entries of files that moved on since are skipped.
    due: BTreeMap<(Duration, String), ()>,
}

#[derive(Debug, Clone, Copy)]
struct Unsettled {
    print: Option<Print>,
    /// Since when it has had this print.
    since: Duration,
    /// Since when it is watched.
    watched_since: Duration,
    due: Duration,
}

impl Settling {
    /// A file was seen with this print. Answers whether it is watched now.
    pub(super) fn saw(&mut self, key: &str, print: Option<Print>, now: Duration, settle: Duration) -> bool {
        let known = self.files.get(key).copied();
        if known.is_none() && self.files.len() >= UNSETTLED_MAX {
            return false;
        }
        let is_still = known.is_some_and(|known| known.print == print);
        let since = known.filter(|_| is_still).map_or(now, |known| known.since);
        let due = since.saturating_add(settle);
        if let Some(known) = known {
            self.due.remove(&(known.due, key.to_owned()));
        }
        let watched_since = known.map_or(now, |known| known.watched_since);
        self.files.insert(key.to_owned(), Unsettled { print, since, watched_since, due });
        self.due.insert((due, key.to_owned()), ());
        true
    }

    /// When the next file is to be looked at.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.keys().next().map(|(due, _)| *due)
    }

    /// Files that have been still for long enough if they still have this print.
    pub(super) fn due(&self, now: Duration, limit: usize) -> Vec<(String, Option<Print>)> {
        let due = self.due.keys().take_while(|(due, _)| *due <= now).take(limit);
        due.map(|(_, key)| (key.clone(), self.files.get(key).and_then(|file| file.print))).collect()
    }

    /// The file is settled, or gone.
    pub(super) fn forget(&mut self, key: &str) {
        if let Some(known) = self.files.remove(key) {
            self.due.remove(&(known.due, key.to_owned()));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The file that has been watched for the longest time, and for how long.
    pub(super) fn oldest(&self, now: Duration) -> Option<(&str, Duration)> {
        let oldest = self.files.iter().min_by_key(|(_, file)| file.watched_since)?;
        Some((oldest.0, now.saturating_sub(oldest.1.watched_since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn print(size: u64) -> Option<Print> {
        Some(Print { modified_ns: 0, size, inode: 1, touched_ns: 0 })
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_file_is_settled_when_it_has_been_still_for_long_enough() {
        let mut settling = Settling::default();
        let settle = secs(2);
        settling.saw("a", print(1), secs(10), settle);
        settling.saw("a", print(2), secs(11), settle);
        settling.saw("a", print(2), secs(12), settle);
        assert_eq!(settling.next_due(), Some(secs(13)));
        assert_eq!(settling.due(secs(12), 9), []);
        assert_eq!(settling.due(secs(13), 9), [("a".to_owned(), print(2))]);
        assert_eq!(settling.oldest(secs(13)), Some(("a", secs(3))));
        settling.forget("a");
        assert_eq!((settling.next_due(), settling.len()), (None, 0));
    }

    #[test]
    fn no_more_files_are_watched_than_the_bound_allows() {
        let mut settling = Settling::default();
        for n in 0..UNSETTLED_MAX {
            assert!(settling.saw(&n.to_string(), print(1), secs(1), secs(1)));
        }
        assert!(!settling.saw("one more", print(1), secs(1), secs(1)));
        assert!(settling.saw("7", print(2), secs(1), secs(1)), "one that is watched already");
        assert_eq!(settling.due(secs(9), 3).len(), 3);
    }
}
