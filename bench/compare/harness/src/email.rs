//! The job everybody runs.

use serde::{Deserialize, Serialize};

/// About 200 bytes as JSON. It carries its number in `to`, so that a job that was lost or run twice shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// `user<number>@example.com`.
    pub to: String,
    /// Filler.
    pub body: String,
}

/// So that the whole is about 200 bytes.
const BODY_BYTES: usize = 160;

impl Email {
    /// The job with this number.
    pub fn new(number: usize) -> Self {
        Self { to: format!("user{number}@example.com"), body: "x".repeat(BODY_BYTES) }
    }

    /// The jobs with these numbers, in order.
    pub fn many(numbers: std::ops::Range<usize>) -> Vec<Self> {
        numbers.map(Self::new).collect()
    }

    /// The number it carries; none when it was not made by [`Email::new`].
    pub fn number(&self) -> Option<usize> {
        self.to.strip_prefix("user")?.split_once('@')?.0.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_tells_its_number() {
        for number in [0, 7, 123_456] {
            assert_eq!(Email::new(number).number(), Some(number));
        }
        assert_eq!(Email { to: "someone@example.com".into(), body: String::new() }.number(), None);
    }

    #[test]
    fn email_is_about_200_bytes_of_json() {
        let bytes = serde_json::to_string(&Email::new(12_345)).unwrap().len();
        assert!((190..=210).contains(&bytes), "{bytes}");
    }
}
