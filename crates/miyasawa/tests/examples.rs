//! Runs every program of `examples/` on small data and checks what it prints.
//!
//! `cargo test -p miyasawa` builds them beside this test; `cargo test --test examples` alone does
//! not: `cargo build --release -p miyasawa --examples` does.

use miyasawa::prelude::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A test for every example, and the names of all.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                let folder = tempfile::tempdir().expect("a temporary folder");
                cases::$name(folder.path());
            }
        )*
    };
}

cases![
    attack_a_model,
    camera,
    certify,
    classify,
    denoise,
    embed_in_a_service,
    evaluation_images,
    explain,
    noise_kinds,
    noise_levels,
    own_data_source,
    own_network,
    train_on_your_data,
];

#[test]
fn every_example_has_a_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    found.sort();
    assert_eq!(found, CASES, "the programs of {}, and the cases here", folder.display());
}

#[test]
fn examples_are_short_and_say_how_to_run_them() {
    for name in CASES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().count();
        assert!((30..=90).contains(&lines), "{name}: {lines} lines, expected 30 to 90");
        let command = format!("cargo run --release -p miyasawa --example {name}");
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(header.contains(&command), "{name}: expected '{command}' in its first comment");
    }
}

/// The image of a frog of the book's figures.
fn frog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book/src/figures/frog.jpg")
}

fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
    let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.is_file(), "{} is not built; see the head of this file", path.display());
    Command::new(path)
}

/// What an example prints when it succeeds.
fn run(name: &str, folder: &Path, args: &[&str]) -> String {
    let output = program(name).args(args).current_dir(folder).output().unwrap();
    let [text, errors] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    assert!(output.status.success(), "{name} {args:?}: {}\n{text}{errors}", output.status);
    text.into_owned()
}

/// The message with which an example fails.
fn fails(name: &str, folder: &Path, args: &[&str]) -> String {
    let output = program(name).args(args).current_dir(folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{name} {args:?}: an error, no panic");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The numbers that directly follow `key` in a text, in order.
fn numbers(text: &str, key: &str) -> Vec<f64> {
    let number = |rest: &str| {
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !"0123456789.e-".contains(c)).unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches('.').parse();
        number.unwrap_or_else(|_| panic!("expected a number after '{key}':\n{text}"))
    };
    text.split(key).skip(1).map(number).collect()
}

/// The number with which a text begins.
fn leading(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).expect(text)
}

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer of an HTTP service to a POST of `body`: its status line and its text.
fn post(address: &str, body: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "POST /classify HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, text) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap().to_owned(), text.to_owned())
}

mod cases {
    use super::*;

    pub fn classify(folder: &Path) {
        let frog = frog().display().to_string();
        let text = run("classify", folder, &[&frog, &frog]);
        assert_eq!(text.matches("frog.jpg (noise level").count(), 2, "{text}");
        let first = text.lines().nth(1).unwrap();
        assert!(first.contains('%') && first.ends_with("frog"), "{text}");
        let document = serde_json::from_str::<Classification>(text.lines().last().unwrap());
        assert_eq!(document.unwrap().best().class, "frog");
        assert!(fails("classify", folder, &[]).contains("usage: classify"));
        assert!(fails("classify", folder, &["none.png"]).contains("none.png"));
    }

    pub fn denoise(folder: &Path) {
        let frog = frog().display().to_string();
        let text = run("denoise", folder, &[&frog, "clean.png", "0.2"]);
        let noisy = numbers(&text, "clean.png:")[0];
        let denoised = numbers(&text, "dB noisy,")[0];
        // 10 log10(4 / 0.2^2) = 20 dB, and more after denoising.
        assert!((noisy - 20.0).abs() < 0.3 && denoised > noisy + 5.0, "{text}");
        let [clean, written] = [frog.as_str(), "clean.png"].map(|p| Image::open(folder.join(p)));
        let (clean, written) = (clean.unwrap(), written.unwrap());
        assert_eq!(written.shape(), clean.shape());

        // With the level estimated.
        clean.with_noise(0.2, 1).unwrap().save(folder.join("noisy.png")).unwrap();
        let text = run("denoise", folder, &["noisy.png", "estimated.png"]);
        let sigma = numbers(&text, "noise of level")[0];
        assert!((sigma - 0.2).abs() < 0.04, "{text}");
        assert!(folder.join("estimated.png").is_file());
    }

    pub fn camera(folder: &Path) {
        let frog = frog().display().to_string();
        let quality = |iso: &str, jpeg: &str| {
            let text = run("camera", folder, &[iso, jpeg, "shots", &frog]);
            numbers(&text, "frog:")[0]
        };
        let [low, high] = ["100", "6400"].map(|iso| quality(iso, "none"));
        assert!(low > 40.0 && high < low - 10.0, "{low} dB, {high} dB");
        let stored = quality("6400", "50");
        assert!(stored != high && (stored - high).abs() < 6.0, "{stored} dB, {high} dB");
        let truth = Image::open(folder.join("shots/frog-truth.png")).unwrap();
        let noisy = Image::open(folder.join("shots/frog-noisy.png")).unwrap();
        assert_eq!(truth.shape(), noisy.shape());
        assert!(fails("camera", folder, &["100"]).contains("usage: camera"));
    }

    pub fn noise_kinds(folder: &Path) {
        let slope = (0..3 * 96 * 96).map(|i| (i % 96) as f32 / 60.0 - 0.8).collect();
        let slope = Image::new((3, 96, 96), slope).unwrap();
        slope.save(folder.join("slope.png")).unwrap();
        let text = run("noise_kinds", folder, &["slope.png"]);
        for (row, white) in [
            ("\nwhite 25 |", 1.0),
            ("\nwhite 25, 8 bits |", 1.0),
            ("\nwhite 25, JPEG 90 |", 0.0),
            ("\nISO 6400 |", 0.0),
        ] {
            assert_eq!(numbers(&text, row)[0], white, "{text}");
        }
        assert!(fails("noise_kinds", folder, &[]).contains("usage: noise_kinds"));
    }

    pub fn noise_levels(folder: &Path) {
        let slope = (0..3 * 96 * 96).map(|i| (i % 96) as f32 / 50.0 - 0.96).collect();
        let slope = Image::new((3, 96, 96), slope).unwrap();
        slope.save(folder.join("slope.png")).unwrap();
        let text = run("noise_levels", folder, &["white", "slope.png"]);
        for level in ["\n10 |", "\n25 |"] {
            // Of the image, of it with more contrast, and of flat ones.
            let ratios = numbers(&text, level);
            assert!(ratios.len() == 3, "{text}");
            assert!(ratios.iter().all(|ratio| (ratio - 1.0).abs() < 0.1), "{text}");
        }
        let text = run("noise_levels", folder, &["camera", "slope.png"]);
        assert!(numbers(&text, "\n 6400 |")[0] > numbers(&text, "\n  400 |")[0], "{text}");
        assert!(fails("noise_levels", folder, &["white"]).contains("usage: noise_levels"));
    }

    pub fn explain(folder: &Path) {
        let frog = frog().display().to_string();
        let text = run("explain", folder, &[&frog, "ship", "why.png"]);
        let (ship, error) = (numbers(&text, "p(ship | y) =")[0], numbers(&text, "differ by")[0]);
        assert!(ship < 50.0 && error < 1e-4, "{text}");
        // Three images side by side.
        let figure = Image::open(folder.join("why.png")).unwrap();
        assert!(figure.width() > 3 * 32 * 3 && figure.height() < figure.width(), "{figure:?}");
        assert!(fails("explain", folder, &[&frog, "house", "no.png"]).contains("house"));
        assert!(!folder.join("no.png").exists());
    }

    pub fn train_on_your_data(folder: &Path) {
        let text = run("train_on_your_data", folder, &[]);
        let (loss, accuracy) = (numbers(&text, ": loss"), numbers(&text, "accuracy"));
        assert!(loss.len() == 5 && loss[4] < loss[0], "{text}");
        assert!(accuracy.iter().all(|share| *share > 60.0), "{text}");
        assert!(text.contains("classes stripes, rings, images of 1x16x16"), "{text}");

        let images = folder.join("photos");
        for (class, value) in [("dark", -0.6), ("light", 0.6)] {
            std::fs::create_dir_all(images.join(class)).unwrap();
            for i in 0..12 {
                let image = Image::filled(3, 40, 50, value).unwrap().with_noise(0.2, i).unwrap();
                image.save(images.join(class).join(format!("{i}.png"))).unwrap();
            }
        }
        let text = run("train_on_your_data", folder, &["photos", "20"]);
        assert!(text.contains("classes dark, light, images of 3x32x32"), "{text}");
        assert_eq!(numbers(&text, "PSNR").len(), 2, "{text}");
        assert!(fails("train_on_your_data", folder, &["nothing"]).contains("nothing"));
    }

    pub fn own_data_source(folder: &Path) {
        let text = run("own_data_source", folder, &["40"]);
        let (images, steps) = (leading(&text), numbers(&text, "after")[0]);
        let (accuracy, reads) = (numbers(&text, "accuracy")[0], numbers(&text, "was read")[0]);
        assert!(images > 1000.0 && steps == 40.0 && text.contains("1x8x8, 10 classes"), "{text}");
        // Ten classes; and images are read when the steps need them.
        assert!(accuracy > 20.0 && reads >= 40.0 * 64.0, "{text}");
    }

    pub fn own_network(folder: &Path) {
        let text = run("own_network", folder, &["200"]);
        let (loss, psnr) = (numbers(&text, ": loss"), numbers(&text, "PSNR"));
        assert!(loss.len() == 4 && loss[3] < loss[0], "{text}");
        let accuracy = numbers(&text, "accuracy");
        assert!(accuracy.len() == 5 && accuracy[0] > 60.0 && accuracy[4] > 10.0, "{text}");
        // Less noise is left of less noise.
        assert!(psnr.is_sorted_by(|less, more| less > more), "{text}");
    }

    pub fn attack_a_model(folder: &Path) {
        let text = run("attack_a_model", folder, &["40"]);
        let clean = numbers(&text, "clean:")[0];
        let [fgsm, pgd, auto] = ["FGSM", "PGD", "AutoAttack"].map(|name| numbers(&text, name));
        assert!(clean > 0.7 && fgsm.len() == 2, "{text}");
        for i in 0..2 {
            assert!(clean >= fgsm[i] && fgsm[i] >= pgd[i] && pgd[i] >= auto[i], "{text}");
        }
        assert!(auto[1] < auto[0] && auto[0] < clean, "{text}");
    }

    pub fn certify(folder: &Path) {
        let text = run("certify", folder, &["100", "10"]);
        assert_eq!(text.matches("image ").count(), 10, "{text}");
        let shares = numbers(&text, "certified accuracy");
        assert!(shares.len() == 4 && shares[0] > 0.4, "{text}");
        assert!(shares.is_sorted_by(|near, far| near >= far), "{text}");
    }

    pub fn embed_in_a_service(folder: &Path) {
        let mut child = program("embed_in_a_service");
        let child = child.arg("127.0.0.1:0").current_dir(folder).stdout(Stdio::piped());
        let mut service = Running(child.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect(&line);

        let frog = std::fs::read(frog()).unwrap();
        let (status, text) = post(address, &frog);
        let found: Classification = serde_json::from_str(&text).expect(&text);
        assert!(status.contains("200") && found.best().class == "frog", "{status}: {text}");
        assert_eq!(found.classes.len(), 5);
        for broken in [&frog[..100], b"no image"] {
            let (status, text) = post(address, broken);
            let document: serde_json::Value = serde_json::from_str(&text).expect(&text);
            assert!(status.contains("422") && document["error"].is_string(), "{status}: {text}");
        }
        // It goes on after broken requests.
        assert!(post(address, &frog).0.contains("200"));
    }

    pub fn evaluation_images(folder: &Path) {
        let text = run("evaluation_images", folder, &["digits", "8", "out.bin"]);
        let bytes = std::fs::read(folder.join("out.bin")).unwrap();
        // Every image has 3x8x8 bytes.
        assert_eq!(bytes.len() as f64, leading(&text) * 192.0, "{text}");
    }
}
