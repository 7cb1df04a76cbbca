//! Logs and exec, with the flags that people use.

use std::io::Write as _;
use std::process::Stdio;

use super::super::node::{Node, outcome, run};
use super::{becomes, container, pod, ready};

#[test]
fn logs_are_followed_cut_stamped_and_kept_from_the_run_before() {
    let node = Node::start("embedded");
    node.apply(&pod("count", "", &[container("main", "args: [write-loop, --every, 200ms]")]));
    let script = "for word in one two three; do echo $word; done; echo wrong >&2; sleep 3; exit 1";
    let crash = format!("command: [sh, -c, \"{script}\"]");
    node.apply(&pod("crash", "", &[container("main", &crash)]));
    ready(&node, "count");

    node.eventually(&["logs", "count"], |text| text.lines().count() > 5);
    assert!(node.kubectl(&["logs", "count"]).starts_with("line 1\nline 2\n"));
    assert_eq!(node.kubectl(&["logs", "count", "--tail=2"]).lines().count(), 2);
    let bytes = node.kubectl(&["logs", "count", "--limit-bytes=8"]);
    assert_eq!(bytes, "line 1\nl");
    let stamped = node.kubectl(&["logs", "count", "--timestamps", "--tail=1"]);
    let (stamp, rest) = stamped.split_once(' ').expect("a time before the line");
    assert!(stamp.len() > 20 && stamp.contains('T') && stamp.ends_with('Z') && rest.starts_with("line "), "{stamped}");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let recent = node.kubectl(&["logs", "count", "--since=1s"]);
    assert!(!recent.is_empty() && !recent.contains("line 1\n"), "only the last second: {recent}");

    let mut follow = node.command("timeout", &["4", "kubectl", "logs", "-f", "count", "--tail=1"]);
    let followed = follow.output().expect("kubectl");
    assert!(String::from_utf8_lossy(&followed.stdout).lines().count() > 5, "it goes on: {followed:?}");

    becomes(&node, "crash", ".status.containerStatuses[0].restartCount", "1");
    let previous = node.kubectl(&["logs", "crash", "--previous"]);
    assert!(previous.starts_with("one\ntwo\nthree\n") && previous.contains("wrong"), "{previous}");
    let error = node.try_kubectl(&["logs", "count", "--previous"]).expect_err("there was none before");
    assert!(error.contains("previous terminated container \"main\" in pod \"count\" not found"), "{error}");
}

#[test]
fn exec_carries_codes_input_errors_and_a_terminal() {
    let node = Node::start("embedded");
    node.apply(&pod("box", "", &[container("main", "args: [sleep]")]));
    ready(&node, "box");
    let code = |script: &str| {
        let output = node.command("kubectl", &["exec", "box", "--", "sh", "-c", script]).output().expect("kubectl");
        output.status.code()
    };
    assert_eq!(code("exit 0"), Some(0));
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(code("kill -9 $$"), Some(137));
    let missing = node.try_kubectl(&["exec", "box", "--", "no-such-program"]).expect_err("there is none");
    assert!(missing.contains("executable file not found"), "{missing}");

    assert_eq!(piped(&node, &["exec", "-i", "box", "--", "cat"], b"hi\n"), b"hi\n");
    let much: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(piped(&node, &["exec", "-i", "box", "--", "cat"], &much) == much, "every byte comes back in order");
    let both = node.command("kubectl", &["exec", "box", "--", "sh", "-c", "echo out; echo err >&2"]).output();
    let both = both.expect("kubectl");
    assert_eq!((both.stdout.as_slice(), both.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));

    let terminal = "kubectl exec -it box -- sh -c 'test -t 0 && echo terminal on $TERM; exit 3'";
    let typed = node.command("script", &["-qec", terminal, "/dev/null"]).output().expect("script");
    let said = String::from_utf8_lossy(&typed.stdout).into_owned();
    assert!(said.contains("terminal on"), "{said}");
    assert_eq!(typed.status.code(), Some(3), "{said}");
}

fn piped(node: &Node, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = node.command("kubectl", args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("kubectl");
    writer.join().expect("a thread").expect("all was taken");
    outcome(&output).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"));
    output.stdout
}

#[test]
fn a_container_with_a_terminal_logs_what_it_shows() {
    let node = Node::start("embedded");
    let script = "command: [sh, -c, \"test -t 1 && echo shown; sleep\"], tty: true, stdin: true";
    node.apply(&pod("tty", "", &[container("main", script)]));
    node.eventually(&["logs", "tty"], |text| text.trim_end() == "shown");
    run(node.command("kubectl", &["delete", "pod", "tty"]).stdin(Stdio::null()));
}
