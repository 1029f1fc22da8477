//! Keys of entries.

use backroom_core::workflow::{Derived, KEY_BYTES_MAX, NameError, Names, ScopeId};

const ROOT: ScopeId = ScopeId::ROOT;

fn key(names: &mut Names, scope: ScopeId, name: &str) -> String {
    let named = names.begin(scope, name).unwrap();
    names.end(&named);
    named.key
}

#[test]
fn names_within_scopes_make_keys_and_a_loop_counts() {
    let mut names = Names::default();
    assert_eq!(key(&mut names, ROOT, "charge"), "charge");
    assert_eq!(key(&mut names, ROOT, "charge"), "charge#2");
    let order = names.open(ROOT, "order").unwrap();
    assert_eq!(key(&mut names, order, "charge"), "order/charge");
    let line = names.open(order, "line").unwrap();
    assert_eq!(key(&mut names, line, "pick"), "order/line/pick");
    names.close(line);
    let line = names.open(order, "line").unwrap();
    assert_eq!(key(&mut names, line, "pick"), "order/line#2/pick");
    assert_eq!(names.path(line), "order/line#2/");
    assert_eq!(key(&mut names, ROOT, "order"), "order", "a step may be called as a scope is");
}

#[test]
fn two_live_uses_of_a_name_are_an_error_that_says_how_to_name_them() {
    let mut names = Names::default();
    let first = names.begin(ROOT, "charge").unwrap();
    let refused = names.begin(ROOT, "charge").unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#""charge" is in use at the same time by another part of the workflow, and which of the two comes first could differ after a crash; give each part a scope of its own, or another name"#
    );
    names.end(&first);
    assert_eq!(names.begin(ROOT, "charge").unwrap().key, "charge#2");

    let scope = names.open(ROOT, "order").unwrap();
    let refused = names.open(ROOT, "order").unwrap_err();
    assert_eq!(refused, NameError::TwoLive { key: "order".into() });
    names.close(scope);
    assert!(names.open(ROOT, "order").is_ok());
}

#[test]
fn a_number_or_a_uuid_does_not_change_the_key_of_what_is_called_as_it_is() {
    let mut names = Names::default();
    let uuid = |names: &mut Names| names.derive(ROOT, Derived::Uuid, "charge").unwrap();
    assert_eq!(uuid(&mut names), "charge");
    let step = names.begin(ROOT, "charge").unwrap();
    assert_eq!(step.key, "charge", "the key of the step is that of a deploy without the UUID");
    assert_eq!(names.derive(ROOT, Derived::Random, "charge").unwrap(), "charge", "within the step, too");
    assert_eq!(uuid(&mut names), "charge#2");
    names.end(&step);
    assert_eq!(key(&mut names, ROOT, "charge"), "charge#2");
    let order = names.open(ROOT, "order").unwrap();
    assert_eq!(names.derive(order, Derived::Uuid, "charge").unwrap(), "order/charge");
    for bad in ["", "a/b", "a#2", &"x".repeat(129)] {
        assert!(matches!(names.derive(ROOT, Derived::Uuid, bad), Err(NameError::Bad { .. })), "{bad:?}");
    }
}

#[test]
fn names_that_could_be_taken_for_others_are_refused() {
    let mut names = Names::default();
    for bad in ["", "a/b", "a#2", " a", "a\n", &"x".repeat(129)] {
        assert!(matches!(names.begin(ROOT, bad), Err(NameError::Bad { .. })), "{bad:?}");
        assert!(names.open(ROOT, bad).is_err(), "{bad:?}");
    }
    let mut scope = ROOT;
    let refused = loop {
        match names.open(scope, &"deep".repeat(20)) {
            Ok(inner) => scope = inner,
            Err(refused) => break refused,
        }
    };
    assert!(refused.to_string().contains("bytes long with its scopes; at most 512 are allowed"), "{refused}");
    assert!(names.path(scope).len() <= KEY_BYTES_MAX);
}
