//! Bounds the values of a label.

use std::collections::BTreeSet;

/// Stands for all names beyond the bound.
pub(super) const OTHER: &str = "other";

/// The names that have series of their own: the first so many that were met.
#[derive(Debug)]
pub(super) struct Names {
    known: BTreeSet<String>,
    most: usize,
}

impl Names {
    pub(super) fn new(most: usize) -> Self {
        Self { known: BTreeSet::new(), most }
    }

    /// The name itself, or the one that stands for all others.
    pub(super) fn bounded<'a>(&mut self, name: &'a str) -> &'a str {
        if self.known.contains(name) {
            return name;
        }
        if self.known.len() < self.most {
            self.known.insert(name.to_owned());
            return name;
        }
        OTHER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_count_together() {
        let mut names = Names::new(2);
        assert_eq!(["a", "b", "c", "a", "d"].map(|name| names.bounded(name)), ["a", "b", OTHER, "a", OTHER]);
    }
}
