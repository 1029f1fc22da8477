//! Patterns of names: `*.jpg`, `orders/**/*.csv`.

/// A pattern. `*` and `?` stand for any characters but `/`, `**` for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a relative path fits. A pattern without `/` is compared with the name alone.
    pub(crate) fn fits(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let text = if self.0.contains('/') { path } else { name };
        fits(self.0.as_bytes(), text.as_bytes())
    }
}

/// Where the pattern continues behind a star, and how far the text was taken by it.
type Star = Option<(usize, usize)>;

/// Compares without recursion: on a mismatch it goes back to the last star and lets it take one more byte.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` and the last `**` continue, and how far each reaches.
    let (mut star, mut double): (Star, Star) = (None, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') if pattern.get(p + 1) == Some(&b'*') => {
                // `**/` also stands for no folder at all.
                p += if pattern.get(p + 2) == Some(&b'/') { 3 } else { 2 };
                (double, star) = (Some((p, t)), None);
            }
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
            }
            Some(b'?') if text[t] != b'/' => (p, t) = (p + 1, t + 1),
            Some(sign) if *sign == text[t] && *sign != b'?' => (p, t) = (p + 1, t + 1),
            _ => {
                let back = match (star, double) {
                    (Some((after, reached)), _) if text[reached] != b'/' => {
                        star = Some((after, reached + 1));
                        (after, reached + 1)
                    }
                    (_, Some((after, reached))) => {
                        (double, star) = (Some((after, reached + 1)), None);
                        (after, reached + 1)
                    }
                    _ => return false,
                };
                (p, t) = back;
            }
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|sign| *sign == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_or_whole_paths() {
        for (pattern, path, fit) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "in/a.jpg", true),
            ("*.jpg", "a.jpg.part", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("in/*.csv", "in/a.csv", true),
            ("in/*.csv", "in/b/a.csv", false),
            ("in/**/*.csv", "in/b/c/a.csv", true),
            ("in/**/*.csv", "in/a.csv", true),
            ("**/x/*", "a/b/x/c", true),
            ("**/x/*", "x/c", true),
            ("*", "anything", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(path), fit, "{pattern} {path}");
        }
    }
}
