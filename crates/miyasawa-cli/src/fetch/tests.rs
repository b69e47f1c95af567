//! Fetching from a server on the loopback interface that makes the mistakes that servers make.

use super::{sets::File, *};
use md5::{Digest, Md5};
use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// How the server answers a request.
#[derive(Clone, Debug)]
enum Reply {
    /// As asked for.
    Right,
    /// As asked for, but the connection ends after this number of bytes.
    Cut(usize),
    /// This number of bytes, then silence.
    Stall(usize),
    /// The entire file though a part was asked for.
    IgnoreRange,
    /// A part that was not asked for.
    WrongRange,
    /// Other bytes.
    Wrong,
    /// Elsewhere.
    Redirect(String),
    /// A status and nothing else.
    Status(u16),
    /// The promise of a huge file.
    Huge,
    /// Without a length, cut after this number of bytes.
    Unsized(usize),
}

/// Requests as (path, first byte of the range asked for).
type Requests = Arc<Mutex<Vec<(String, Option<usize>)>>>;

struct Server {
    base: String,
    requests: Requests,
}

impl Server {
    /// Serves files; the replies are taken in turn, then every request is answered rightly.
    fn start(files: &[(&str, Vec<u8>)], replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(name, bytes)| (format!("/{name}"), bytes.clone())).collect();
        let replies = Mutex::new(replies.iter().cloned().collect::<VecDeque<Reply>>());
        let log = Arc::clone(&requests);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reply = || replies.lock().unwrap().pop_front().unwrap_or(Reply::Right);
                let _ = answer(stream, &files, reply, &log);
            }
        });
        Self { base, requests }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    fn ranges(&self) -> Vec<Option<usize>> {
        self.requests.lock().unwrap().iter().map(|(_, from)| *from).collect()
    }
}

fn answer(
    mut stream: TcpStream,
    files: &HashMap<String, Vec<u8>>,
    reply: impl FnOnce() -> Reply,
    log: &Requests,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = value.trim().trim_end_matches('-').parse::<usize>().ok();
        }
    }
    log.lock().unwrap().push((path.clone(), range));
    let reply = reply();
    let status = |status: u16| {
        format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let Some(bytes) = files.get(&path) else { return stream.write_all(status(404).as_bytes()) };
    let entire = |len: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n")
    };
    let part = |from: usize| match range {
        None => entire(bytes.len()),
        Some(_) => format!(
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len() - 1,
            bytes.len(),
            bytes.len() - from
        ),
    };
    let from = range.unwrap_or(0);
    if from >= bytes.len() {
        return stream.write_all(status(416).as_bytes());
    }
    let rest = &bytes[from..];
    match reply {
        Reply::Right => stream.write_all(&[part(from).as_bytes(), rest].concat()),
        Reply::Cut(n) => stream.write_all(&[part(from).as_bytes(), &rest[..n.min(rest.len())]].concat()),
        Reply::Stall(n) => {
            stream.write_all(&[part(from).as_bytes(), &rest[..n]].concat())?;
            stream.flush()?;
            // A little longer than the client waits; the next request waits for the rest.
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        }
        Reply::IgnoreRange => stream.write_all(&[entire(bytes.len()).as_bytes(), bytes].concat()),
        Reply::WrongRange => stream.write_all(&[part(from + 1).as_bytes(), rest].concat()),
        Reply::Wrong => {
            let wrong: Vec<u8> = rest.iter().map(|b| b ^ 1).collect();
            stream.write_all(&[part(from).as_bytes(), &wrong].concat())
        }
        Reply::Redirect(to) => stream.write_all(
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        ),
        Reply::Status(code) => stream.write_all(status(code).as_bytes()),
        Reply::Huge => stream.write_all(entire(1 << 40).as_bytes()),
        Reply::Unsized(n) => {
            stream.write_all(&[&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &bytes[..n]].concat())
        }
    }
}

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

/// A set of one file, made for a test.
fn set(folder: &'static str, name: &'static str, bytes: &[u8]) -> Set {
    let md5: &'static str = md5_of(bytes).leak();
    Set { name: "made", folder, files: vec![File { name, md5, urls: &[] }].leak() }
}

fn tar_gz(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    fill(&mut builder);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&builder.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap()
}

/// An entry whose name is taken as it is.
fn entry(
    builder: &mut tar::Builder<Vec<u8>>,
    name: &str,
    kind: tar::EntryType,
    link: &str,
    bytes: &[u8],
) {
    let mut header = tar::Header::new_old();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, bytes).unwrap();
}

fn zip(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
    for (name, bytes, mode) in files {
        let file = archive.new_file(*name).compression_method(rawzip::CompressionMethod::DEFLATE);
        let (mut entry, config) = file.unix_permissions(*mode).start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
        let mut writer = config.wrap(encoder);
        writer.write_all(bytes).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    out
}

fn replaced(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes;
    let positions: Vec<usize> =
        (0..out.len() - from.len()).filter(|&i| out[i..].starts_with(from.as_bytes())).collect();
    assert!(!positions.is_empty());
    positions.into_iter().for_each(|i| out[i..i + to.len()].copy_from_slice(to.as_bytes()));
    out
}

#[test]
fn archives_are_fetched_and_unpacked_once() {
    use tar::EntryType::{Directory, Regular};
    let good = tar_gz(|tar| {
        entry(tar, "set/", Directory, "", b"");
        entry(tar, "set/a.bin", Regular, "", b"hello");
        entry(tar, "./set/deep/b.bin", Regular, "", &content(100_000));
    });
    let zipped =
        zip(&[("set/a.bin", b"hello", 0o644), ("set/deep/b.bin", &content(100_000), 0o644)]);
    for (name, bytes) in [("set.tar.gz", good), ("set.zip", zipped)] {
        let server = Server::start(&[(name, bytes.clone())], &[Reply::Cut(60)]);
        let dir = tempfile::tempdir().unwrap();
        let made = set("set", name, &bytes);
        let get =
            || fetch(&made, dir.path(), Some(&server.base), &client(), &mut |_, _, _| {}).unwrap();
        let first = get();
        assert_eq!(
            (first.present, first.bytes, &first.path),
            (false, bytes.len() as u64, &dir.path().join("set"))
        );
        assert_eq!(std::fs::read(dir.path().join("set/a.bin")).unwrap(), b"hello");
        assert_eq!(std::fs::read(dir.path().join("set/deep/b.bin")).unwrap(), content(100_000));
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "neither archive nor staging is left"
        );
        assert!(get().present);
        assert_eq!(server.ranges(), [None, Some(60)]);
    }
}

#[test]
fn plain_files_are_fetched_again_where_they_changed() {
    let bytes = content(300);
    let server = Server::start(&[("x.gz", bytes.clone())], &[]);
    let dir = tempfile::tempdir().unwrap();
    let made = set("made", "x.gz", &bytes);
    let get = || {
        fetch(&made, dir.path(), Some(&server.base), &client(), &mut |_, _, _| {}).unwrap().present
    };
    assert!(!get() && get());
    std::fs::write(dir.path().join("made/x.gz"), b"other").unwrap();
    assert!(!get() && get());
    assert_eq!(std::fs::read(dir.path().join("made/x.gz")).unwrap(), bytes);
}

#[test]
fn hostile_archives_write_nothing_outside_and_stop_in_time() {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    let one = |name: &'static str, kind, link: &'static str| {
        tar_gz(move |tar| entry(tar, name, kind, link, b""))
    };
    let many = |count: usize| {
        tar_gz(move |tar| {
            (0..count).for_each(|i| entry(tar, &format!("set/{i}"), Regular, "", b""))
        })
    };
    let bomb = tar_gz(|tar| entry(tar, "set/b", Regular, "", &vec![0; 3 << 20]));
    let mut trailing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    trailing.write_all(&vec![0; 64 << 20]).unwrap();
    let twice = tar_gz(|tar| {
        entry(tar, "set/a", Regular, "", b"1");
        entry(tar, "set/a", Regular, "", b"2");
    });
    let deep = format!("set/{}x", "d/".repeat(30));
    let deep = tar_gz(|tar| entry(tar, &deep, Regular, "", b""));
    let through = tar_gz(|tar| {
        entry(tar, "set/out", Symlink, "..", b"");
        entry(tar, "set/out/x", Regular, "", b"x");
    });
    let small = |files| zip(files);
    let cut = {
        let intact = many(10);
        intact[..intact.len() / 2].to_vec()
    };
    let zipped = zip(&[("set/aa/x", b"hello hello hello", 0o644)]);
    let damaged = {
        let mut damaged = zipped.clone();
        // The first byte of the content: after the header of 30 bytes and the name.
        damaged[30 + 8 + 2] ^= 0x55;
        damaged
    };
    let cases: Vec<(&'static str, Vec<u8>, &str)> = vec![
        ("a.tar.gz", one("../x", Regular, ""), "outside"),
        ("b.tar.gz", one("/tmp/miyasawa-x", Regular, ""), "outside"),
        ("c.tar.gz", one("set/../../x", Regular, ""), "outside"),
        ("d.tar.gz", one("..\\x", Regular, ""), "outside"),
        ("e.tar.gz", one("set/l", Symlink, "/etc/passwd"), "a link?"),
        ("f.tar.gz", one("set/l", Link, "/etc/passwd"), "a link?"),
        ("g.tar.gz", one("set/l", Char, ""), "a link?"),
        ("h.tar.gz", many(60), "at most 50 entries"),
        ("i.tar.gz", bomb, "at most 1048576 bytes"),
        ("j.tar.gz", trailing.finish().unwrap(), ""),
        ("k.tar.gz", twice, "writing 'set/a'"),
        ("l.tar.gz", deep, "folders deep"),
        ("m.tar.gz", through, "a link?"),
        ("n.tar.gz", cut, "damage"),
        ("o.tar.gz", b"no archive at all".to_vec(), ""),
        ("p.zip", replaced(zipped.clone(), "set/aa/x", "../../xx"), "outside"),
        ("q.zip", replaced(zipped.clone(), "set/aa/x", "/set/a/x"), "outside"),
        ("r.zip", small(&[("set/l", b"/etc/passwd", 0o120_777)]), "a link?"),
        ("s.zip", small(&[("set/b", &vec![0; 3 << 20], 0o644)]), "at most 1048576 bytes"),
        ("t.zip", zipped[..zipped.len() - 30].to_vec(), "damage"),
        ("u.zip", damaged, "damaged"),
        ("v.zip", small(&[("other/x", b"x", 0o644)]), "expected a folder 'set'"),
    ];
    let limits = unpack::Limits { entries: 50, bytes: 1 << 20, depth: 16 };
    for (name, bytes, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("in/ner");
        std::fs::create_dir_all(&inner).unwrap();
        let archive = dir.path().join(name);
        std::fs::write(&archive, &bytes).unwrap();
        let unpacked = unpack::unpack(&archive, &inner, &limits);
        // An archive of another set is refused one step later.
        if !expected.starts_with("expected a folder") && name != "j.tar.gz" {
            let text = format!("{:#}", unpacked.unwrap_err());
            assert!(text.contains(expected), "{name}: {text}");
        }
        let names = |path: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(path)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let mut both = [name, "in"];
        both.sort_unstable();
        assert_eq!(names(dir.path()), both, "{name}");
        assert_eq!(names(&dir.path().join("in")), ["ner"], "{name}");
        let fetched = {
            let server = Server::start(&[(name, bytes.clone())], &[]);
            let made = set("set", name, &bytes);
            fetch(&made, &dir.path().join("out"), Some(&server.base), &client(), &mut |_, _, _| {})
        };
        if ["h.tar.gz", "i.tar.gz", "j.tar.gz", "s.zip"].contains(&name) {
            continue; // Within the usual limits.
        }
        let text = format!("{:#}", fetched.unwrap_err());
        assert!(text.contains("unpacking") || text.contains(expected), "{name}: {text}");
        assert!(
            !dir.path().join("out/set").exists(),
            "{name}: an incomplete folder does not get its name"
        );
    }
    assert!(!Path::new("/tmp/miyasawa-x").exists());
}
