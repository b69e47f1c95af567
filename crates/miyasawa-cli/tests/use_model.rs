//! A model in use: eval, classify, denoise, explain, info, verify, bench.

mod common;

use common::*;
use image::{DynamicImage, ImageBuffer, Luma};

#[test]
fn eval_reports_a_row_for_every_noise_level() {
    let found = json([
        "eval",
        &model(),
        "--data",
        "digits",
        "--sigmas",
        "0.1,0.4",
        "--limit",
        "30",
        "--json",
    ]);
    assert_eq!(keys(&found), ["count", "data", "model", "model_sha256", "rows", "seed", "units"]);
    assert_eq!(found["count"], 30);
    assert_eq!(found["data"], "digits");
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, sigma) in rows.iter().zip([0.1, 0.4]) {
        let expected = [
            "accuracy",
            "accuracy_interval",
            "ece",
            "ece_error",
            "mse",
            "nll",
            "psnr",
            "psnr_error",
            "psnr_given_label",
            "psnr_given_label_error",
            "psnr_noisy",
            "sigma",
            "ssim",
            "ssim_error",
        ];
        assert_eq!(keys(row), expected);
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"));
        assert_eq!(number("sigma"), sigma);
        assert!((0.0..=1.0).contains(&number("accuracy")));
        assert!((0.0..=1.0).contains(&number("ece")) && (-1.0..=1.0).contains(&number("ssim")));
        assert!((0.5..10.0).contains(&number("nll")), "{row}");
        // PSNR of white noise at the peak-to-peak range 2.
        let noisy = 20.0 * (2.0 / sigma).log10();
        assert!((number("psnr_noisy") - noisy).abs() < 0.5, "{row}");
        assert!(number("psnr") > noisy - 1.0 && number("psnr_given_label") > noisy - 1.0, "{row}");
    }
    let table = ok(["eval", &model(), "--data", "digits", "--sigmas", "0.1", "--limit", "30"]);
    assert!(table.contains("accuracy") && table.lines().count() == 3, "{table}");
}

#[test]
fn eval_depends_on_the_seed_alone() {
    let with = |more: &[&str]| {
        let model = model();
        let args =
            ["eval", &model, "--data", "digits", "--sigmas", "0.4", "--limit", "20", "--json"];
        ok(args.iter().chain(more))
    };
    let first = with(&[]);
    assert_eq!(first, with(&["--seed", "0"]));
    assert_ne!(first, with(&["--seed", "1"]));
}

#[test]
fn classify_reports_classes_with_probabilities() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (save(dir.path(), "a.png", grey(8, 8)), save(dir.path(), "b.jpg", colour(40, 25)));
    let found = json(["classify", &model(), &a, &b, "--top", "10", "--json"]);
    assert_eq!(keys(&found), ["defence", "images", "model", "sigma"]);
    for (image, path) in found["images"].as_array().unwrap().iter().zip([&a, &b]) {
        assert_eq!(image["image"], path.as_str());
        let classes = image["classes"].as_array().unwrap();
        let probs: Vec<f64> = classes.iter().map(|c| c["probability"].as_f64().unwrap()).collect();
        assert_eq!(probs.len(), 10);
        assert!((probs.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{probs:?}");
        assert!(probs.is_sorted_by(|a, b| a >= b), "{probs:?}");
        assert!(
            classes.iter().all(|c| c["class"].as_str() == Some(c["index"].to_string().as_str()))
        );
    }
    let text = ok(["classify", &model(), &a, "--top", "3"]);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.starts_with(&a) && text.contains('%'), "{text}");
}

#[test]
fn classify_works_with_every_defence() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(8, 8));
    let ask = |more: &[&str]| {
        let found =
            json(["classify", &model(), &image, "--top", "10", "--json"].iter().chain(more));
        let classes = found["images"][0]["classes"].as_array().unwrap().clone();
        let probs: Vec<f64> = classes.iter().map(|c| c["probability"].as_f64().unwrap()).collect();
        assert!((probs.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{probs:?}");
        (
            found["defence"]["kind"].as_str().unwrap().to_owned(),
            found["sigma"].as_f64().unwrap(),
            probs,
        )
    };
    let plain = ask(&["--sigma", "0.2"]);
    assert_eq!((plain.0.as_str(), plain.1), ("softmax", 0.2));
    let denoised = ask(&["--defence", "denoise"]);
    assert_eq!((denoised.0.as_str(), denoised.1), ("denoise", 0.2));
    // Noise so small that it changes nothing: the mean over draws is that of one forward pass.
    let (small, conditioned) =
        (ask(&["--defence", "average", "--sigma", "1e-5"]), ask(&["--sigma", "1e-5"]));
    assert!(
        small.2.iter().zip(&conditioned.2).all(|(a, b)| (a - b).abs() < 1e-3),
        "{small:?} {conditioned:?}"
    );
    let average =
        |more: &[&str]| ask(&[&["--defence", "average", "--sigma", "0.4"], more].concat());
    assert_eq!(average(&[]), average(&["--draws", "8"]));
    assert_ne!(average(&[]), average(&["--seed", "1"]));
    let auto = ["classify", &model(), &image, "--defence", "average", "--sigma", "auto"];
    fails(2, auto, &["--sigma auto", "softmax"]);
}

#[test]
fn denoise_keeps_the_size_of_every_kind_of_image() {
    let dir = tempfile::tempdir().unwrap();
    let sixteen: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_fn(37, 23, |x, y| Luma([(x * 900 + y * 700) as u16]));
    let one = ImageBuffer::from_pixel(1, 1, Luma([200u8]));
    let cmyk = dir.path().join("cmyk.jpg");
    std::fs::write(&cmyk, include_bytes!("../../miyasawa/src/image/testdata/cmyk.jpg")).unwrap();
    let images = [
        save(dir.path(), "grey.png", grey(37, 23)),
        save(dir.path(), "colour.png", colour(37, 23)),
        save(dir.path(), "sixteen.png", DynamicImage::ImageLuma16(sixteen)),
        save(dir.path(), "photo.jpg", colour(37, 23)),
        save(dir.path(), "one.png", one),
        text(&cmyk),
    ];
    for image in &images {
        let out = dir.path().join("out.png");
        let said = ok(["denoise", &model(), image, "--sigma", "0.2", "-o", &text(&out)]);
        assert_eq!(said.trim_end(), text(&out));
        assert_eq!(size(&out), size_of(image), "{image}");
        // This is a model of grey images; colour is denoised channel by channel.
        let (before, after) =
            (image::open(image).unwrap().color(), image::open(&out).unwrap().color());
        assert_eq!(before, after, "{image}");
        ok(["classify", &model(), image]);
    }
    // Other formats by the name's extension, and a class that is known.
    for name in ["out.jpg", "out.webp", "out.tif", "out.bmp"] {
        let out = text(&dir.path().join(name));
        ok(["denoise", &model(), &images[0], "--sigma", "0.2", "--class", "3", "-o", &out]);
        assert!(std::fs::metadata(out).unwrap().len() > 100);
    }
}

fn size_of(path: &str) -> (u32, u32) {
    let reader = image::ImageReader::open(path).unwrap().with_guessed_format().unwrap();
    reader.into_dimensions().unwrap()
}

#[test]
fn denoise_reports_the_gain_where_it_added_the_noise() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(30, 30));
    let out = text(&dir.path().join("out.png"));
    let said = ok(["denoise", &model(), &image, "--add-noise", "0.4", "-o", &out]);
    assert!(said.contains("dB noisy") && said.contains("dB denoised"), "{said}");
    let found = json(["denoise", &model(), &image, "--add-noise", "0.4", "-o", &out, "--json"]);
    let document = &found["images"][0];
    assert_eq!(keys(document), ["image", "out", "psnr", "psnr_noisy", "sigma"]);
    assert!((document["psnr_noisy"].as_f64().unwrap() - 14.0).abs() < 1.0, "{document}");
    let (first, second) = (std::fs::read(&out).unwrap(), text(&dir.path().join("again.png")));
    ok(["denoise", &model(), &image, "--add-noise", "0.4", "-o", &second]);
    assert_eq!(first, std::fs::read(&second).unwrap());
    ok(["denoise", &model(), &image, "--add-noise", "0.4", "--seed", "5", "-o", &second]);
    assert_ne!(first, std::fs::read(&second).unwrap());
}

#[test]
fn a_noise_level_that_is_not_given_is_estimated_from_the_image() {
    let dir = tempfile::tempdir().unwrap();
    // Noise of a uniform distribution 60 of 255 wide: 60/sqrt(12) of 255, or 0.136 of the range
    // [-1, 1].
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        98 + (state >> 16) as u8 % 60
    };
    let mut noisy =
        |side| DynamicImage::ImageLuma8(ImageBuffer::from_fn(side, side, |_, _| Luma([noise()])));
    let path = save(dir.path(), "noisy.png", noisy(40));
    let small = save(dir.path(), "small.png", noisy(8));
    let out = text(&dir.path().join("out.png"));
    let found = json(["denoise", &model(), &path, "-o", &out, "--json"]);
    let sigma = found["images"][0]["sigma"].as_f64().unwrap();
    assert!((sigma - 0.136).abs() < 0.04, "{found}");
    let classified = json(["classify", &model(), &small, "--sigma", "auto", "--json"]);
    assert!(classified["images"][0]["sigma"].as_f64() > Some(0.08), "{classified}");
    let first = std::fs::read(&out).unwrap();
    ok(["denoise", &model(), &path, "--sigma", &sigma.to_string(), "-o", &out]);
    assert_eq!(first, std::fs::read(&out).unwrap());
    fails(
        2,
        ["classify", &model(), &path, "--sigma", "automatic"],
        &["automatic", "a number, or auto"],
    );
}

#[test]
fn denoise_takes_large_images_and_several_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let large = save(dir.path(), "large.png", grey(600, 520));
    let small = save(dir.path(), "small.jpg", colour(9, 12));
    let out = dir.path().join("new/folder");
    ok(["denoise", &model(), &large, &small, "--sigma", "0.1", "-o", &text(&out)]);
    assert_eq!(names(&out), ["large.png", "small.jpg"]);
    assert_eq!((size(out.join("large.png")), size(out.join("small.jpg"))), ((600, 520), (9, 12)));
    // Two images of one name, and images that would be replaced.
    std::fs::create_dir(dir.path().join("other")).unwrap();
    let same = save(&dir.path().join("other"), "large.png", grey(5, 5));
    fails(
        2,
        ["denoise", &model(), &large, &same, "--sigma", "0.1", "-o", &text(&out)],
        &["large.png"],
    );
    let here = text(dir.path());
    fails(
        2,
        ["denoise", &model(), &large, &small, "--sigma", "0.1", "-o", &here],
        &["large.png", "replace"],
    );
    assert_eq!(size(&large), (600, 520));
}

#[test]
fn of_many_classes_explain_takes_the_likeliest() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    for i in 0..30 {
        let class = set.join(format!("class {i:02}"));
        std::fs::create_dir_all(&class).unwrap();
        save(&class, "a.png", image::GrayImage::from_pixel(8, 8, image::Luma([8 * i as u8])));
    }
    let (run, data) = (dir.path().join("run"), format!("data.train={}", text(&set)));
    assert!(train(&run, 2, &["--set", &data, "-q"]).status.success());
    let (model, out) = (text(&run.join("model.safetensors")), text(&dir.path().join("why.png")));
    let image = text(&set.join("class 07/a.png"));
    let found = json(["explain", &model, &image, "--class", "all", "-o", &out, "--json"]);
    let probs =
        found["classes"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap());
    let probs: Vec<f64> = probs.collect();
    assert_eq!(probs.len(), 24);
    assert!(probs.is_sorted_by(|a, b| a >= b) && probs.iter().sum::<f64>() > 0.8, "{probs:?}");
    assert_eq!(found["holds"], true);
}

#[test]
fn explain_draws_the_identity_and_reports_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let image = save(dir.path(), "a.png", grey(20, 20));
    let out = text(&dir.path().join("why.png"));
    let found = json(["explain", &model(), &image, "--class", "7", "-o", &out, "--json"]);
    assert_eq!(found["class"], "7");
    assert_eq!(found["holds"], true);
    assert!(found["relative_error"].as_f64().unwrap() <= 1e-4, "{found}");
    assert!((0.0..=1.0).contains(&found["probability"].as_f64().unwrap()));
    let (width, height) = size(&out);
    assert!(
        width > 4 * height / 2 && height > 50,
        "five images beside each other: {width}x{height}"
    );
    let args = [
        "explain",
        &model(),
        &image,
        "--class",
        "7",
        "-o",
        &out,
        "--tolerance",
        "0",
        "--sigma",
        "0.4",
    ];
    let output = run(args);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
}

#[test]
fn info_describes_a_checkpoint() {
    let found = json(["info", &model(), "--json"]);
    let hash = found["sha256"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    assert_eq!(found["info"]["network"]["width"], 8);
    assert_eq!(found["info"]["training"]["steps"], 20);
    assert_eq!(found["info"]["data"]["classes"].as_array().unwrap().len(), 10);
    assert!(ok(["info", &model()]).contains(hash));
    assert_eq!(json(["info", "--json"])["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn verify_checks_the_embedded_oracle() {
    let found = json(["verify", "--json"]);
    assert_eq!(found["passed"], true);
    let quantities = found["quantities"].as_array().unwrap();
    assert!(
        quantities.len() > 20
            && quantities.iter().all(|q| q["relative_error"].as_f64().is_some_and(|e| e <= 1e-4))
    );
    for name in ["score", "denoised", "denoised_given_label", "ce", "dsm", "identity"] {
        assert!(quantities.iter().any(|q| q["quantity"] == name), "{name}");
    }
    assert!(ok(["verify"]).contains("passed"));
    let output = run(["verify", "--tolerance", "1e-12"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("failed"));
}

#[test]
fn bench_peak_reports_the_processors_limit() {
    let peak = json(["bench", "peak", "--threads", "1", "--json"]);
    assert_eq!(peak["threads"], 1);
    assert!(peak["peak_gflops"].as_f64().unwrap() > 0.1, "{peak}");
}

#[test]
fn bench_reports_its_measurements() {
    for (work, passes) in [("train-step", 6.0), ("classify", 1.0), ("denoise", 2.0)] {
        let found = json([
            "bench",
            work,
            "--width",
            "4",
            "--blocks",
            "1,1",
            "--image",
            "1x8x8",
            "--batch",
            "4",
            "--iters",
            "2",
            "--threads",
            "1",
            "--json",
        ]);
        let expected = [
            "achieved_gflops",
            "batch",
            "conv_gflop",
            "dtype",
            "images_per_second",
            "isa",
            "median_seconds",
            "peak_rss_bytes",
            "threads",
            "width",
            "working_bytes",
        ];
        assert_eq!(keys(&found), expected);
        let number = |key: &str| found[key].as_f64().unwrap();
        // MACs of the stem, of a block at 8x8, and of a block that halves the size with its
        // shortcut.
        let macs = 64 * 4 * 9 + 64 * 4 * 72 + 16 * 8 * (36 + 72 + 4);
        let gflop = 2e-9 * passes * 4.0 * f64::from(macs);
        assert!((number("conv_gflop") - gflop).abs() < 1e-3 * gflop, "{found} {gflop}");
        assert!((number("images_per_second") * number("median_seconds") - 4.0).abs() < 1e-6);
        assert_eq!((found["threads"].as_u64(), found["batch"].as_u64()), (Some(1), Some(4)));
    }
}
