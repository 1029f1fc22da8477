//! The banned words, and what to write instead.

/// Where a text stands: some words are only wrong in pages for users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Source,
    UserPage,
}

/// Single words and phrases, in lower case, each with its remedy.
const BANNED: [(&str, &str); 7] = [
    ("somebody", "name the actor: worker, client, transaction, process, user"),
    ("nobody", "name the actor: `no worker`, `no process`, `no caller`"),
    ("whoever", "name the actor: `a worker that`, `the caller`, `a user who`"),
    ("be it", "write `for example`, or list the cases with `or`"),
    ("anew", "write `again`, or say what is repeated"),
    ("told", "write `notified`, `logged`, `reported`, `asked to stop` or `given`"),
    ("kept", "write `locked`, `deduplicated`, `retained`, `open`, `held` or `stored`"),
];

const LOOK: &str = "write `read`, `query`, `check` or `poll`";
const WORD: &str = "write `message`, `answer` or `text`";
const ROOM: &str = "write `module`, `file`, `crate`, or for a disk `space`";

/// Before one of these, `look` is a noun.
const BEFORE_NOUN: [&str; 10] =
    ["a", "the", "one", "another", "every", "last", "next", "first", "two", "each"];
/// Before one of these, `word` is a message.
const BEFORE_MESSAGE: [&str; 2] = ["last", "own"];

/// Every banned word of a line, as it is written there, with the remedy.
pub(super) fn find(line: &str, place: Place) -> Vec<(String, &'static str)> {
    let words: Vec<(usize, &str)> = words(line);
    let lower: Vec<String> = words.iter().map(|(_, word)| word.to_lowercase()).collect();
    let mut found = Vec::new();
    for (index, (at, word)) in words.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| lower[before].as_str());
        let after = lower.get(index + 1).map(String::as_str);
        if let Some(remedy) = remedy(&lower[index], before, after, place)
            && !is_name_of_account(line, *at, word)
        {
            found.push(((*word).to_owned(), remedy));
        }
    }
    found
}

fn remedy(word: &str, before: Option<&str>, after: Option<&str>, place: Place) -> Option<&'static str> {
    let is_after = |list: &[&str]| before.is_some_and(|before| list.contains(&before));
    match word {
        "look" | "looks" if is_after(&BEFORE_NOUN) => Some(LOOK),
        "word" if is_after(&BEFORE_MESSAGE) => Some(WORD),
        "room" | "rooms" if place == Place::UserPage && before != Some("back") => Some(ROOM),
        _ => BANNED.iter().find_map(|(banned, remedy)| {
            let is_it = match banned.split_once(' ') {
                Some((first, second)) => word == first && after == Some(second),
                None => word == *banned,
            };
            is_it.then_some(*remedy)
        }),
    }
}

/// Whole words, each with its place in bytes. An underscore is part of a word, so that names of code are one.
fn words(line: &str) -> Vec<(usize, &str)> {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '\'';
    let mut words = Vec::new();
    let mut begin = None;
    for (at, letter) in line.char_indices().chain([(line.len(), ' ')]) {
        match (begin, is_of_word(letter)) {
            (None, true) => begin = Some(at),
            (Some(from), false) => {
                words.push((from, &line[from..at]));
                begin = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    words
}

/// `nobody` is an account on Unix: allowed in backticks, and as a whole string literal.
fn is_name_of_account(line: &str, at: usize, word: &str) -> bool {
    word == "nobody"
        && (line == word || (line[..at].ends_with('`') && line[at + word.len()..].starts_with('`')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        find(line, Place::Source).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn whole_words_are_found_and_names_of_code_are_not() {
        assert_eq!(found("Kept by somebody, be it here or there"), ["Kept", "somebody", "be"]);
        assert!(found("is_kept, keeping, retold, maybe it").is_empty());
    }

    #[test]
    fn look_is_found_as_a_noun_only() {
        assert_eq!(found("a look at the row; the next looks"), ["look", "looks"]);
        assert!(found("look at the row; it looks").is_empty());
    }

    #[test]
    fn the_account_nobody_may_be_named() {
        assert!(found("there is no account `nobody`").is_empty());
        assert!(found("nobody").is_empty(), "a whole literal");
        assert_eq!(found("nobody reads it"), ["nobody"]);
    }
}
