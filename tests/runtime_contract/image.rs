//! Packs a test image around the machine's static busybox.

use std::fs::File;
use std::path::Path;

/// Its name.
pub const NAME: &str = "test.local/busybox:1";

/// Programs that the image has.
const APPLETS: [&str; 16] = [
    "sh", "cat", "echo", "sleep", "true", "false", "id", "env", "ls", "mkdir", "touch", "kill", "stty", "readlink",
    "yes", "dd",
];

/// Writes a Docker archive of one layer with busybox in it, named `reference`.
pub fn write(path: &Path, reference: &str) {
    let layer = layer();
    let config = serde_json::json!({
        "architecture": shoal::runtime::images::archive::architecture(), "os": "linux",
        "config": { "Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["sh", "-c", "echo from the image"], "WorkingDir": "/tmp" },
        "rootfs": { "type": "layers", "diff_ids": [shoal::runtime::images::digest(&layer)] },
    });
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(File::create(path).unwrap());
    put(&mut archive, "layer.tar", 0o644, &layer);
    put(&mut archive, "config.json", 0o644, config.to_string().as_bytes());
    put(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
    archive.finish().unwrap();
}

fn layer() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    put(&mut layer, "bin/busybox", 0o755, &std::fs::read("/bin/busybox").unwrap());
    put(&mut layer, "etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nweb:x:101:102::/home:/bin/sh\n");
    put(&mut layer, "etc/group", 0o644, b"root:x:0:\nweb:x:102:\nextra:x:7:web\n");
    put(&mut layer, "not-a-program", 0o644, b"text");
    for applet in APPLETS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        (header.set_size(0), header.set_uid(0), header.set_gid(0), header.set_mode(0o777), header.set_mtime(0));
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    (header.set_size(0), header.set_uid(0), header.set_gid(0), header.set_mode(0o1777), header.set_mtime(0));
    layer.append_data(&mut header, "tmp/", std::io::empty()).unwrap();
    layer.into_inner().unwrap()
}

fn put<W: std::io::Write>(archive: &mut tar::Builder<W>, name: &str, mode: u32, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    (
        header.set_size(bytes.len() as u64),
        header.set_uid(0),
        header.set_gid(0),
        header.set_mode(mode),
        header.set_mtime(0),
    );
    archive.append_data(&mut header, name, bytes).unwrap();
}
