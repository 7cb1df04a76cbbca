//! What bodies decode to, and which are refused.

use serde_json::json;

use super::{Format, Limits, decode, decode_yaml_document, split_yaml_documents};

fn message(body: &str, format: Format) -> String {
    let error = decode(body.as_bytes(), format, Limits::REQUEST).unwrap_err();
    assert_eq!(error.code, 400);
    error.message
}

#[test]
fn json_and_yaml_of_the_same_object_decode_to_the_same_value() {
    let expect = json!({ "kind": "Pod", "spec": { "n": 3, "f": 1.5, "on": true, "none": null, "list": [1, -2, "x"] } });
    let yaml = "kind: Pod\nspec:\n  'n': 3\n  f: 1.5\n  'on': yes\n  none: ~\n  list: [1, -2, x]\n";
    for (body, format) in [(expect.to_string(), Format::Json), (yaml.to_owned(), Format::Yaml)] {
        let decoded = decode(body.as_bytes(), format, Limits::REQUEST).unwrap();
        assert_eq!((decoded.value, decoded.duplicates), (expect.clone(), Vec::<String>::new()));
    }
}

#[test]
fn yaml_scalars_mean_what_kubectl_takes_them_for() {
    let yaml = "mode: 0644\nquoted: '0644'\nbool: off\nport: \"80\"\ntime: 12:30\nversion: 1.10\nbig: 12345678901\n80: x\ntrue: x\nbase: &b {a: 1}\nmerged:\n  <<: *b\n  c: 2\n";
    let value = decode(yaml.as_bytes(), Format::Yaml, Limits::REQUEST).unwrap().value;
    let expect = json!({ "mode": 420, "quoted": "0644", "bool": false, "port": "80", "time": "12:30", "version": 1.1,
        "big": 12_345_678_901_u64, "80": "x", "true": "x", "base": { "a": 1 }, "merged": { "a": 1, "c": 2 } });
    assert_eq!(value, expect);
}

#[test]
fn every_duplicate_key_is_found_with_its_path_and_the_last_value_wins() {
    let json = r#"{"a":1,"spec":{"containers":[{"name":"x"},{"image":"i","image":"j","image":"k"}]},"a":2}"#;
    let yaml = "a: 1\nspec:\n  containers:\n  - name: x\n  - image: i\n    image: j\n    image: k\na: 2\n";
    for (body, format) in [(json, Format::Json), (yaml, Format::Yaml)] {
        let decoded = decode(body.as_bytes(), format, Limits::REQUEST).unwrap();
        assert_eq!(decoded.duplicates, ["spec.containers[1].image", "a"]);
        assert_eq!(decoded.value, json!({ "a": 2, "spec": { "containers": [{ "name": "x" }, { "image": "k" }] } }));
    }
}

#[test]
fn a_body_that_cannot_be_read_says_where() {
    for (body, expect) in [
        ("", "json parse error: EOF while parsing a value at line 1 column 0"),
        ("{\n  \"a\": trx\n}", "expected ident at line 2 column 10"),
        ("{}\n{}", "trailing characters at line 2 column 1"),
    ] {
        assert!(message(body, Format::Json).ends_with(expect), "{body}: {}", message(body, Format::Json));
    }
    for (body, expect) in [
        ("a: b: c\n", "yaml: line 1 column 5: "),
        ("a:\n  - b\n c: d\n", "yaml: line 3 column "),
        ("a: 1\n---\nb: 2\n", "yaml: line 2: a second document begins"),
        ("# first\n---\na: *nope\n", "yaml: line 3 column 4: "),
        ("a: .inf\n", "yaml: line 1 column 4: "),
    ] {
        let message = message(body, Format::Yaml);
        assert!(message.contains(expect), "{body}: {message}");
        assert!(!message.contains('\n') && !message.contains(" at line "), "{message}");
    }
}

#[test]
fn a_body_that_would_cost_too_much_is_refused() {
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    assert!(decode(deep("[", "]", 100).as_bytes(), Format::Json, Limits::REQUEST).is_ok());
    for body in [deep("[", "]", 101), "[".repeat(3_000_000), "{\"a\":".repeat(600_000)] {
        assert!(message(&body, Format::Json).contains("exceeded max depth of 100 at "));
    }
    assert!(decode(deep("[", "]", 49).as_bytes(), Format::Yaml, Limits::REQUEST).is_ok());
    for body in [deep("{a: ", "}", 60), "[".repeat(100_000), "- ".repeat(100_000)] {
        message(&body, Format::Yaml);
    }
    assert!(message(&format!("[{}0]", "0,".repeat(600_000)), Format::Json).contains("more than 500000 values"));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    message(bomb, Format::Yaml);
    let large = decode(&vec![b' '; (3 << 20) + 1], Format::Json, Limits::REQUEST).unwrap_err();
    assert_eq!((large.code, large.message.as_str()), (413, "Request entity too large: limit is 3145728"));
}

#[test]
fn a_stream_is_cut_into_documents_that_know_their_lines() {
    let stream = "# only a comment\n---\na: 1\n--- # second\nb: |\n  ---x\n---\n\n--- {c: 3}\n";
    let cut: Vec<_> = split_yaml_documents(stream).iter().map(|d| (d.first_line, d.text)).collect();
    assert_eq!(cut, [(2, "\na: 1\n"), (4, " # second\nb: |\n  ---x\n"), (9, " {c: 3}\n")]);
    let last = split_yaml_documents("a: 1\n---\nb: 2\nc: *x\n").pop().unwrap();
    let error = decode_yaml_document(last, Limits::REQUEST).unwrap_err();
    assert!(error.message.contains("yaml: line 4 column 4: "), "{}", error.message);
}

/// Bodies that are nearly right, changed at random places: each is read or refused, none ends the process.
#[test]
fn no_mangled_body_makes_a_reader_panic() {
    let seeds = [
        "a: &x [1, 2]\nb: *x\n<<: {c: |\n  d\n}\n- 'q'\n\"e\": >-\n  f\n? g\n: h\n!!binary i: 0o7\n",
        "{\"a\":[1,-2.5e3,\"\\u00e9\",null],\"b\":{\"c\":true}}",
    ];
    let alphabet = b"{}[]:,-?&*!|>'\"%@`#\n \t0aA~<=.\\\xff\xc3\x00";
    let mut state: u64 = 99;
    let mut draw = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    for _ in 0..4_000 {
        let mut body = seeds[draw(2)].as_bytes().to_vec();
        for _ in 0..=draw(6) {
            let (at, byte) = (draw(body.len()), alphabet[draw(alphabet.len())]);
            if draw(2) == 0 { body.insert(at, byte) } else { body[at] = byte }
        }
        for format in [Format::Yaml, Format::Json] {
            if let Err(error) = decode(&body, format, Limits::REQUEST) {
                assert_eq!(error.code, 400);
            }
        }
    }
}
