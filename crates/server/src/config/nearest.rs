//! Which known name a mistyped one is nearest to.

/// The nearest of the known names, if it is near enough to be meant.
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|name| (distance(typed, name), name));
    let (edits, name) = near.min_by_key(|(edits, _)| *edits)?;
    let most = (typed.chars().count().max(name.chars().count()) / 3).max(1);
    (edits <= most).then_some(name)
}

/// How many characters must be added, removed or replaced to turn one name into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, from) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, to) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_near_and_another_word_is_not() {
        let known = ["listen", "limits.body_bytes", "limits.body_time"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("limits.body_byte", known), Some("limits.body_bytes"));
        assert_eq!(nearest("colour", known), None);
    }
}
