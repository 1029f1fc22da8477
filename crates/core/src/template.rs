//! Text and JSON with places that are filled in later: `{{name}}`, `{{name | form}}`.
//!
//! In JSON a place stands inside a string. A string that is nothing but one place becomes the value itself: a number for a number,
//! `null` for none. Everything else is passed on byte for byte, so that a number keeps all its digits. `{{{{` stands for `{{`.
//! Which places there are is up to the caller: [schedules](crate::schedule::template) and triggers have their own.

use std::{borrow::Cow, ops::Range};

use crate::{Invalid, Json, schedule::Mistake};

/// JSON that was read for its places.
#[derive(Debug, Clone, PartialEq)]
pub struct Template<P> {
    text: Json,
    /// The strings with a place, in order, by where their JSON stands.
    strings: Vec<(Range<usize>, Vec<Piece<P>>)>,
}

/// Text that was read for its places.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTemplate<P> {
    source: String,
    pieces: Vec<Piece<P>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece<P> {
    Plain(String),
    Place(P),
}

/// Reads what stands between the braces of a place. Fails with what is wrong and the remedy, as the end of "the place …".
pub type ReadPlace<'a, P> = &'a dyn Fn(&str) -> Result<P, String>;

/// The value of a place, as JSON text.
pub type ValueOf<'a, P> = &'a dyn Fn(&P) -> Result<Cow<'a, str>, Invalid>;

impl<P> Template<P> {
    /// Finds the places. The error names the string that is wrong, and the place in it.
    pub fn parse(args: &Json, read: ReadPlace<'_, P>) -> Result<Self, Invalid> {
        let text = args.as_str();
        let mut strings = Vec::new();
        for range in string_values(text) {
            let string: String =
                text.get(range.clone()).map_or(Ok(String::new()), serde_json::from_str).map_err(|error| {
                    Invalid::new(
                        "args template",
                        format!("has a string at byte {} that does not decode: {error}", range.start),
                    )
                })?;
            if !string.contains("{{") {
                continue;
            }
            let pieces = pieces(&string, read).map_err(|mistake| {
                Invalid::new("args template", format!("at byte {} of the args {mistake}", range.start))
            })?;
            strings.push((range, pieces));
        }
        Ok(Self { text: args.clone(), strings })
    }

    /// The JSON with its places filled. Fails as a value does, or if the result is nested too deep.
    pub fn fill(&self, value: ValueOf<'_, P>) -> Result<Json, Invalid> {
        if self.strings.is_empty() {
            return Ok(self.text.clone());
        }
        let mut rest = self.text.as_str();
        let mut begin = 0;
        let mut filled = String::with_capacity(rest.len() + 64);
        for (range, pieces) in &self.strings {
            let (before, after) = rest.split_at(range.start - begin);
            filled.push_str(before);
            match pieces.as_slice() {
                [Piece::Place(place)] => filled.push_str(&value(place)?),
                pieces => filled.push_str(&serde_json::Value::String(text(pieces, value)?).to_string()),
            }
            rest = after.get(range.len()..).unwrap_or("");
            begin = range.end;
        }
        filled.push_str(rest);
        Json::parse(filled)
    }

    /// The JSON as it was written.
    pub fn source(&self) -> &Json {
        &self.text
    }
}

impl<P> TextTemplate<P> {
    /// Finds the places. The error names the one that is wrong.
    pub fn parse(text: &str, read: ReadPlace<'_, P>) -> Result<Self, Mistake> {
        Ok(Self { source: text.to_owned(), pieces: pieces(text, read)? })
    }

    /// The text with its places filled.
    pub fn fill(&self, value: ValueOf<'_, P>) -> Result<String, Invalid> {
        text(&self.pieces, value)
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it has no place, so that it is always the same.
    pub fn is_plain(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Plain(_)))
    }
}

fn text<P>(pieces: &[Piece<P>], value: ValueOf<'_, P>) -> Result<String, Invalid> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Plain(plain) => text.push_str(plain),
            Piece::Place(place) => {
                let json = value(place)?;
                match serde_json::from_str::<String>(&json) {
                    Ok(string) => text.push_str(&string),
                    // Any other value than a string stands there as its JSON.
                    Err(_) => text.push_str(&json),
                }
            }
        }
    }
    Ok(text)
}

/// Where the strings of JSON text stand, quotes included, without the names of fields.
fn string_values(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(begin) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
        let begin = at + begin;
        let mut end = begin + 1;
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        end = (end + 1).min(bytes.len());
        let follows = bytes.get(end..).and_then(|rest| rest.iter().find(|byte| !byte.is_ascii_whitespace()));
        if follows != Some(&b':') {
            strings.push(begin..end);
        }
        at = end;
    }
    strings
}

fn pieces<P>(text: &str, read: ReadPlace<'_, P>) -> Result<Vec<Piece<P>>, Mistake> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find("{{").map(|found| at + found) {
        plain.push_str(&text[at..begin]);
        if text[begin..].starts_with("{{{{") {
            plain.push_str("{{");
            at = begin + 4;
            continue;
        }
        let Some(len) = text[begin..].find("}}") else {
            let why = "opens a place that `}}` does not close; write `{{{{` for two braces";
            return Err(Mistake::new(text, begin..text.len(), why));
        };
        let inside = begin + 2..begin + len;
        let content = text.get(inside.clone()).unwrap_or("");
        let place = read(content).map_err(|why| Mistake::new(text, inside, why))?;
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Place(place));
        at = begin + len + 2;
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    Ok(pieces)
}
