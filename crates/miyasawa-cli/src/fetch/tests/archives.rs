//! Sets that are fetched and unpacked, and archives that would do harm.

use super::server::{Reply, Server};
use super::{client, content, md5_of};
use crate::fetch::{sets::File, *};
use std::io::Write;

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
