//! Which kinds a worker takes.

/// Which kinds a worker takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kinds {
    /// These, for which it has handlers.
    Of(Vec<String>),
    /// All but these: of a worker that passes jobs on to programs which know their kinds themselves.
    AnyBut(Vec<String>),
}

impl Kinds {
    /// Whether jobs of this kind are taken.
    pub fn includes(&self, kind: &str) -> bool {
        let is_named = self.names().iter().any(|name| name == kind);
        is_named != self.is_any_but()
    }

    /// The kinds that are named: those that are taken, or those that are left out.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Of(names) | Self::AnyBut(names) => names,
        }
    }

    /// Whether the names are those that are left out.
    pub const fn is_any_but(&self) -> bool {
        match self {
            Self::Of(_) => false,
            Self::AnyBut(_) => true,
        }
    }
}

impl Default for Kinds {
    /// None.
    fn default() -> Self {
        Self::Of(Vec::new())
    }
}

impl From<Vec<String>> for Kinds {
    fn from(names: Vec<String>) -> Self {
        Self::Of(names)
    }
}

impl FromIterator<String> for Kinds {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self::Of(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_taken_because_they_are_named_or_because_they_are_not_left_out() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        for (kind, is_named) in [("a", true), ("b", true), ("ab", false), ("", false)] {
            assert_eq!(Kinds::Of(names()).includes(kind), is_named, "{kind}");
            assert_eq!(Kinds::AnyBut(names()).includes(kind), !is_named, "{kind}");
        }
        assert!(!Kinds::default().includes("a") && Kinds::AnyBut(Vec::new()).includes("a"));
    }
}
