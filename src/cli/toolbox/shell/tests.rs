//! Scripts are read as they should be; running them needs a process of its own and is tested with the binary.

use super::parse::{self, Error};

#[test]
fn what_is_not_finished_asks_for_more_and_what_is_wrong_is_named() {
    let check = |script: &str, expect: &str| {
        let error = parse::program(script).unwrap_err().message();
        assert_eq!(error, format!("syntax error: {expect}"), "{script}");
    };
    check("echo 'a", "the script ends before a closing '");
    check("echo $(a", "the script ends before a closing )");
    check("if true; then", "the script ends before a closing ;");
    check("while true; do echo", "the script ends before a closing ;");
    check("a &&", "the script ends before a closing ;");
    check("; a", "unexpected \";\"");
    check("fi", "unexpected \"fi\"");
    check("a ) b", "unexpected \")\"");
    check("echo >", "the script ends before a closing ;");
    assert!(matches!(parse::program("(a"), Err(Error::Incomplete(_))));
}

#[test]
fn depth_is_bounded() {
    assert!(parse::program(&"(".repeat(100_000)).is_err());
    assert!(parse::program(&"if ".repeat(100_000)).is_err());
}
