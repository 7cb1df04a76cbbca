//! Reading what a writer wrote, with every option, over rotation.

use futures::StreamExt as _;

use super::*;
use crate::runtime::logs::cri::Stream;
use crate::runtime::logs::writer::{LogWriter, Rotation};

const ROTATION: Rotation = Rotation { file_bytes: 1 << 10, files: 3 };

fn write(writer: &mut LogWriter, range: std::ops::Range<i64>) {
    for n in range {
        writer.write(Timestamp(n * 1_000_000), Stream::Stdout, format!("line {n}\n").as_bytes()).unwrap();
    }
}

async fn read(path: &Path, options: ReadOptions) -> String {
    let chunks: Vec<_> = LogFiles.read(path, &options).unwrap().collect().await;
    chunks.into_iter().map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect()
}

fn lines(range: std::ops::Range<i64>) -> String {
    range.map(|n| format!("line {n}\n")).collect()
}

#[tokio::test]
async fn options_choose_lines_across_rotated_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c/0.log");
    write(&mut LogWriter::open(&path, ROTATION).unwrap(), 0..100);
    assert!(aged(&path, 1).exists() && aged(&path, 2).exists() && !aged(&path, 3).exists());
    let default = ReadOptions::default;

    let all = read(&path, default()).await;
    let first = all.lines().next().unwrap().trim_start_matches("line ").parse::<i64>().unwrap();
    assert!(first > 30 && first < 60, "the oldest file is gone, the rest is there: {first}");
    assert_eq!(all, lines(first..100));
    assert_eq!(read(&path, ReadOptions { tail_lines: Some(1), ..default() }).await, lines(99..100));
    assert_eq!(read(&path, ReadOptions { tail_lines: Some(30), ..default() }).await, lines(70..100));
    assert_eq!(read(&path, ReadOptions { tail_lines: Some(0), ..default() }).await, "");
    assert_eq!(read(&path, ReadOptions { tail_lines: Some(999), ..default() }).await, all);
    assert_eq!(read(&path, ReadOptions { since: Some(Timestamp(95_000_000)), ..default() }).await, lines(95..100));
    assert_eq!(
        read(&path, ReadOptions { limit_bytes: Some(11), tail_lines: Some(2), ..default() }).await,
        "line 98\nlin"
    );
    let stamped = read(&path, ReadOptions { timestamps: true, tail_lines: Some(1), ..default() }).await;
    assert_eq!(stamped, "1970-01-01T00:01:39.000000000Z line 99\n");
}

#[tokio::test]
async fn a_follower_misses_nothing_over_rotation_and_ends_with_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut writer = LogWriter::open(&path, Rotation { file_bytes: 1 << 10, files: 100 }).unwrap();
    write(&mut writer, 0..5);
    let follower = tokio::spawn({
        let path = path.clone();
        async move { read(&path, ReadOptions { follow: true, ..ReadOptions::default() }).await }
    });
    for n in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        write(&mut writer, 5 + n * 20..25 + n * 20);
    }
    writer.write(Timestamp(0), Stream::Stderr, b"no newline").unwrap();
    assert!(!follower.is_finished(), "the writer is still there");
    writer.finish(Timestamp(0)).unwrap();
    drop(writer);
    let text = tokio::time::timeout(Duration::from_secs(10), follower).await.unwrap().unwrap();
    assert_eq!(text, lines(0..405) + "no newline");
}

#[test]
fn what_was_never_logged_is_not_found() {
    let error = LogFiles.read(Path::new("/nonexistent/0.log"), &ReadOptions::default()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    LogFiles.remove_pod(Path::new("/nonexistent")).unwrap();
}
