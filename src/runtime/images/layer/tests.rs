//! Layers as archives have them, and what becomes of them on disk.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::*;

enum Kind<'a> {
    File(&'a str),
    Dir,
    Symlink(&'a str),
    Hardlink(&'a str),
}

fn archive(entries: &[(&str, Kind<'_>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind) in entries {
        let mut header = tar::Header::new_gnu();
        // Written by hand: the crate refuses paths that an attacker would not.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        (header.set_uid(12), header.set_gid(34), header.set_mtime(1000), header.set_size(0));
        header.set_mode(0o4751);
        let mut data = "";
        match kind {
            Kind::File(text) => (header.set_size(text.len() as u64), data = text).0,
            Kind::Dir => header.set_entry_type(tar::EntryType::Directory),
            Kind::Symlink(to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.as_gnu_mut().unwrap().linkname[..to.len()].copy_from_slice(to.as_bytes());
            }
            Kind::Hardlink(to) => {
                header.set_entry_type(tar::EntryType::Link);
                header.as_gnu_mut().unwrap().linkname[..to.len()].copy_from_slice(to.as_bytes());
            }
        }
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, io::Result<Unpacked>) {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir(outer.path().join("layer")).unwrap();
    let result = unpack(bytes, &outer.path().join("layer"));
    (outer, result)
}

#[test]
fn files_keep_owner_mode_links_and_time() {
    let bytes = archive(&[("./a/b", Kind::File("text")), ("a/c", Kind::Hardlink("a/b")), ("d", Kind::Symlink("/a/b"))]);
    let (outer, result) = unpacked(&bytes);
    let result = result.unwrap();
    assert_eq!((result.size_bytes, result.diff_id), (4, super::super::digest(&bytes)));
    let root = outer.path().join("layer");
    let (b, c) = (fs::metadata(root.join("a/b")).unwrap(), fs::metadata(root.join("a/c")).unwrap());
    assert_eq!((b.uid(), b.gid(), b.mode() & 0o7777, b.mtime()), (12, 34, 0o4751, 1000));
    assert_eq!(b.ino(), c.ino());
    assert_eq!(fs::read_link(root.join("d")).unwrap(), Path::new("/a/b"));
}

#[test]
fn compressed_layers_have_the_digest_of_the_plain_one() {
    let plain = archive(&[("f", Kind::File("text"))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &plain).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd::encode_all(&plain[..], 1).unwrap()] {
        assert_eq!(unpacked(&bytes).1.unwrap().diff_id, super::super::digest(&plain));
        assert!(unpacked(&bytes[..bytes.len() / 2]).1.is_err(), "half an archive is an error");
    }
}

#[test]
fn removals_become_the_marks_of_overlayfs() {
    let (outer, result) = unpacked(&archive(&[("a/.wh.gone", Kind::File("")), ("b/.wh..wh..opq", Kind::File(""))]));
    result.unwrap();
    let gone = fs::metadata(outer.path().join("layer/a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(fs::read_dir(outer.path().join("layer/b")).unwrap().next().is_none());
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (outer, result) = unpacked(&archive(&[
        ("a", Kind::Dir),
        ("a/x", Kind::File("1")),
        ("a", Kind::File("2")),
        ("b", Kind::Symlink("a")),
        ("b", Kind::File("3")),
    ]));
    result.unwrap();
    let read = |name: &str| fs::read_to_string(outer.path().join("layer").join(name)).unwrap();
    assert_eq!((read("a").as_str(), read("b").as_str()), ("2", "3"));
}

#[test]
fn nothing_leads_outside() {
    for entries in [
        &[("../evil", Kind::File("x"))][..],
        &[("a/../../evil", Kind::File("x"))],
        &[("a", Kind::Symlink("..")), ("a/evil", Kind::File("x"))],
        &[("a", Kind::Symlink("/tmp")), ("a/b/evil", Kind::File("x"))],
        &[("evil", Kind::Hardlink("../../../etc/passwd"))],
        &[("a", Kind::Symlink("..")), ("evil", Kind::Hardlink("a/secret"))],
    ] {
        let (outer, result) = unpacked(&archive(entries));
        assert!(result.is_err(), "{:?}", entries[0].0);
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "{:?}", entries[0].0);
    }
    let (outer, result) = unpacked(&archive(&[("/abs", Kind::File("x"))]));
    result.unwrap();
    assert!(outer.path().join("layer/abs").exists(), "absolute paths begin at the layer");
}
