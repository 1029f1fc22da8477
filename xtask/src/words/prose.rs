//! What of a file is prose: comments and string literals of Rust, or a whole page.

/// Every line of a page, numbered from 1.
pub(super) fn of_page(text: &str) -> Vec<(usize, String)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect()
}

/// What a letter of Rust source is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    LineComment,
    /// With the number of those it is nested in.
    BlockComment(u32),
    Text,
    /// A raw string, with the number of `#` that end it.
    RawText(usize),
}

/// Comments and string literals, one entry for each line of each, with the number of the line.
pub(super) fn of_rust(source: &str) -> Vec<(usize, String)> {
    let letters: Vec<char> = source.chars().collect();
    let follows =
        |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| letters.get(at + i) == Some(&c));
    let (mut part, mut line, mut at) = (Part::Code, 1, 0);
    let (mut prose, mut current) = (Vec::new(), String::new());
    while at < letters.len() {
        let letter = letters[at];
        // How many letters this step takes, and what follows them.
        let (taken, next) = match part {
            Part::Code if follows(at, "//") => (2, Part::LineComment),
            Part::Code if follows(at, "/*") => (2, Part::BlockComment(0)),
            Part::Code if letter == '"' => (1, Part::Text),
            Part::Code => match raw_string(&letters, at) {
                Some((taken, hashes)) => (taken, Part::RawText(hashes)),
                None => (code(&letters, at), Part::Code),
            },
            Part::LineComment if letter == '\n' => (1, Part::Code),
            Part::BlockComment(depth) if follows(at, "/*") => (2, Part::BlockComment(depth + 1)),
            Part::BlockComment(0) if follows(at, "*/") => (2, Part::Code),
            Part::BlockComment(depth) if follows(at, "*/") => (2, Part::BlockComment(depth - 1)),
            Part::Text if letter == '\\' => (2, Part::Text),
            Part::Text if letter == '"' => (1, Part::Code),
            Part::RawText(hashes) if letter == '"' && follows(at + 1, &"#".repeat(hashes)) => {
                (1 + hashes, Part::Code)
            }
            Part::LineComment | Part::BlockComment(_) | Part::Text | Part::RawText(_) => (1, part),
        };
        let end = (at + taken).min(letters.len());
        for &taken in &letters[at..end] {
            let is_inside = part != Part::Code && next == part;
            if is_inside && taken != '\n' {
                // An escape is a letter that parts words.
                current.push(if letter == '\\' && part == Part::Text { ' ' } else { taken });
            }
            if (taken == '\n' || !is_inside) && !current.is_empty() {
                prose.push((line, std::mem::take(&mut current)));
            }
            line += usize::from(taken == '\n');
        }
        (part, at) = (next, end);
    }
    if !current.is_empty() {
        prose.push((line, current));
    }
    prose
}

/// Letters of code to pass over: more than one for a name and for a literal of a character.
fn code(letters: &[char], at: usize) -> usize {
    let is_of_name =
        |at: usize| letters.get(at).is_some_and(|letter| letter.is_alphanumeric() || *letter == '_');
    if is_of_name(at) {
        // Up to the end of the name, so that the `r` of `for` begins no raw string.
        return (at..).take_while(|at| is_of_name(*at)).count();
    }
    match (letters[at], letters.get(at + 1), letters.get(at + 2)) {
        // '\'' and '\u{…}': up to the closing quote behind the escaped letter.
        ('\'', Some('\\'), Some(_)) => {
            let rest = letters.iter().skip(at + 3).position(|letter| *letter == '\'');
            rest.map_or(1, |rest| rest + 4)
        }
        ('\'', Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

/// `r"`, `r#"`, `br#"`, `cr"`: how many letters begin it, and how many `#` end it.
fn raw_string(letters: &[char], at: usize) -> Option<(usize, usize)> {
    let prefix = usize::from(matches!(letters.get(at), Some('b' | 'c')));
    if letters.get(at + prefix) != Some(&'r') {
        return None;
    }
    let hashes = letters.iter().skip(at + prefix + 1).take_while(|letter| **letter == '#').count();
    (letters.get(at + prefix + 1 + hashes) == Some(&'"')).then_some((prefix + hashes + 2, hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose(source: &str) -> Vec<(usize, String)> {
        of_rust(source).into_iter().map(|(line, text)| (line, text.trim().to_owned())).collect()
    }

    #[test]
    fn comments_and_literals_are_prose_with_their_lines() {
        let source = "fn a() {} // one\n/* two\n/* three */ four */\nlet b = \"five\\n six\";\nlet c = r#\"se\"ven\"#;\n";
        let wanted = [(1, "one"), (2, "two"), (3, "three"), (3, "four"), (4, "five  "), (5, "se\"ven")];
        let found = prose(source);
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for ((line, text), (wanted_line, wanted)) in found.iter().zip(wanted) {
            assert_eq!(*line, wanted_line, "{text}");
            assert!(text.starts_with(wanted.trim()), "{text}");
        }
    }

    #[test]
    fn lifetimes_and_characters_open_no_literal() {
        assert!(
            prose("fn a<'a>(b: &'a str) { let c = '\"'; let d = '\\''; let e = '\\u{1}'; for r in b {} }")
                .is_empty()
        );
    }

    #[test]
    fn a_name_that_ends_in_r_begins_no_raw_string() {
        assert_eq!(prose("for x in var\"\" {} // end"), [(1, "end".to_owned())]);
    }
}
