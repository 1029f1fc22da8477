//! The secret that a server asks for.

use std::{fmt, path::Path};

use hyper::header::HeaderValue;

use crate::terminal::Problem;

/// An API token. It is never shown, not even by `Debug`.
#[derive(Clone)]
pub(crate) struct Token(HeaderValue);

impl Token {
    /// The token as it was printed when it was created.
    pub(crate) fn new(text: &str) -> Result<Self, Problem> {
        let doing = "use the token";
        let text = text.trim();
        if text.is_empty() {
            return Err(Problem::new(doing, &"it is empty"));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| Problem::new(doing, &"it holds characters that no token has"))?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    /// The token in the first line of a file.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Problem> {
        let doing = format!("read the token from {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| Problem::new(&doing, &error))?;
        Self::new(text.lines().next().unwrap_or_default()).map_err(|problem| problem.at(doing))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
