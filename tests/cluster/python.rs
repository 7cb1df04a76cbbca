//! The official Python client does what kubectl does.

use std::path::Path;
use std::process::Command;

use super::node::{Node, run, text};

#[test]
fn the_python_client_creates_watches_patches_and_deletes() {
    let python = client();
    let node = Node::start("hollow");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/python_client.py");
    let said = run(&mut node.command(&python, &[text(&script)]));
    assert!(said.ends_with("all steps done\n"), "{said}");
}

/// A Python with the client, in a virtual environment beside the build.
fn client() -> String {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = home.join("bin/python");
    let has_client =
        Command::new(&python).args(["-c", "import kubernetes"]).output().is_ok_and(|out| out.status.success());
    if !has_client {
        run(Command::new("python3").args(["-m", "venv", "--clear", text(&home)]));
        run(Command::new(home.join("bin/pip")).args(["install", "--quiet", "kubernetes>=31,<36"]));
    }
    text(&python).to_owned()
}
