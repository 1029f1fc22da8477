//! The patterns by which `MUTATE` finds jobs: those of Redis, over the JSON of a job.

/// Whether a text fits a pattern. `*` stands for any text, `?` for one byte, `[abc]`, `[^abc]` and `[a-z]` for one byte of a set, and
/// `\` before a character takes its meaning away.
///
/// It takes at most as many steps as pattern and text have bytes, multiplied: only the last `*` is ever tried again.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Behind the last star, and the byte up to which it stretches.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
            continue;
        }
        if read == text.len() && at == pattern.len() {
            return true;
        }
        let next = text.get(read).and_then(|byte| one(&pattern[at.min(pattern.len())..], *byte));
        match (next, star) {
            (Some(taken), _) => {
                at += taken;
                read += 1;
            }
            (None, Some((behind, stretched))) if stretched < text.len() => {
                at = behind;
                read = stretched + 1;
                star = Some((behind, read));
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of the pattern stand for this byte of the text; none if they do not fit it.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', set @ ..] => {
            let (fits, bytes) = in_set(set, byte);
            fits.then_some(bytes + 1)
        }
        [same, ..] => (*same == byte).then_some(1),
    }
}

/// Whether a byte is of a set, and the bytes of the set with its end. A set without an end goes to the end of the pattern.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let is_negated = set.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(is_negated), false);
    loop {
        match &set[at..] {
            [] => return (found != is_negated, at),
            [b']', ..] => return (found != is_negated, at + 1),
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (*from.min(to), *from.max(to));
                found |= (from..=to).contains(&byte);
                at += 3;
            }
            [same, ..] => {
                found |= *same == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_as_redis_has_it() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*a*b*", "xxayybzz", true),
            ("*ab", "aab", true),
            ("?", "", false),
            ("?b?", "abc", true),
            ("[abc]x", "bx", true),
            ("[^abc]x", "bx", false),
            ("[^abc]x", "dx", true),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[a-c]x", "dx", false),
            (r"[\]]", "]", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"\[a\]", "[a]", true),
            ("[ab", "b", true),
            (r#"*\"args\":\[\"fizz\"\]*"#, r#"{"jid":"x","args":["fizz"],"retry":10}"#, true),
            (r#"*\"args\":\[\"fizz\"\]*"#, r#"{"jid":"x","args":["buzz"],"retry":10}"#, false),
            ("*uzz*", r#"{"args":["buzz"]}"#, true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern, text), expected, "{pattern} over {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let (pattern, text) = ("*a".repeat(500) + "b", "a".repeat(20_000));
        assert!(!fits(&pattern, &text));
    }
}
