//! The canonical text of a JSON value: two texts that mean the same value have the same canonical text, and two that
//! mean different values never do. Unique keys are hashes of it.
//!
//! The walk reads the text itself. A tree of values between them would lose what it cannot hold: digits beyond 64 bits,
//! numbers like `1e400`, half a surrogate pair, the first of two fields of one name.

use super::Json;
use crate::{Invalid, bounds::JSON_DEPTH_MAX};

impl Json {
    /// The canonical text. It is JSON again, and its own canonical text.
    ///
    /// - White space is left out.
    /// - Fields of an object stand in a fixed order. Fields of one name all stay, in the order in which they came. The
    ///   reader chooses which of them counts.
    /// - Texts are compared by their characters, not by how they are escaped: `"\u0041"` is `"A"`. Half a surrogate pair
    ///   stays an escape.
    /// - Numbers are compared as exact decimals of any size: `1`, `1.0`, `10e-1` are one number, and so are `0` and
    ///   `-0`. Nothing is rounded, and no exponent is written out.
    ///
    /// Fails if the value is nested deeper than [`JSON_DEPTH_MAX`].
    pub fn canonical(&self) -> Result<String, Invalid> {
        let mut walk = Walk::over(self);
        walk.value(JSON_DEPTH_MAX)?;
        Ok(walk.out)
    }

    /// The canonical text of the object that holds only these fields of this one; a missing field counts as `null`.
    /// Fails if this is no object.
    pub(crate) fn canonical_fields(&self, names: &[String]) -> Result<String, Invalid> {
        let mut walk = Walk::over(self);
        if walk.peek() != Some(b'{') {
            return Err(Invalid::new("unique fields", "need args that are a JSON object"));
        }
        let fields = walk.fields(JSON_DEPTH_MAX)?;
        let mut names: Vec<String> = names.iter().map(|name| canonical_text(name)).collect();
        names.sort_unstable();
        names.dedup();
        let mut chosen = String::from("{");
        for name in &names {
            let mut found = fields.iter().filter(|field| walk.name(field) == name).peekable();
            if found.peek().is_none() {
                push_item(&mut chosen, &format!("{name}:null"));
            }
            found.for_each(|field| push_item(&mut chosen, walk.field(field)));
        }
        chosen.push('}');
        Ok(chosen)
    }
}

/// Where one field stands in the text written so far.
struct Field {
    start: usize,
    name_end: usize,
    end: usize,
}

/// One pass over a valid text, writing the canonical one.
struct Walk<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Walk<'a> {
    fn over(json: &'a Json) -> Self {
        Self { rest: json.as_str(), out: String::with_capacity(json.as_str().len()) }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest.bytes().next()
    }

    /// Steps over `byte` if it comes next.
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    fn value(&mut self, levels: usize) -> Result<(), Invalid> {
        match self.peek() {
            Some(b'{') => {
                let start = self.out.len();
                let fields = self.fields(levels)?;
                self.sort(start, fields);
                Ok(())
            }
            Some(b'[') => self.items(levels),
            Some(b'"') => self.text(),
            Some(b'-' | b'0'..=b'9') => {
                let number =
                    self.take_while(|byte| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t'..=b'\r'));
                write_number(number, &mut self.out);
                Ok(())
            }
            // `true`, `false`, `null`.
            Some(b't' | b'f' | b'n') => {
                let literal = self.take_while(|byte| byte.is_ascii_lowercase());
                self.out.push_str(literal);
                Ok(())
            }
            Some(_) | None => Err(broken()),
        }
    }

    fn items(&mut self, levels: usize) -> Result<(), Invalid> {
        let inner = levels.checked_sub(1).ok_or_else(too_deep)?;
        self.skip(b'[');
        self.out.push('[');
        if !self.skip(b']') {
            loop {
                self.value(inner)?;
                if self.skip(b']') {
                    break;
                }
                self.expect(b',')?;
                self.out.push(',');
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// Writes the fields of an object one behind the other as they come, and answers where each of them stands.
    fn fields(&mut self, levels: usize) -> Result<Vec<Field>, Invalid> {
        let inner = levels.checked_sub(1).ok_or_else(too_deep)?;
        self.skip(b'{');
        let mut fields = Vec::new();
        if self.skip(b'}') {
            return Ok(fields);
        }
        loop {
            let start = self.out.len();
            self.peek();
            self.text()?;
            let name_end = self.out.len();
            self.expect(b':')?;
            self.out.push(':');
            self.value(inner)?;
            fields.push(Field { start, name_end, end: self.out.len() });
            if self.skip(b'}') {
                return Ok(fields);
            }
            self.expect(b',')?;
        }
    }

    /// Puts the fields written since `start` into order. The sort is stable: fields of one name keep theirs.
    fn sort(&mut self, start: usize, mut fields: Vec<Field>) {
        fields.sort_by(|one, other| self.name(one).cmp(self.name(other)));
        let mut object = String::with_capacity(self.out.len() - start + fields.len() + 2);
        object.push('{');
        fields.iter().for_each(|field| push_item(&mut object, self.field(field)));
        object.push('}');
        self.out.truncate(start);
        self.out.push_str(&object);
    }

    fn name(&self, field: &Field) -> &str {
        &self.out[field.start..field.name_end]
    }

    fn field(&self, field: &Field) -> &str {
        &self.out[field.start..field.end]
    }

    /// A text, from its opening to its closing quote.
    fn text(&mut self) -> Result<(), Invalid> {
        self.rest = self.rest.strip_prefix('"').ok_or_else(broken)?;
        self.out.push('"');
        loop {
            let plain = self.rest.find(['"', '\\']).ok_or_else(broken)?;
            self.out.push_str(&self.rest[..plain]);
            self.rest = &self.rest[plain..];
            if let Some(rest) = self.rest.strip_prefix('"') {
                self.rest = rest;
                self.out.push('"');
                return Ok(());
            }
            self.escape()?;
        }
    }

    /// What a backslash begins.
    fn escape(&mut self) -> Result<(), Invalid> {
        if let Some(unit) = self.unit() {
            let pair = |high: u16, low: u16| char::decode_utf16([high, low]).next().and_then(Result::ok);
            if let Some(char) = char::from_u32(unit.into()) {
                push_char(&mut self.out, char);
                return Ok(());
            }
            let before = self.rest;
            match self.unit().and_then(|low| pair(unit, low)) {
                Some(char) => push_char(&mut self.out, char),
                None => {
                    self.rest = before;
                    self.out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            return Ok(());
        }
        let mut chars = self.rest.chars();
        let char = match (chars.next(), chars.next()) {
            (Some('\\'), Some('b')) => '\u{8}',
            (Some('\\'), Some('f')) => '\u{c}',
            (Some('\\'), Some('n')) => '\n',
            (Some('\\'), Some('r')) => '\r',
            (Some('\\'), Some('t')) => '\t',
            (Some('\\'), Some(char @ ('"' | '\\' | '/'))) => char,
            _ => return Err(broken()),
        };
        self.rest = chars.as_str();
        push_char(&mut self.out, char);
        Ok(())
    }

    /// The UTF-16 unit of an escape `\uXXXX`, if one comes next.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest.strip_prefix("\\u")?.get(..4)?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        self.rest = &self.rest[6..];
        Some(unit)
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|byte| !belongs(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.skip(byte) { Ok(()) } else { Err(broken()) }
    }
}

/// Adds one field to an object that has no closing bracket yet.
fn push_item(object: &mut String, field: &str) {
    if object.len() > 1 {
        object.push(',');
    }
    object.push_str(field);
}

/// The canonical text of a text.
fn canonical_text(text: &str) -> String {
    let mut out = String::from("\"");
    text.chars().for_each(|char| push_char(&mut out, char));
    out.push('"');
    out
}

/// A character of a text, escaped only where JSON demands it.
fn push_char(out: &mut String, char: char) {
    match char {
        '"' | '\\' => out.extend(['\\', char]),
        '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
        _ => out.push(char),
    }
}

/// A number as its digits without zeros at either end, and the power of ten they are multiplied with.
fn write_number(number: &str, out: &mut String) {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole, fraction].concat();
    let without_end = digits.trim_end_matches('0');
    let significant = without_end.trim_start_matches('0');
    if significant.is_empty() {
        out.push('0');
        return;
    }
    out.push_str(sign);
    out.push_str(significant);
    let exponent = sum(exponent, count(digits.len() - without_end.len()) - count(fraction.len()));
    if exponent != "0" {
        out.push('e');
        out.push_str(&exponent);
    }
}

/// No text in memory is longer than this can count.
fn count(digits: usize) -> i64 {
    i64::try_from(digits).unwrap_or(i64::MAX)
}

/// `exponent + by`. The exponent is outside input and may have more digits than any integer type.
fn sum(exponent: &str, by: i64) -> String {
    let (is_negative, digits) = match exponent.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    let digits = digits.trim_start_matches('0');
    let by = if is_negative { -by } else { by };
    // Eighteen digits and a sum of lengths fit into 64 bits.
    if digits.len() <= 18 {
        let sum = digits.parse::<i64>().unwrap_or(0) + by;
        return if is_negative { -sum } else { sum }.to_string();
    }
    // The exponent is larger than what is added to it, so its sign stays.
    let mut carry = by;
    let mut sum: Vec<char> = Vec::with_capacity(digits.len() + 1);
    for digit in digits.bytes().rev() {
        let place = i64::from(digit - b'0') + carry;
        sum.push(char::from(b'0' + u8::try_from(place.rem_euclid(10)).unwrap_or(0)));
        carry = place.div_euclid(10);
    }
    if carry > 0 {
        sum.push('1');
    }
    let sum: String = sum.into_iter().rev().collect();
    format!("{}{}", if is_negative { "-" } else { "" }, sum.trim_start_matches('0'))
}

fn too_deep() -> Invalid {
    Invalid::new("JSON", format!("is nested too deep; at most {JSON_DEPTH_MAX} levels are allowed"))
}

/// The text of a [`Json`] was checked when it was made, so this would be a bug. It must not end the worker's process.
fn broken() -> Invalid {
    Invalid::new("JSON", "does not parse: this is a bug in Backroom")
}
