//! Folders of images: structure, names, and calls that go on where one ended.

mod common;

use common::*;
use std::{path::Path, process::Output};

fn denoise(more: &[&str]) -> Output {
    run(["denoise", &model(), "--sigma", "0.1"].iter().chain(more))
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    stderr(output)
}

/// Folders with images: `a.png`, `day/b.jpg`, `day/night/c.png`.
fn photos(dir: &Path) -> String {
    std::fs::create_dir_all(dir.join("photos/day/night")).unwrap();
    save(&dir.join("photos"), "a.png", grey(8, 8));
    save(&dir.join("photos/day"), "b.jpg", colour(9, 12));
    save(&dir.join("photos/day/night"), "c.png", grey(7, 9));
    text(&dir.join("photos"))
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found
}

#[test]
fn recursive_keeps_names_and_structure() {
    let dir = tempfile::tempdir().unwrap();
    let (from, out) = (photos(dir.path()), dir.path().join("out"));
    let said = done(&denoise(&[&from, "-o", &text(&out)]));
    assert!(said.contains("1 folders in it are left out; --recursive"), "{said}");
    assert_eq!(files(&out), ["a.png"]);
    let said = done(&denoise(&[&from, "-r", "-o", &text(&out)]));
    assert!(said.contains("1 of 3 images were there already"), "{said}");
    assert_eq!(files(&out), ["a.png", "day/b.jpg", "day/night/c.png"]);
    assert_eq!(size(out.join("day/b.jpg")), (9, 12));
    // The folder of the output is not searched, wherever it lies.
    let inside = Path::new(&from).join("clean");
    for _ in 0..2 {
        done(&denoise(&[&from, "--recursive", "-o", &text(&inside)]));
        assert_eq!(files(&inside), ["a.png", "day/b.jpg", "day/night/c.png"]);
    }
    // A link that leads back is followed once.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&from, Path::new(&from).join("day/back")).unwrap();
        let again = text(&dir.path().join("again"));
        done(&denoise(&[&from, "--recursive", "-o", &again]));
        assert!(files(Path::new(&again)).contains(&"day/b.jpg".to_owned()));
    }
    // Two folders with the same names would meet.
    std::fs::create_dir(dir.path().join("more")).unwrap();
    save(&dir.path().join("more"), "a.png", grey(8, 8));
    let more = text(&dir.path().join("more"));
    let output = denoise(&[&from, &more, "-o", &text(&out)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("another image goes to"), "{}", stderr(&output));
}

#[test]
fn a_suffix_puts_images_beside_their_sources() {
    let dir = tempfile::tempdir().unwrap();
    let from = photos(dir.path());
    let one = Path::new(&from).join("day/b.jpg");
    done(&denoise(&[&text(&one), "--suffix", "-denoised"]));
    assert_eq!(size(one.with_file_name("b-denoised.jpg")), (9, 12));
    for there in ["1 of 3", "3 of 3"] {
        let said = done(&denoise(&[&from, "-r", "--suffix", "-denoised"]));
        assert!(said.contains(there) && said.contains("are outputs"), "{said}");
        let expected = [
            "a-denoised.png",
            "a.png",
            "day/b-denoised.jpg",
            "day/b.jpg",
            "day/night/c-denoised.png",
            "day/night/c.png",
        ];
        assert_eq!(files(Path::new(&from)), expected);
    }
    // In a folder of their own.
    let out = dir.path().join("out");
    done(&denoise(&[&text(&one), "--suffix=_x", "-o", &format!("{}/", text(&out))]));
    assert_eq!(files(&out), ["b_x.jpg"]);
    let wrong = |more: &[&str], parts: &[&str]| {
        let call = ["denoise", &model(), &text(&one)];
        fails(2, call.iter().map(AsRef::as_ref).chain(more.iter().copied()), parts);
    };
    wrong(&[], &["--out", "--suffix"]);
    wrong(&["--suffix", "a/b"], &["--suffix", "end of a name"]);
    wrong(&["--suffix", ""], &["--suffix"]);
    wrong(
        &["--suffix", "-x", "-o", &text(&dir.path().join("o.png"))],
        &["--suffix needs a folder"],
    );
    wrong(&["--suffix", "-x", "-o", "-"], &["--suffix"]);
}

#[test]
fn an_interrupted_call_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let from = photos(dir.path());
    let out = dir.path().join("out");
    let broken = Path::new(&from).join("broken.png");
    std::fs::write(&broken, b"\x89PNG\r\n\x1a\n and no more").unwrap();
    // One failure costs one image, and the exit status says so.
    let call = [&from, "-r", "-o", &text(&out)];
    let output = denoise(&call);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("1 of 4 images failed"), "{}", stderr(&output));
    assert_eq!(files(&out), ["a.png", "day/b.jpg", "day/night/c.png"]);
    std::fs::remove_file(out.join("day/b.jpg")).unwrap();
    let old = std::fs::read(out.join("a.png")).unwrap();
    std::fs::copy(Path::new(&from).join("a.png"), &broken).unwrap();
    let other = ["denoise", &model(), "--sigma", "0.3", &from, "-r", "-o", &text(&out), "--json"];
    let found = json(other);
    let images = found["images"].as_array().unwrap();
    let skipped = images.iter().filter(|image| image["skipped"] == true).count();
    assert_eq!((images.len(), skipped), (4, 2), "{found}");
    assert_eq!(std::fs::read(out.join("a.png")).unwrap(), old, "stays as it was");
    assert_eq!(files(&out), ["a.png", "broken.png", "day/b.jpg", "day/night/c.png"]);
    let found = json(other.iter().chain(&["--overwrite"]));
    assert!(found["images"].as_array().unwrap().iter().all(|image| image["skipped"].is_null()));
    assert_ne!(std::fs::read(out.join("a.png")).unwrap(), old, "made anew");
    // A file that is named is replaced.
    let (a, named) = (text(&Path::new(&from).join("a.png")), text(&dir.path().join("o.png")));
    std::fs::write(&named, b"old").unwrap();
    done(&denoise(&[&a, "-o", &named]));
    assert_eq!(size(&named), (8, 8));
}
