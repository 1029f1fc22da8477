//! The canonical text: one for each value, however the value is written. It is compared with a second implementation that is
//! slow and simple: it reads a text into a tree and writes numbers out in full.

mod common;

use std::collections::BTreeMap;

use backroom_core::{Json, bounds::JSON_DEPTH_MAX};
use common::json;
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    json(text).canonical().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn texts_of_one_value_have_one_canonical_text() {
    for (texts, expected) in [
        (&["1", "1.0", "1e0", "10e-1", "0.1E+1", "1.000e-0", "0.001e3"][..], "1"),
        (&["0", "-0", "0.0", "-0e7", "0e999999999999999999999", "-0.000"], "0"),
        (&["-12000", "-12e3", "-1.2e4"], "-12e3"),
        (&["0.00012", "12e-5", "1.20E-4"], "12e-5"),
        (&["1e400", "10e399", "0.1e401"], "1e400"),
        (
            &["123456789012345678901234567890", "12345678901234567890123456789e1"],
            "12345678901234567890123456789e1",
        ),
        (&["18446744073709551616", "18446744073709551616.0"], "18446744073709551616"),
        (&["1e999999999999999999999", "10e999999999999999999998"], "1e999999999999999999999"),
        (&["1e1000000000000000000000", "10e999999999999999999999"], "1e1000000000000000000000"),
        (&["1e-1000000000000000000000", "0.1e-999999999999999999999"], "1e-1000000000000000000000"),
        (&["1e+0000000000000000000001", "10", "1e00001"], "1e1"),
        (&[r#""A""#, r#""\u0041""#], r#""A""#),
        (&[r#""/""#, r#""\/""#, r#""\u002f""#, r#""\u002F""#], r#""/""#),
        (&[r#""\n\b\f\r\t""#, r#""\u000a\u0008\u000c\u000d\u0009""#], r#""\u000a\u0008\u000c\u000d\u0009""#),
        (&[r#""\"\\""#, r#""\u0022\u005c""#], r#""\"\\""#),
        (&[r#""😀""#, r#""\ud83d\ude00""#, r#""\uD83D\uDE00""#], r#""😀""#),
        (&[r#""\ud83d""#, r#""\uD83D""#], r#""\ud83d""#),
        (&[r#""\ude00\ud83d""#], r#""\ude00\ud83d""#),
        (&[r#""\ud83d\ud83d\ude00""#, r#""\ud83d😀""#], r#""\ud83d😀""#),
        (&[r#""\ud83dx\ude00""#], r#""\ud83dx\ude00""#),
        (&[r#"{"b":1,"a":2}"#, " { \"a\" : 2.0 , \"\\u0062\" : 1 } "], r#"{"a":2,"b":1}"#),
        (&[r#"{"a":1,"b":0,"a":2}"#, r#"{"b":0,"a":1,"\u0061":2}"#], r#"{"a":1,"a":2,"b":0}"#),
        (&["[ ]", "[]"], "[]"),
        (&["{ }", "{}"], "{}"),
        (&["[[],{},[true,false ,null]]"], "[[],{},[true,false,null]]"),
    ] {
        for text in texts {
            assert_eq!(canonical(text), expected, "of {text}");
        }
        assert_eq!(canonical(expected), expected);
    }
}

#[test]
fn values_that_differ_in_one_digit_or_one_field_stay_apart() {
    let texts = [
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551617",
        "0.1",
        "0.1000000000000000055511151231257827",
        "1e400",
        "1e401",
        "-1e400",
        "1e-400",
        "0",
        "\"0\"",
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\\ud83d""#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":2,"a":1}"#,
        r#"{"a":2}"#,
        r#"{"a":1}"#,
        r#"{"a,":1}"#,
    ];
    for (index, a) in texts.iter().enumerate() {
        for b in &texts[..index] {
            assert_ne!(canonical(a), canonical(b), "{a} and {b}");
        }
    }
}

#[test]
fn no_number_is_written_out() {
    let digits = "9".repeat(100_000);
    for text in [format!("1e{digits}"), format!("1e-{digits}"), format!("0.{digits}"), "1e999999999".into()] {
        let length = canonical(&text).len();
        assert!(length <= text.len() + 8, "{} bytes became {length}", text.len());
    }
}

#[test]
fn depth_is_bounded_in_text_from_a_store() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    Json::stored(nested(JSON_DEPTH_MAX)).unwrap().canonical().expect("allowed");
    let deep = Json::stored(nested(100_000)).unwrap();
    let said = deep.canonical().expect_err("too deep").to_string();
    assert!(said.contains("at most 100 levels"), "{said}");
}

#[test]
fn pretty_text_changes_nothing_but_white_space() {
    let text = r#" {"id":123456789012345678901234567890,"a":[1.0,"\u0041,:{ \" \\",[],{ }],"id":-0} "#;
    let expected = r#"{
  "id": 123456789012345678901234567890,
  "a": [
    1.0,
    "\u0041,:{ \" \\",
    [],
    {}
  ],
  "id": -0
}"#;
    assert_eq!(json(text).pretty(), expected);
    assert_eq!(json(" 7").pretty(), "7");
    assert_eq!(json(r#""a b""#).pretty(), r#""a b""#);
}

/// A value as the slow implementation reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slow {
    Literal(String),
    /// The digits of the whole number and those of the fraction, written out.
    Number(bool, String, String),
    Text(Vec<u16>),
    Items(Vec<Slow>),
    Fields(BTreeMap<Vec<u16>, Vec<Slow>>),
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn read(text: &str) -> Slow {
        Self { chars: text.chars().collect(), at: 0 }.value()
    }

    fn next(&mut self) -> char {
        self.at += 1;
        self.chars[self.at - 1]
    }

    fn peek(&mut self) -> char {
        while self.chars[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
        self.chars[self.at]
    }

    fn value(&mut self) -> Slow {
        match self.peek() {
            '{' => {
                let mut fields: BTreeMap<Vec<u16>, Vec<Slow>> = BTreeMap::new();
                self.each('}', |reader| {
                    reader.peek();
                    let name = reader.text();
                    assert_eq!((reader.peek(), reader.next()), (':', ':'));
                    let value = reader.value();
                    fields.entry(name).or_default().push(value);
                });
                Slow::Fields(fields)
            }
            '[' => {
                let mut items = Vec::new();
                self.each(']', |reader| items.push(reader.value()));
                Slow::Items(items)
            }
            '"' => Slow::Text(self.text()),
            _ => {
                let end = self.chars[self.at..].iter().position(|char| " \t\r\n,]}".contains(*char));
                let end = end.map_or(self.chars.len(), |end| self.at + end);
                let literal: String = self.chars[self.at..end].iter().collect();
                self.at = end;
                if literal.starts_with(char::is_alphabetic) {
                    Slow::Literal(literal)
                } else {
                    number(&literal)
                }
            }
        }
    }

    fn each(&mut self, close: char, mut item: impl FnMut(&mut Self)) {
        self.next();
        while self.peek() != close {
            item(self);
            if self.peek() == ',' {
                self.next();
            }
        }
        self.next();
    }

    fn text(&mut self) -> Vec<u16> {
        let mut units = Vec::new();
        self.next();
        loop {
            let char = match self.next() {
                '"' => return units,
                '\\' => match self.next() {
                    'u' => {
                        let digits: String = (0..4).map(|_| self.next()).collect();
                        units.push(u16::from_str_radix(&digits, 16).expect("four hexadecimal digits"));
                        continue;
                    }
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    char => char,
                },
                char => char,
            };
            units.extend(char.encode_utf16(&mut [0; 2]).iter());
        }
    }
}

/// Moves the point digit by digit: only for small exponents.
fn number(text: &str) -> Slow {
    let text = text.to_lowercase();
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_negative = whole.starts_with('-');
    let (mut whole, mut fraction) = (whole.trim_start_matches('-').to_owned(), fraction.to_owned());
    let exponent: i32 = exponent.parse().expect("a small exponent");
    for _ in 0..exponent {
        whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
    }
    for _ in exponent..0 {
        fraction.insert(0, whole.pop().unwrap_or('0'));
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let is_zero = whole.is_empty() && fraction.is_empty();
    Slow::Number(is_negative && !is_zero, whole.into(), fraction.into())
}

/// Texts from so few characters that two of them often mean the same.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a", "b", "\\u0061", "é", "\\u00e9", "\\u00E9", "\\ud83d", "\\uDE00", "😀", "\\n", "\\u000a", "\\/",
        "/", "\\\\", "\\\"", "\\u0022", "\\u0000", ",", "{",
    ]);
    prop::collection::vec(pieces, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number_text() -> impl Strategy<Value = String> {
    "-?(0|[12]0{0,2}|[12]{1,22})(\\.[012]0{0,2})?([eE][+-]?0?[0-3])?"
}

fn value_text() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", " ", "\n", "\t\r"]);
    let literal = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    let leaf = prop_oneof![literal, number_text(), number_text(), text()];
    leaf.prop_recursive(3, 16, 3, move |inner| {
        let spaced =
            (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let field = (text(), space(), spaced.clone())
            .prop_map(|(name, space, value)| format!("{name}{space}:{value}"));
        prop_oneof![
            prop::collection::vec(spaced, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn two_values_are_equal_exactly_if_their_canonical_texts_are(a in value_text(), b in value_text()) {
        prop_assert_eq!(Reader::read(&a) == Reader::read(&b), canonical(&a) == canonical(&b), "{} and {}", a, b);
    }

    #[test]
    fn two_numbers_are_equal_exactly_if_their_canonical_texts_are(a in number_text(), b in number_text()) {
        prop_assert_eq!(number(&a) == number(&b), canonical(&a) == canonical(&b), "{} and {}", a, b);
    }

    #[test]
    fn two_texts_are_equal_exactly_if_their_canonical_texts_are(a in text(), b in text()) {
        prop_assert_eq!(Reader::read(&a) == Reader::read(&b), canonical(&a) == canonical(&b), "{} and {}", a, b);
    }

    #[test]
    fn the_canonical_text_means_the_same_and_is_its_own(text in value_text()) {
        let canonical_text = canonical(&text);
        prop_assert_eq!(Reader::read(&canonical_text), Reader::read(&text), "{}", text);
        prop_assert_eq!(&canonical(&canonical_text), &canonical_text);
    }

    #[test]
    fn the_pretty_text_means_the_same(text in value_text()) {
        let pretty = json(&text).pretty();
        prop_assert_eq!(Reader::read(&pretty), Reader::read(&text), "{}", &pretty);
        let dense = |text: &str| text.split_ascii_whitespace().collect::<String>();
        prop_assert_eq!(dense(&pretty), dense(&text));
    }
}
