//! Files in practice: any name, any number, standard input and output.

mod common;

use common::*;
use miyasawa::image::{Format, Image, ImageFile, ImageWriter};
use std::{
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

/// A call of denoise at a level, with the tiny model.
fn denoise(more: &[&str]) -> Output {
    run(["denoise", &model(), "--sigma", "0.1"].iter().chain(more))
}

/// Checks the error of a wrong call of denoise.
fn refused(more: &[&str], parts: &[&str]) {
    fails(2, ["denoise", &model(), "--sigma", "0.1"].iter().chain(more), parts);
}

fn done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
}

#[test]
fn a_source_is_never_replaced_unless_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    let (a, b) = (save(dir.path(), "a.png", grey(8, 8)), save(dir.path(), "b.png", grey(9, 9)));
    let before = [&a, &b].map(|path| std::fs::read(path).unwrap());
    let unchanged = || assert_eq!([&a, &b].map(|path| std::fs::read(path).unwrap()), before);
    refused(&[&a, "-o", &a], &["a.png", "would replace", "--overwrite"]);
    refused(&[&a, "-o", &at("./a.png")], &["--overwrite"]);
    refused(&[&a, "-o", &at("")], &["--overwrite"]);
    refused(&[&a, &b, "-o", &at("")], &["--overwrite"]);
    refused(&[&at(""), "-o", &at("")], &["--overwrite"]);
    #[cfg(unix)]
    {
        std::fs::hard_link(&a, at("hard.png")).unwrap();
        std::os::unix::fs::symlink(&a, at("soft.png")).unwrap();
        refused(&[&a, "-o", &at("hard.png")], &["hard.png", "--overwrite"]);
        refused(&[&a, "-o", &at("soft.png")], &["soft.png", "--overwrite"]);
        refused(&[&at("soft.png"), "-o", &a], &["a.png", "--overwrite"]);
        // To replace another image is still refused: it may not have been read yet.
        std::fs::create_dir(at("out")).unwrap();
        std::os::unix::fs::symlink(&b, at("out/a.png")).unwrap();
        refused(&[&a, &b, "-o", &at("out"), "--overwrite"], &["another image", "b.png"]);
        std::fs::remove_file(at("hard.png")).unwrap();
        std::fs::remove_file(at("soft.png")).unwrap();
    }
    unchanged();
    done(&denoise(&[&a, "-o", &a, "--overwrite"]));
    done(&denoise(&[&a, &b, "-o", &at(""), "--overwrite"]));
    assert_eq!((size(&a), size(&b)), ((8, 8), (9, 9)));
    assert!(
        [&a, &b].iter().zip(&before).all(|(path, before)| std::fs::read(path).unwrap() != *before)
    );
    // The model is never replaced.
    let named = at("model.png");
    std::fs::copy(model(), &named).unwrap();
    fails(2, ["denoise", &named, &a, "--sigma", "0.1", "-o", &named], &["would replace the model"]);
    fails(2, ["explain", &named, &a, "--class", "1", "-o", &named], &["would replace the model"]);
}

/// A wrong name is reported before anything is computed, and nothing is left behind.
#[test]
fn outputs_are_planned_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    let (a, b) = (save(dir.path(), "a.png", grey(8, 8)), save(dir.path(), "b.png", grey(9, 9)));
    refused(
        &[&a, &b, "-o", &at("multi.png")],
        &["multi.png", "several images", "expected a folder"],
    );
    refused(
        &[dir.path().to_str().unwrap(), "-o", &at("one.tif")],
        &["one.tif", "expected a folder"],
    );
    refused(&[&a, &b, "-o", &a], &["a.png", "--out must be a folder"]);
    refused(&[&a, &a, "-o", &at("out")], &["another image goes to"]);
    refused(&[&a, "-o", &at("x.gif")], &["x.gif", ".png"]);
    refused(&[&a, "-o", &at("x")], &["cannot determine the format"]);
    refused(&[&a, &b, "-o", "-"], &["several", "not -"]);
    refused(&["-", "-", "-o", &at("out")], &["given twice"]);
    refused(&["-", &a, "-o", &at("out")], &["standard input has no name"]);
    refused(&[&a, "-o", "-", "--json"], &["--json", "standard output"]);
    // The model is not even read.
    for out in [at("no/such/o.png"), at("a.png/o.png"), at("a.png/o/")] {
        let call = ["denoise", "missing.safetensors", &b, "--sigma", "0.1", "-o", &out];
        fails(1, call, &["cannot be written", "os error"]);
    }
    let call = ["explain", "missing.safetensors", &a, "--class", "1", "-o", &at("no/why.png")];
    fails(1, call, &["no/why.png", "cannot be written"]);
    assert_eq!(names(dir.path()), ["a.png", "b.png"]);
    // A name that ends with a separator is a folder, whatever its extension.
    done(&denoise(&[&a, &b, "-o", &at("multi.png/")]));
    done(&denoise(&[&a, "-o", &at("new/folder/")]));
    assert_eq!(
        (names(&dir.path().join("multi.png")).len(), size(at("new/folder/a.png"))),
        (2, (8, 8))
    );
}

#[test]
fn a_folder_gives_its_images_under_their_names_in_their_formats() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir_all(photos.join("more")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(photos.join(name), bytes).unwrap();
    save(&photos, "c.jpg", colour(9, 12));
    save(&photos, "b.png", grey(8, 8));
    write("a.jfif", &std::fs::read(photos.join("c.jpg")).unwrap());
    write("d", &std::fs::read(photos.join("c.jpg")).unwrap());
    write("E.PNG", &std::fs::read(photos.join("b.png")).unwrap());
    write(".hidden.png", b"");
    write("notes.txt", b"text");
    write("more.txt", b"text");
    write("f.heic", b"\0\0\0\x1cftypheic\0\0\0\0");
    let out = dir.path().join("out");
    let output = denoise(&[&text(&photos), "-o", &text(&out)]);
    done(&output);
    assert_eq!(names(&out), ["E.PNG", "a.jfif", "b.png", "c.jpg", "d.jpg"]);
    let order: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert!(order.is_sorted() && order.len() == 5, "{order:?}");
    let said = stderr(&output);
    assert!(said.contains("left out more.txt and 1 more") && said.contains("1 folders"), "{said}");
    assert!(said.contains("f.heic: a HEIC") && !said.contains(".hidden"), "{said}");
    for (name, format) in
        [("a.jfif", Format::Jpeg), ("d.jpg", Format::Jpeg), ("E.PNG", Format::Png)]
    {
        let bytes = std::fs::read(out.join(name)).unwrap();
        assert_eq!(Format::of_bytes(&bytes).unwrap(), format, "{name}");
    }
    let found = json(["classify", &model(), &text(&photos), "--json"]);
    assert_eq!(found["images"].as_array().unwrap().len(), 5);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    fails(1, ["classify", &model(), &text(&empty)], &["empty", "expected a folder with images"]);
}

/// The output of a call that reads a file as standard input.
fn piped(file: &Path, args: &[&str]) -> Output {
    let mut child = command();
    child.args(["denoise", &model(), "--sigma", "0.1"]).args(args);
    let mut child =
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(file).unwrap()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_and_output_are_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (save(dir.path(), "a.png", grey(8, 8)), save(dir.path(), "b.jpg", colour(9, 12)));
    let out = text(&dir.path().join("o.png"));
    done(&piped(Path::new(&a), &["-", "-o", &out]));
    let expected = std::fs::read(&out).unwrap();
    let output = denoise(&[&a, "-o", "-"]);
    done(&output);
    assert_eq!(output.stdout, expected);
    let output = piped(Path::new(&b), &["-", "-o", "-"]);
    done(&output);
    assert_eq!(Format::of_bytes(&output.stdout).unwrap(), Format::Jpeg);
    let output = piped(&dir.path().join("o.png"), &["-", "-o", "-", "--json"]);
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn private_files_and_links_stay_what_they_are() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let a = save(dir.path(), "a.png", grey(8, 8));
    for name in ["private.png", "target.png"] {
        std::fs::write(at(name), "old").unwrap();
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    symlink("target.png", at("link.png")).unwrap();
    for name in ["private.png", "link.png"] {
        done(&denoise(&[&a, "-o", &text(&at(name))]));
    }
    assert!(at("link.png").is_symlink());
    for name in ["private.png", "target.png"] {
        assert_eq!(size(at(name)), (8, 8));
        assert_eq!(std::fs::metadata(at(name)).unwrap().mode() & 0o777, 0o600);
    }
    let long = at(&format!("{}.png", "y".repeat(251)));
    done(&denoise(&[&a, "-o", &text(&long)]));
    assert_eq!(size(&long), (8, 8));
}

#[test]
fn quiet_prints_no_names() {
    let dir = tempfile::tempdir().unwrap();
    let a = save(dir.path(), "a.png", grey(8, 8));
    let output = denoise(&[&a, "-q", "-o", &text(&dir.path().join("o.png"))]);
    done(&output);
    assert_eq!((stdout(&output), stderr(&output)), (String::new(), String::new()));
}

/// Transparency is kept, or its loss is reported; each message once.
#[test]
fn losses_of_a_format_are_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let clear = |x: u32, y: u32| image::Rgba([200, 40, (x * y) as u8, (x * 30) as u8]);
    let image = image::RgbaImage::from_fn(8, 8, clear);
    let at = |name: &str| text(&dir.path().join(name));
    save(dir.path(), "a.png", image.clone());
    let output = denoise(&[&at("a.png"), "-o", &at("o.png")]);
    done(&output);
    assert!(!stderr(&output).contains("WARN"), "{}", stderr(&output));
    let found = image::open(at("o.png")).unwrap().into_rgba8();
    assert!(found.pixels().zip(image.pixels()).all(|(a, b)| a[3] == b[3]));
    assert_eq!(found.get_pixel(0, 3), image.get_pixel(0, 3), "what nobody sees stays");
    let output = denoise(&[&at("a.png"), "-o", &at("o.jpg")]);
    assert!(stderr(&output).contains("transparency (laid over white)"), "{}", stderr(&output));
    // Images with transparency to JPEG: reported for the first, counted for the others.
    for name in ["x.jpg", "y.jpg", "z.jpg"] {
        std::fs::copy(at("a.png"), at(name)).unwrap();
    }
    let output = denoise(&[&at("x.jpg"), &at("y.jpg"), &at("z.jpg"), "-o", &at("out")]);
    done(&output);
    let said = stderr(&output);
    assert_eq!(said.matches("laid over white").count(), 2, "{said}");
    assert!(said.contains("x.jpg: lost in JPEG") && said.contains("2 more images"), "{said}");
}

#[test]
fn all_pages_of_a_tiff_are_denoised() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut stack = ImageWriter::new(Format::Tiff);
    for level in [0.0, 0.4, -0.4] {
        Image::new((1, 8, 8), vec![level; 64]).unwrap().save(at("page.tif")).unwrap();
        let page = ImageFile::open(at("page.tif")).unwrap().page(0).unwrap();
        stack.add(&at("stack.tif"), &page).unwrap();
    }
    stack.save(&at("stack.tif")).unwrap();
    let (stack, out) = (text(&at("stack.tif")), text(&at("o.tif")));
    let found = json(["denoise", &model(), &stack, "--sigma", "0.1", "-o", &out, "--json"]);
    assert_eq!(found["images"][0]["pages"].as_array().unwrap().len(), 3, "{found}");
    assert_eq!(ImageFile::open(&out).unwrap().pages(), 3);
    let output = denoise(&[&stack, "-o", &text(&at("o.png"))]);
    done(&output);
    assert!(
        stderr(&output).contains("PNG holds one page: 2 more are left out"),
        "{}",
        stderr(&output)
    );
    let output = run(["classify", &model(), &stack]);
    assert!(stderr(&output).contains("the first of its 3 pages"), "{}", stderr(&output));
}

/// Names need not be UTF-8: a document holds what can be shown of them.
#[cfg(unix)]
#[test]
fn names_that_are_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
    let (image, out) = (path(b"caf\xe9.png"), path(b"sorti\xe9.png"));
    // Not every file system takes such a name.
    if std::fs::copy(save(dir.path(), "a.png", grey(8, 8)), &image).is_err() {
        return println!("skipped: the file system wants UTF-8");
    }
    let (model, moved) = (model(), path(b"mod\xe8le.safetensors"));
    std::fs::copy(&model, &moved).unwrap();
    let (p, o, m) = (image.as_os_str(), out.as_os_str(), moved.as_os_str());
    let s = |text: &'static str| OsStr::new(text);
    let found = json([s("classify"), m, p, s("--json")]);
    assert!(found["images"][0]["image"].as_str().unwrap().contains("caf"), "{found}");
    json([s("denoise"), m, p, s("--sigma"), s("0.2"), s("-o"), o, s("--json")]);
    assert_eq!(size(&out), (8, 8));
    // In a folder they are kept byte by byte.
    let folder = dir.path().join("two");
    let other = dir.path().join("a.png");
    ok([
        s("denoise"),
        m,
        p,
        other.as_os_str(),
        s("--sigma"),
        s("0.2"),
        s("-o"),
        folder.as_os_str(),
    ]);
    assert!(folder.join(OsStr::from_bytes(b"caf\xe9.png")).exists(), "{:?}", names(&folder));
    ok([s("explain"), m, p, s("--class"), s("3"), s("-o"), o]);
    json([s("export"), m, s("-o"), path(b"\xe8.safetensors").as_os_str(), s("--json")]);
    json([s("info"), m, s("--json")]);
    json([s("data"), s("info"), s("digits"), s("--limit"), s("20"), s("-o"), o, s("--json")]);
    json([
        s("data"),
        s("convert"),
        s("digits"),
        s("--shards"),
        s("1"),
        s("--out"),
        path(b"\xe9").as_os_str(),
        s("--json"),
    ]);
}

/// A corrupt image among several fails alone.
#[test]
fn a_corrupt_image_among_others() {
    let dir = tempfile::tempdir().unwrap();
    let (a, c) = (save(dir.path(), "a.png", grey(8, 8)), save(dir.path(), "c.png", grey(9, 7)));
    let b = text(&dir.path().join("b.png"));
    std::fs::write(&b, b"\x89PNG\r\n\x1a\n and no more").unwrap();
    let out = dir.path().join("out");
    let output =
        run(["denoise", &model(), &a, &b, &c, "--sigma", "0.2", "--out", &text(&out), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: ") && stderr(&output).contains("b.png"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(&out), ["a.png", "c.png"]);
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(found["images"][1]["error"].as_str().unwrap().contains("b.png"), "{found}");
    assert_eq!(found["images"][2]["image"], c.as_str());
    let output = run(["classify", &model(), &b, &a, &c]);
    assert_eq!((output.status.code(), stdout(&output).matches(".png").count()), (Some(1), 2));
    fails(1, ["classify", &model(), &b], &["b.png"]);
}

/// After the reader closes the pipe, the files are still written.
#[test]
fn a_closed_pipe_loses_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let images: Vec<String> =
        (0..4).map(|i| save(dir.path(), &format!("{i}.png"), grey(8, 8))).collect();
    let out = dir.path().join("out");
    let mut child = command()
        .args(["denoise", &model(), "--sigma", "0.2", "--out", &text(&out)])
        .args(&images)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_eq!(names(&out), ["0.png", "1.png", "2.png", "3.png"]);
}

/// A checkpoint is recognised by its content, whatever its name.
#[test]
fn a_model_of_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(8, 8));
    for name in ["model", "MODEL.SAFETENSORS", "model.bin"] {
        let path = text(&dir.path().join(name));
        std::fs::copy(model(), &path).unwrap();
        assert_eq!(json(["classify", &path, &image, "--json"])["model"], path.as_str());
    }
    // An empty variable counts as not set.
    let output = command().env("MIYASAWA_MODEL", "").args(["info", "--json"]).output().unwrap();
    assert!(stdout(&output).contains("bundled"), "{}", stderr(&output));
}

#[test]
fn no_output_replaces_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(8, 8));
    let before = std::fs::read(&image).unwrap();
    let other = text(&dir.path().join("w.png"));
    let model = model();
    let explain = |more: &[&str], parts: &[&str]| {
        fails(2, ["explain", &model, &image, "--class", "3"].iter().chain(more), parts);
    };
    explain(&["-o", &image], &["a.png", "would replace the image"]);
    explain(&["-o", &other, "--jacobian", &image], &["would replace the image"]);
    explain(&["-o", &other, "--path", &other], &["w.png", "two figures"]);
    explain(&["-o", &other, "--path", &text(&dir.path().join("./w.png"))], &["two figures"]);
    let beside = text(&dir.path().join("w-dimension.png"));
    explain(&["-o", &beside, "--jacobian", &other], &["w-dimension.png", "two figures"]);
    explain(&["-o", &other, "--tolerance", "nan"], &["--tolerance is NaN"]);
    explain(&["-o", &other, "--path", "p.png", "--confidence", "2"], &["--confidence is 2"]);
    assert_eq!(std::fs::read(&image).unwrap(), before);
    assert_eq!(names(dir.path()), ["a.png"]);
    let classes = dir.path().join("set");
    for class in ["x", "y"] {
        std::fs::create_dir_all(classes.join(class)).unwrap();
        std::fs::copy(&image, classes.join(class).join("a.png")).unwrap();
    }
    let set = text(&classes);
    fails(
        1,
        ["data", "convert", &set, "--shards", "1", "--out", &set],
        &["which holds its images"],
    );
    // The written folder is a DATA argument, though it has no parts.
    let shards = text(&dir.path().join("shards"));
    ok(["data", "convert", &set, "--shards", "2", "--out", &shards]);
    let found = json(["data", "info", &shards, "--json"]);
    assert_eq!(
        (found["parts"].as_array().unwrap().len(), &found["parts"][0]["count"]),
        (1, &2.into()),
        "{found}"
    );
}
