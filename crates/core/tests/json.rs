//! JSON text: stored unchanged, refused if it is not one value or too deep to be read back.

mod common;

use backroom_core::{Json, bounds::JSON_DEPTH_MAX};
use common::{json, queued};
use proptest::prelude::*;
use serde_json::Value;

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn text_is_stored_unchanged() {
    for text in [
        r#"{"b":1,"a":2}"#,
        "{ \"a\" : [ 1 , 2 ] }",
        "1.0",
        "1e400",
        "-0",
        "123456789012345678901234567890",
        r#""\u0000 é 図 \ud83d\ude00""#,
        "\"é 図 😀\"",
        r#"{"a":1,"a":2}"#,
        "null",
    ] {
        let parsed = json(text);
        assert_eq!(parsed.as_str(), text);
        assert_eq!((parsed.to_string(), format!("{parsed:?}")), (text.to_owned(), text.to_owned()));
        assert_eq!(Json::stored(text.to_owned()).expect("was parsed before"), parsed);
        assert_eq!(serde_json::to_string(&parsed).expect("encodes"), text);
        assert_eq!(serde_json::from_str::<Json>(text).expect("decodes"), parsed);
    }
    assert_eq!(json(" 1\n").as_str(), "1");
    assert_eq!(Json::null().as_str(), "null");
}

#[test]
fn what_is_not_one_value_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{a:1}",
        "1 2",
        "nul",
        "NaN",
        "01",
        "\"a",
        "\"\u{0}\"",
        "\"\n\"",
        r#""\ud83d""#,
        "'a'",
        "\u{feff}1",
    ] {
        // A lone half of a surrogate pair is grammatical; it shows only when the text is decoded.
        let Ok(parsed) = Json::parse(text) else { continue };
        assert_eq!(text, r#""\ud83d""#, "{text:?} passed");
        parsed.decode::<String>().expect_err("a lone surrogate is no text");
    }
    let said = Json::parse("{").expect_err("cut off").to_string();
    assert!(said.starts_with("JSON does not parse: EOF"), "{said}");
}

#[test]
fn nesting_is_allowed_up_to_its_bound() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deepest = json(&nested(open, close, JSON_DEPTH_MAX));
        deepest.decode::<Value>().expect("the deepest allowed text can be read back");
        for depth in [JSON_DEPTH_MAX + 1, 127, 128, 129, 100_000] {
            let text = nested(open, close, depth);
            let said = Json::parse(text.clone()).expect_err("too deep").to_string();
            assert!(said.contains(&format!("nested {depth} deep; at most {JSON_DEPTH_MAX}")), "{said}");
            serde_json::from_str::<Json>(&text).expect_err("too deep on this path as well");
        }
    }
}

#[test]
fn encoding_refuses_what_parsing_refuses() {
    let mut deep = Value::Null;
    for _ in 0..=JSON_DEPTH_MAX {
        deep = Value::Array(vec![deep]);
    }
    Json::encode(&deep).expect_err("too deep");
    let keyed: std::collections::BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    let said = Json::encode(&keyed).expect_err("a key that is no text").to_string();
    assert!(said.starts_with("value does not encode as JSON"), "{said}");
}

#[test]
fn brackets_inside_texts_are_not_nesting() {
    let text = format!("\"{}\"", "[{\\\"".repeat(2 * JSON_DEPTH_MAX));
    assert_eq!(json(&text).as_str(), text);
    let wide = format!("[{}[]]", "[],".repeat(1_000));
    assert_eq!(json(&wide).as_str(), wide);
    let after = format!(r#"["\\",{}]"#, nested("[", "]", JSON_DEPTH_MAX));
    Json::parse(after).expect_err("the text ended before the nesting began");
}

#[test]
fn a_decoding_error_names_the_place_in_the_text() {
    let said = json(r#"{"width":"wide"}"#).decode::<std::collections::BTreeMap<String, u32>>();
    let said = said.expect_err("not a number").to_string();
    assert!(said.contains("expected u32") && said.contains("line 1 column 15"), "{said}");
}

#[test]
fn a_job_carries_its_json_as_a_value_not_as_a_text() {
    let job = backroom_core::JobRow { args: json(r#"{"b":1,"a":1e400}"#), ..queued() };
    let text = serde_json::to_string(&job).expect("encodes");
    assert!(text.contains(r#""args":{"b":1,"a":1e400}"#), "{text}");
    assert_eq!(serde_json::from_str::<backroom_core::JobRow>(&text).expect("decodes"), job);
}

#[test]
fn an_output_of_null_differs_from_no_output() {
    for output in [None, Some(Json::null()), Some(json("7"))] {
        let job = backroom_core::JobRow { output, ..queued() };
        let text = serde_json::to_string(&job).expect("encodes");
        assert_eq!(text.contains(r#""output":"#), job.output.is_some(), "{text}");
        assert_eq!(serde_json::from_str::<backroom_core::JobRow>(&text).expect("decodes"), job);
    }
}

proptest! {
    #[test]
    fn any_text_is_accepted_unchanged_or_refused(text in r#"[\[\]{}",:\\0-9a-ftrunls. ué-]{0,40}"#) {
        if let Ok(parsed) = Json::parse(text.clone()) {
            prop_assert_eq!(parsed.as_str(), text.trim_matches([' ', '\t', '\r', '\n']));
            prop_assert_eq!(Json::parse(parsed.as_str()).expect("again"), parsed);
        }
    }

    #[test]
    fn any_value_survives(texts in prop::collection::vec(any::<String>(), 0..5), number: i64, float in -1e300f64..1e300) {
        let value = (texts, number, float);
        let parsed = Json::encode(&value).expect("encodes");
        prop_assert_eq!(parsed.decode::<(Vec<String>, i64, f64)>().expect("decodes").1, value.1);
        prop_assert_eq!(parsed.decode::<(Vec<String>, i64, f64)>().expect("decodes").0, value.0);
    }
}
