//! What selectors mean and how they read when they are wrong.

use std::borrow::Cow;

use serde_json::json;

use super::{FieldSelector, LabelSelector};

fn canonical(text: &str) -> String {
    match LabelSelector::parse(text) {
        Ok(selector) => selector.to_string(),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn label_queries_are_read_into_their_canonical_form() {
    for (text, expect) in [
        ("", ""),
        ("  app = web ,tier==db", "app=web,tier=db"),
        ("z,!a", "!a,z"),
        ("a in (y, x,y),b notin(q)", "a in (x,y),b!=q"),
        ("a in (x,)", "a in (,x)"),
        ("a in (,)", "a="),
        ("a=", "a="),
        ("a!=,b", "a!=,b"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("n>5,m<3", "m<3,n>5"),
        ("example.com/a.b_c=X", "example.com/a.b_c=X"),
    ] {
        assert_eq!(canonical(text), expect, "{text}");
    }
}

#[test]
fn a_label_query_that_cannot_be_read_says_what_was_expected() {
    for (text, expect) in [
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        (
            "a in ()",
            "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ] {
        assert_eq!(canonical(text), format!("! {expect}"), "{text}");
    }
    assert!(
        canonical("a/b/c").starts_with("! unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a qualified")
    );
    assert!(
        canonical("a=-x").starts_with("! unable to parse requirement: values[0][a]: Invalid value: \"-x\": a valid")
    );
}

#[test]
fn labels_are_matched_by_every_operator() {
    let labels = [("app", "web"), ("n", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    for (text, expect) in [
        ("", true),
        ("app=web,n", true),
        ("app!=web", false),
        ("other!=web", true),
        ("app in (db,web)", true),
        ("other in (web)", false),
        ("other notin (web)", true),
        ("!app", false),
        ("!other", true),
        ("n>6,n<8", true),
        ("n>7", false),
        ("app>1", false),
    ] {
        assert_eq!(LabelSelector::parse(text).unwrap().matches(&labels), expect, "{text}");
    }
}

#[test]
fn an_absent_selector_differs_from_an_empty_one() {
    assert_eq!(LabelSelector::from_value(&json!(null)).unwrap(), None);
    assert_eq!(LabelSelector::from_value(&json!({})).unwrap(), Some(LabelSelector::default()));
    let both = json!({ "matchLabels": { "a": "b" }, "matchExpressions": [
        { "key": "c", "operator": "In", "values": ["y", "x"] }, { "key": "B", "operator": "DoesNotExist" } ] });
    assert_eq!(LabelSelector::from_value(&both).unwrap().unwrap().to_string(), "!B,a=b,c in (x,y)");
    let wrong = json!({ "matchExpressions": [{ "key": "c", "operator": "Like" }] });
    assert_eq!(
        LabelSelector::from_value(&wrong).unwrap_err().reason,
        "\"Like\" is not a valid label selector operator"
    );
}

#[test]
fn field_terms_are_split_and_unescaped() {
    let read = |text: &str| match FieldSelector::parse(text) {
        Ok(selector) => {
            let show = |t: &super::FieldTerm| format!("{}{}{}", t.path, if t.equal { "=" } else { "!=" }, t.value);
            selector.terms.iter().map(show).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("! {error}"),
    };
    for (text, expect) in [
        ("", ""),
        ("metadata.name=a,spec.nodeName!=", "metadata.name=a spec.nodeName!="),
        ("a==b", "a=b"),
        (r"a=b\,c\=d\\", r"a=b,c=d\"),
        ("x!y=z", "x!y=z"),
        ("abc", "! invalid selector: 'abc'; can't understand 'abc'"),
        ("a=b=c", "! invalid field selector: unescaped character in value: ="),
        (r"a=\x", r"! invalid field selector: invalid escape sequence: \x"),
    ] {
        assert_eq!(read(text), expect, "{text}");
    }
    let selector = FieldSelector::parse(r"a=b\,c").unwrap();
    assert_eq!(selector.to_string(), r"a=b\,c");
    assert!(selector.matches_with(|_| Cow::Borrowed("b,c")));
}
