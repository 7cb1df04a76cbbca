//! The shell, by what it prints and how it ends. Only builtins: a test has no toolbox to start.

use std::fs::File;
use std::io::{Read, Seek};

use super::run::Files;
use super::state::Shell;
use super::syntax::Wrong;
use super::{parser, script};

fn ran(commands: &str) -> (String, u8) {
    let file = || tempfile::tempfile().expect("a file");
    let mut out = file();
    let files = Files::of_process().expect("files");
    let files = files.with(0, file()).with(1, out.try_clone().expect("a copy")).with(2, file());
    let shell = Shell::of_process(["sh", "one", "two words"].map(str::to_owned).to_vec()).expect("a shell");
    let status = script(shell, commands, &files);
    (text(&mut out), status)
}

fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().expect("a start");
    file.read_to_string(&mut text).expect("text");
    text
}

#[track_caller]
fn check(commands: &str, prints: &str, status: u8) {
    assert_eq!(ran(commands), (prints.to_owned(), status), "{commands}");
}

#[test]
fn quotes_decide_what_is_split_and_what_is_expanded() {
    check("echo a   b # c", "a b\n", 0);
    check("echo 'a   $X' \"b  c\" d\\ \\ e", "a   $X b  c d  e\n", 0);
    check("X='1  2'; echo $X \"$X\" ${X}3 ${NONE:-other}", "1 2 1  2 1 23 other\n", 0);
    check("for a in \"$@\"; do echo \"<$a>\"; done; echo $# $1", "<one>\n<two words>\n2 one\n", 0);
    check("X=; for a in $X \"\" ''; do echo \"<$a>\"; done", "<>\n<>\n", 0);
    check("echo $((2 + 3 * 4 - 10 / 3 % 2)) $((0 - 5))", "13 -5\n", 0);
}

#[test]
fn a_command_runs_when_the_one_before_it_ended_right() {
    check("false && echo no || echo yes; echo $?", "yes\n0\n", 0);
    check("true && false; echo $?; ! false; echo $?", "1\n0\n", 0);
    check("exit 7; echo no", "", 7);
    check("no-such-program-here; echo $?", "127\n", 0);
    check("A=$(false); echo $?; B=1; echo $?", "1\n0\n", 0);
}

#[test]
fn branches_and_loops_nest() {
    check("if false; then echo a; elif [ 2 -gt 1 ]; then echo b; else echo c; fi", "b\n", 0);
    check(
        "i=0\nwhile [ $i -lt 9 ]; do i=$((i+1)); if [ $i = 2 ]; then continue; fi\n[ $i = 4 ] && break; echo $i\ndone",
        "1\n3\n",
        0,
    );
    check("until true; do echo no; done; for a in; do echo no; done", "", 0);
}

#[test]
fn output_travels_through_pipes_and_files() {
    check("echo 'a b' | while read x y; do echo $y-$x; done", "b-a\n", 0);
    check("echo $(echo one; echo two) \"$(echo 'three  four')\"", "one two three  four\n", 0);
    check("{ echo out; echo err >&2; } 2>&1 | { read a; read b; echo $b $a; }", "err out\n", 0);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display();
    check(&format!("echo 1 > {path}; echo 2 >> {path}; read a < {path}; echo $a"), "1\n", 0);
    check("echo no > /nowhere/at/all && echo no", "", 1);
}

#[test]
fn a_subshell_changes_nothing_outside() {
    check("X=1; (X=2; cd /; exit 3); echo $? $X; X=4 | X=5; echo $X", "3 1\n1\n", 0);
    check("cd /; pwd; cd /nowhere/at/all; echo $?; pwd", "/\n1\n/\n", 0);
}

#[test]
fn what_is_open_may_go_on_and_what_is_wrong_may_not() {
    for open in ["echo 'a", "if true", "if true; then echo", "a |", "a &&", "while true; do", "(a", "echo $(a", "{ a;"]
    {
        assert_eq!(parser::parse(open), Err(Wrong::Unfinished), "{open}");
    }
    for wrong in ["fi", "| a", "a ;; b", "if; then a; fi", "a & b", ") a", "> ;"] {
        assert!(matches!(parser::parse(wrong), Err(Wrong::Unexpected(_))), "{wrong}");
    }
    check("echo a; fi", "", 2);
}
