//! Reads that failed: the checks that need them say so, and all others are made.

use std::collections::BTreeMap;

use backroom::{Error, HealthCheck};

use super::check::not_made;

/// What could not be read, each with the reason.
#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<&'static str, String>);

impl Unread {
    /// What was read; nothing, and a note of it, if that failed.
    pub(super) fn or_none<T: Default>(&mut self, what: &'static str, read: Result<T, Error>) -> T {
        read.unwrap_or_else(|error| {
            self.0.insert(what, error.to_string());
            T::default()
        })
    }

    /// The check, unless something it needs is missing.
    pub(super) fn unless(&self, check: HealthCheck, needs: &[&str]) -> HealthCheck {
        match needs.iter().find_map(|need| self.0.get(need)) {
            Some(why) => not_made(&check.name, why),
            None => check,
        }
    }
}

#[cfg(test)]
mod tests {
    use backroom::ErrorKind;

    use super::*;

    #[test]
    fn a_check_that_misses_something_says_so_and_the_others_stand() {
        let mut unread = Unread::default();
        let queues: Vec<u8> =
            unread.or_none("queues", Err(Error::new(ErrorKind::Unavailable, "the disk is away")));
        assert!(queues.is_empty());
        assert_eq!(unread.or_none("workers", Ok(7)), 7);
        let passed = HealthCheck { name: "c".into(), ok: true, found: "well".into() };
        assert_eq!(unread.unless(passed.clone(), &["workers"]), passed);
        let missed = unread.unless(passed, &["workers", "queues"]);
        assert!(!missed.ok && missed.found.contains("the disk is away"), "{missed:?}");
    }
}
