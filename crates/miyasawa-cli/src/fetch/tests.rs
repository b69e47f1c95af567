//! Fetching from a server on the loopback interface that makes the mistakes that servers make.

mod archives;
mod server;

use super::*;
use md5::{Digest, Md5};
use server::{Reply, Server};
use std::{net::TcpListener, time::Duration};

fn content(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn client() -> Client {
    Client { attempts: 3, pause: Duration::from_millis(1), timeout: Duration::from_millis(1200) }
}

/// The outcome of fetching a file of 5,000 bytes with these replies, and the requested ranges.
fn download(replies: &[Reply]) -> (anyhow::Result<Vec<u8>>, Vec<Option<usize>>) {
    let bytes = content(5000);
    let server = Server::start(&[("f", bytes.clone())], replies);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let done = client().download(&[server.url("f")], &path, &md5_of(&bytes), &mut |_, _| {});
    if done.is_err() {
        assert!(!path.exists(), "a failed download leaves no file");
    } else {
        assert!(!dir.path().join("f.part").exists());
    }
    (done.map(|_| std::fs::read(&path).unwrap()), server.ranges())
}

#[test]
fn cut_stalled_and_refused_downloads_are_continued() {
    let cases: [(&[Reply], &[Option<usize>]); 8] = [
        (&[], &[None]),
        (&[Reply::Cut(1000), Reply::Cut(700)], &[None, Some(1000), Some(1700)]),
        (&[Reply::Cut(0), Reply::Cut(0)], &[None, None, None]),
        (&[Reply::Stall(2000)], &[None, Some(2000)]),
        (&[Reply::Status(503), Reply::Status(429)], &[None, None, None]),
        (&[Reply::Cut(1000), Reply::IgnoreRange], &[None, Some(1000)]),
        (&[Reply::Cut(1000), Reply::WrongRange], &[None, Some(1000), None]),
        // Five cuts, each with progress, are no reason to give up after three.
        (
            &[Reply::Cut(9), Reply::Cut(9), Reply::Cut(9), Reply::Cut(9), Reply::Cut(9)],
            &[None, Some(9), Some(18), Some(27), Some(36), Some(45)],
        ),
    ];
    for (replies, expected) in cases {
        let (done, ranges) = download(replies);
        assert_eq!(done.unwrap(), content(5000), "{replies:?}");
        assert_eq!(ranges, expected, "{replies:?}");
    }
}

#[test]
fn failed_downloads_are_given_up_with_a_reason() {
    let cases: [(&[Reply], &str); 6] = [
        (&[Reply::Status(404)], "the server says 404"),
        (
            &[Reply::Status(500), Reply::Status(500), Reply::Status(500)],
            "given up after 3 attempts",
        ),
        (&[Reply::Wrong], "expected a file with the MD5 hash"),
        (&[Reply::Huge], "at most 1073741824 bytes"),
        (&[Reply::Cut(0), Reply::Cut(0), Reply::Cut(0)], "given up after 3 attempts"),
        (&[Reply::Unsized(300)], "expected a file with the MD5 hash"),
    ];
    for (replies, expected) in cases {
        let text = format!("{:#}", download(replies).0.unwrap_err());
        assert!(
            text.contains(expected) && text.contains("http://127.0.0.1"),
            "{replies:?}: {text}"
        );
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = client().download(
        &[format!("http://{closed}/f")],
        &dir.path().join("f"),
        "",
        &mut |_, _| {},
    );
    assert!(format!("{:#}", error.unwrap_err()).contains("given up after 3 attempts"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_later_call_continues_or_starts_again_if_the_part_is_of_another_file() {
    let bytes = content(5000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let once = Client { attempts: 1, ..client() };
    let server = Server::start(&[("f", bytes.clone())], &[Reply::Cut(1200)]);
    let get =
        |server: &Server| once.download(&[server.url("f")], &path, &md5_of(&bytes), &mut |_, _| {});
    assert!(get(&server).is_err());
    assert_eq!(std::fs::read(dir.path().join("f.part")).unwrap(), bytes[..1200]);
    let mut seen = Vec::new();
    let count = once.download(&[server.url("f")], &path, &md5_of(&bytes), &mut |have, of| {
        seen.push((have, of))
    });
    assert_eq!((count.unwrap(), std::fs::read(&path).unwrap()), (3800, bytes.clone()));
    assert_eq!((seen[0], *seen.last().unwrap()), ((1200, Some(5000)), (5000, Some(5000))));
    assert_eq!(server.ranges(), [None, Some(1200)]);
    // Of the right length, too long, and shorter.
    for junk in [5000, 6000, 10] {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(dir.path().join("f.part"), vec![7; junk]).unwrap();
        let server = Server::start(&[("f", bytes.clone())], &[]);
        get(&server).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(server.ranges(), [Some(junk), None]);
    }
}

#[test]
fn redirects_are_followed_up_to_a_limit_and_mirrors_are_tried() {
    let bytes = content(5000);
    let to = Server::start(&[("there", bytes.clone())], &[]);
    let (done, _) = download(&[Reply::Cut(500), Reply::Redirect(to.url("there"))]);
    assert_eq!(done.unwrap(), bytes);
    assert_eq!(to.ranges(), [Some(500)]);
    let circle = vec![Reply::Redirect("/f".into()); 50];
    let (done, ranges) = download(&circle);
    assert!(format!("{:#}", done.unwrap_err()).contains("redirect"));
    assert!((2..=7).contains(&ranges.len()), "{}", ranges.len());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let gone = Server::start(&[], &[]);
    let liar = Server::start(&[("f", bytes.clone())], &[Reply::Wrong]);
    let right = Server::start(&[("f", bytes.clone())], &[]);
    let urls = [gone.url("f"), liar.url("f"), right.url("f")];
    client().download(&urls, &path, &md5_of(&bytes), &mut |_, _| {}).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn two_processes_do_not_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let held = std::fs::File::create(dir.path().join("f.part")).unwrap();
    held.lock().unwrap();
    let error = client().download(
        &["http://127.0.0.1:9/f".into()],
        &dir.path().join("f"),
        "",
        &mut |_, _| {},
    );
    assert!(format!("{:#}", error.unwrap_err()).contains("another process"));
}
