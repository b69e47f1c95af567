//! The options of `denoise`: strengths, kinds of noise, previews, uncertainty.

mod common;

use common::*;
use image::{DynamicImage, GenericImageView as _, RgbImage};
use std::{
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    stderr(output)
}

/// A colour image with plain areas and structure, noisy all over.
fn noisy(width: u32, height: u32) -> RgbImage {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u8 % 30
    };
    RgbImage::from_fn(width, height, |x, y| {
        let structure = if x > width / 2 && (x / 6 + y / 5) % 2 == 0 { 80 } else { 0 };
        image::Rgb([60 + structure + noise(), 90 + noise(), 70 + structure / 2 + noise()])
    })
}

fn rgb(path: impl AsRef<Path>) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

/// The luma of ITU-R BT.601.
fn luma(pixel: &image::Rgb<u8>) -> f64 {
    let [r, g, b] = pixel.0.map(f64::from);
    0.299 * r + 0.587 * g + 0.114 * b
}

#[test]
fn strengths_leave_a_part_of_the_noise_or_take_more() {
    let dir = tempfile::tempdir().unwrap();
    let from = save(dir.path(), "a.png", noisy(40, 30));
    let of = |more: &[&str]| {
        let out = dir.path().join("out.png");
        done(&run(["denoise", &model(), &from, "-o", &text(&out)].iter().chain(more)));
        rgb(out)
    };
    let plain = of(&["--sigma", "0.2"]);
    assert_eq!(of(&["--sigma", "0.2", "--strength", "1"]), plain);
    assert_eq!(of(&["--sigma", "0.2", "--luma", "1", "--chroma", "1"]), plain);
    assert_eq!(of(&["--sigma", "0.2", "--luma", "0", "--chroma", "0"]), rgb(&from));
    // The luma comes back, the colour noise does not. Clipping would change both.
    let luma_back = of(&["--sigma", "0.2", "--strength", "0"]);
    let colour = |image: &RgbImage| -> Vec<f64> {
        image.pixels().map(|pixel| f64::from(pixel[0]) - luma(pixel)).collect()
    };
    let far = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
    };
    let lumas = |image: &RgbImage| -> Vec<f64> { image.pixels().map(luma).collect() };
    assert!(far(&lumas(&luma_back), &lumas(&rgb(&from))) < 0.6);
    assert!(far(&colour(&luma_back), &colour(&plain)) < 0.6);
    assert!(far(&colour(&luma_back), &colour(&rgb(&from))) > 1.0);
    // Above 1 the model is conditioned on more noise: both parts, or one of them.
    let more = of(&["--sigma", "0.3"]);
    assert_eq!(of(&["--sigma", "0.2", "--strength", "1.5"]), more);
    let luma_only = of(&["--sigma", "0.2", "--luma", "1.5"]);
    assert!(far(&lumas(&luma_only), &lumas(&more)) < 0.6);
    assert!(far(&colour(&luma_only), &colour(&plain)) < 0.6);
    let out = text(&dir.path().join("out.png"));
    let call = ["denoise", &model(), &from, "--sigma", "0.2", "-o", &out];
    let found = json(call.iter().chain(&["--strength", "0.7", "--json"]));
    let strength = &found["strength"];
    assert_eq!((&strength["luma"], &strength["chroma"]), (&0.7.into(), &1.0.into()), "{found}");
    assert!(json(call.iter().chain(&["--json"]))["strength"].is_null());
    for option in ["--strength", "--luma", "--chroma"] {
        for value in ["-0.1", "1.6", "nan"] {
            let parts = [&format!("{option} is "), "expected a number from 0 to 1.5"];
            fails(2, call.iter().chain(&[option, value]), &parts);
        }
        fails(2, call.iter().chain(&[option, "much"]), &[option, "much"]);
    }
}

#[test]
fn a_level_outside_the_training_is_clamped_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let from = save(dir.path(), "a.png", noisy(20, 20));
    let [a, b] = ["a", "b"].map(|name| text(&dir.path().join(format!("out-{name}.png"))));
    let sigma = &json(["info", &model(), "--json"])["info"]["sigma"];
    let [smallest, largest] = [0, 1].map(|i| sigma[i].as_f64().unwrap());
    let denoise = |level: f64, out: &str, more: &[&str]| {
        let level = level.to_string();
        run(["denoise", &model(), &from, "--sigma", &level, "-o", out].iter().chain(more))
    };
    let said = done(&denoise(1.4 * largest, &a, &[]));
    let removed = format!("noise of {largest} is removed");
    assert!(said.contains("outside") && said.contains(&removed), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(done(&denoise(largest, &b, &[])), "");
    assert_eq!(rgb(&a), rgb(&b));
    let output = denoise(1.4 * largest, &a, &["--json"]);
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["images"][0]["sigma"], largest);
    // A strength leads beyond it too.
    let said = done(&denoise(largest, &a, &["--strength", "1.2"]));
    assert!(said.contains(&removed), "{said}");
    assert_eq!(rgb(&a), rgb(&b));
    let said = done(&denoise(0.5 * smallest, &a, &[]));
    assert!(said.contains("outside") && said.contains("shortened"), "{said}");
}

#[test]
fn kinds_of_noise_are_levels_or_estimates() {
    let dir = tempfile::tempdir().unwrap();
    let from = save(dir.path(), "a.png", noisy(64, 48));
    let out = text(&dir.path().join("out.png"));
    let of = |more: &[&str]| {
        let call = ["denoise", &model(), &from, "-o", &out, "--json"];
        let found = json(call.iter().chain(more));
        let image = &found["images"][0];
        (rgb(&out), image["sigma"].as_f64().unwrap(), image["noise"].as_str().map(str::to_owned))
    };
    let white = Some("white".to_owned());
    let (given, estimated) = (of(&["--sigma", "0.2"]), of(&["--sigma", "auto"]));
    assert_eq!((given.1, &given.2), (0.2, &None));
    assert_eq!(of(&["--noise", "white:0.2"]), (given.0, given.1, white.clone()));
    for kind in ["white", "auto"] {
        assert_eq!(of(&["--noise", kind]), (estimated.0.clone(), estimated.1, white.clone()));
    }
    let (_, level, kind) = of(&["--noise", "camera"]);
    assert_eq!(kind.as_deref(), Some("camera"));
    // Uniform noise 30 of 255 wide has a deviation of 0.068.
    assert!((0.03..0.2).contains(&level) && level != estimated.1, "{level}");
    let call = ["denoise", &model(), &from, "-o", &out];
    fails(2, call.iter().chain(&["--noise", "white:25"]), &["is 25", "25 of 255 is 0.196"]);
    for kind in ["white:", "black", "camera:100", "white:auto"] {
        fails(2, call.iter().chain(&["--noise", kind]), &["--noise", kind, "white:S"]);
    }
    let both = call.iter().chain(&["--noise", "white", "--sigma", "0.2"]);
    fails(2, both, &["--noise", "--sigma", "cannot be used with"]);
}

#[test]
fn noise_of_a_camera_is_added_and_the_gain_reported() {
    let dir = tempfile::tempdir().unwrap();
    let from = save(dir.path(), "a.png", colour(48, 40));
    let (out, again) = (text(&dir.path().join("out.png")), text(&dir.path().join("again.png")));
    let of = |noise: &str, out: &str, more: &[&str]| {
        let call = ["denoise", &model(), &from, "--add-noise", noise, "-o", out];
        json(call.iter().chain(&["--json"]).chain(more))["images"][0].clone()
    };
    let number = |found: &serde_json::Value, key: &str| found[key].as_f64().unwrap();
    let found = of("camera:6400", &out, &[]);
    assert_eq!(keys(&found), ["image", "out", "psnr", "psnr_noisy", "sigma"]);
    // The level is the one of the noise that was added.
    let (sigma, before) = (number(&found, "sigma"), number(&found, "psnr_noisy"));
    assert!((before - 20.0 * (2.0 / sigma).log10()).abs() < 1e-6, "{found}");
    assert!(number(&of("camera:400", &again, &[]), "psnr_noisy") > before + 3.0);
    assert_eq!(of("camera:6400", &again, &[])["psnr"], found["psnr"]);
    assert_eq!(rgb(&out), rgb(&again));
    assert_ne!(of("camera:6400", &again, &["--seed", "5"])["psnr"], found["psnr"]);
    let given = of("camera:6400", &again, &["--sigma", "0.1"]);
    assert_eq!((&given["sigma"], &given["psnr_noisy"]), (&0.1.into(), &found["psnr_noisy"]));
    assert_eq!(of("camera:6400", &again, &["--noise", "camera"])["noise"], "camera");
    let said = ok(["denoise", &model(), &from, "--add-noise", "camera:6400", "-o", &out]);
    assert!(said.contains("dB noisy") && said.contains("dB denoised"), "{said}");
    let call = ["denoise", &model(), &from, "-o", &out, "--add-noise"];
    for iso in ["camera:0", "camera:-5", "camera:nan", "camera:1e9"] {
        fails(2, call.iter().chain(&[iso]), &["--add-noise is camera:", "an ISO number from 1 to"]);
    }
    for noise in ["camera:high", "camera", "much"] {
        fails(2, call.iter().chain(&[noise]), &["--add-noise", "camera:1600"]);
    }
    let one = save(dir.path(), "one.png", colour(1, 1));
    let call = ["denoise", &model(), &one, "-o", &out, "--add-noise", "camera:100"];
    fails(1, call, &["one.png", "at least 2x2"]);
}

#[test]
fn a_preview_shows_a_part_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let from = save(dir.path(), "a.png", noisy(300, 270));
    let preview = text(&dir.path().join("look.png"));
    let call = ["denoise", &model(), &from, "--sigma", "0.1", "--preview", &preview];
    let said = ok(call);
    assert!(said.starts_with(&preview) && said.contains("times as large"), "{said}");
    assert_eq!(names(dir.path()), ["a.png", "look.png"], "nothing else is written");
    let first = rgb(&preview);
    assert_eq!(first.dimensions(), (3 * 256 + 2 * 4, 256));
    let out = text(&dir.path().join("out.png"));
    let found = json(call.iter().chain(&["-o", &out, "--json"]));
    let found = &found["images"][0];
    assert_eq!(keys(found), ["image", "out", "preview", "psnr", "psnr_noisy", "sigma"]);
    let report = &found["preview"];
    assert_eq!(keys(report), ["amplification", "height", "left", "out", "top", "width"]);
    assert_eq!(rgb(&preview), first, "it does not depend on what else is done");
    let number = |key: &str| report[key].as_u64().unwrap() as u32;
    let part =
        |path: &str| rgb(path).view(number("left"), number("top"), 256, 256).to_image().into_raw();
    let column = |i: u32| first.view(i * 260, 0, 256, 256).to_image().into_raw();
    assert_eq!(column(0), part(&from));
    let far = |a: &[u8], b: &[u8]| {
        a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
    };
    let (after, removed) = (far(&column(1), &part(&out)), far(&part(&from), &part(&out)));
    assert!(after < 0.2 * removed && removed > 1.0, "{after} {removed}");
    // The difference, up to rounding of both images.
    let factor = number("amplification") as f32;
    let pairs = part(&from).into_iter().zip(column(1)).zip(column(2));
    for ((before, after), difference) in pairs {
        let expected = 127.5 + factor * (f32::from(before) - f32::from(after));
        let error = f32::from(difference) - expected.clamp(0.0, 255.0);
        assert!(error.abs() <= factor + 1.0, "{before} {after} {difference} times {factor}");
    }
    // Strengths are those of the image; standard input has a preview too.
    ok(call.iter().chain(&["--luma", "0", "--chroma", "0"]));
    let same = rgb(&preview);
    assert_eq!(same.view(260, 0, 256, 256).to_image().into_raw(), part(&from));
    let mut child = command()
        .args(["denoise", &model(), "-", "--sigma", "0.1", "--preview", &preview, "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&from).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(done(&output).contains("times as large"));
    assert_eq!(image::load_from_memory(&output.stdout).unwrap().into_rgb8(), rgb(&out));
    assert_eq!(rgb(&preview), first);
}

#[test]
fn the_uncertainty_is_an_image_whose_numbers_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let from = save(dir.path(), "a.png", noisy(24, 20));
    let out = text(&dir.path().join("deviation.png"));
    let call = ["denoise", &model(), &from, "--sigma", "0.2", "--uncertainty", &out];
    let said = ok(call);
    assert!(said.starts_with(&out) && said.contains("in the mean"), "{said}");
    assert_eq!(names(dir.path()), ["a.png", "deviation.png"]);
    let found = json(call.iter().chain(&["--json"]));
    let found = &found["images"][0];
    assert_eq!(keys(found), ["image", "psnr", "psnr_noisy", "sigma", "uncertainty"]);
    let report = &found["uncertainty"];
    assert_eq!(keys(report), ["mean", "out", "white"]);
    let (mean, white) = (report["mean"].as_f64().unwrap(), report["white"].as_f64().unwrap());
    assert!(mean > 0.0 && mean < white && white >= 0.2, "{report}");
    let DynamicImage::ImageRgb16(image) = image::open(&out).unwrap() else {
        panic!("expected 16 bits")
    };
    assert_eq!(image.dimensions(), (24, 20));
    let values = image.as_raw().iter().map(|value| f64::from(*value) / 65_535.0 * white);
    let read = values.sum::<f64>() / image.as_raw().len() as f64;
    assert!((read - mean).abs() < 1e-4 * white, "{read} {mean}");
    // Its signs are random numbers.
    let first = std::fs::read(&out).unwrap();
    ok(call);
    assert_eq!(std::fs::read(&out).unwrap(), first);
    ok(call.iter().chain(&["--seed", "3"]));
    assert_ne!(std::fs::read(&out).unwrap(), first);
    let jpeg = text(&dir.path().join("deviation.jpg"));
    let call = ["denoise", &model(), &from, "--uncertainty", &jpeg];
    fails(2, call, &["deviation.jpg", "16 bits", ".png"]);
}

#[test]
fn figures_are_of_one_image_and_replace_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (save(dir.path(), "a.png", noisy(9, 9)), save(dir.path(), "b.png", noisy(9, 9)));
    let before = std::fs::read(&a).unwrap();
    let new = text(&dir.path().join("new.png"));
    for option in ["--preview", "--uncertainty"] {
        fails(2, ["denoise", &model(), &a, option, &a], &["a.png", "would replace an image"]);
        fails(2, ["denoise", &model(), &a, option, &new, "-o", &new], &["new.png", "--out and"]);
        fails(2, ["denoise", &model(), &a, option, "-"], &[option, "the name of a file"]);
        fails(2, ["denoise", &model(), &a, option, "x.what"], &["x.what"]);
        fails(1, ["denoise", &model(), &a, option, "none/x.png"], &["none/x.png"]);
    }
    let one = "of one image, several are given";
    fails(2, ["denoise", &model(), &a, &b, "--preview", &new], &["--preview", one]);
    fails(2, ["denoise", &model(), &text(dir.path()), "--preview", &new], &["--preview", one]);
    let both = ["denoise", &model(), &a, "--preview", &new, "--uncertainty", &new];
    fails(2, both, &["new.png", "--preview and --uncertainty"]);
    fails(2, ["denoise", &model(), &a], &["expected --out", "--preview"]);
    assert_eq!(names(dir.path()), ["a.png", "b.png"]);
    assert_eq!(std::fs::read(&a).unwrap(), before);
}

#[test]
fn several_images_have_a_folder_of_uncertainties() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir_all(photos.join("day")).unwrap();
    save(&photos, "a.png", noisy(9, 12));
    save(&photos.join("day"), "b.jpg", noisy(10, 8));
    let (from, into) = (text(&photos), photos.join("deviations"));
    let into = text(&into);
    let call = ["denoise", &model(), &from, "-r", "--sigma", "0.1", "--uncertainty", &into];
    for more in [&[][..], &["--overwrite"]] {
        let found = json(call.iter().chain(more).chain(&["--json"]));
        let images = found["images"].as_array().unwrap();
        assert_eq!(images.len(), 2, "{found}");
        for (image, name) in images.iter().zip(["a.png", "day/b.png"]) {
            let out = Path::new(image["uncertainty"]["out"].as_str().unwrap());
            assert_eq!(out, Path::new(&into).join(name));
        }
    }
    assert_eq!(size(Path::new(&into).join("day/b.png")), (10, 8));
    // What is there already stays, and what is missing is made, with a denoised image or without.
    let output = run(call);
    let said = done(&output);
    assert!(said.contains("2 of 2 images were there already"), "{said}");
    assert_eq!(stdout(&output), "");
    std::fs::remove_file(Path::new(&into).join("a.png")).unwrap();
    let found = json(call.iter().chain(&["--json"]));
    assert!(found["images"][0]["uncertainty"]["mean"].is_f64(), "{found}");
    assert_eq!(found["images"][1]["skipped"], true);
    let out = text(&dir.path().join("out"));
    let found = json(call.iter().chain(&["-o", &out, "--json"]));
    assert!(found["images"][1]["uncertainty"].is_null(), "{found}");
    assert_eq!(names(Path::new(&out)), ["a.png", "day"]);
    save(&photos, "a.jpg", noisy(9, 12));
    fails(2, call, &["another image goes to", "a.png"]);
    std::fs::remove_file(photos.join("a.jpg")).unwrap();
    fails(2, call.iter().chain(&["-o", &into]), &["given for --out and --uncertainty"]);
    let a = text(&photos.join("a.png"));
    let replaced = ["denoise", &model(), &from, "-r", "--uncertainty", &from];
    fails(2, replaced, &["a.png", "would replace an image"]);
    let file = ["denoise", &model(), &from, "-r", "--uncertainty", &a];
    fails(2, file, &["--uncertainty must be a folder"]);
}

#[test]
fn the_mean_over_views_is_nearer_to_the_clean_image() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir_all(&photos).unwrap();
    let wave = |x: u32, y: u32, k: f64| (128.0 + 90.0 * (f64::from(x * x + 3 * y) * k).sin()) as u8;
    let clean = RgbImage::from_fn(72, 56, |x, y| {
        image::Rgb([wave(x, y, 0.01), wave(y, x, 0.013), wave(x, x + y, 0.007)])
    });
    save(&photos, "a.png", clean);
    let photos = text(&photos);
    let psnr = |views: &str| {
        let call = ["eval", "--model", "photo", "--data", &photos, "--sigmas", "0.2", "--json"];
        let found = json(call.iter().chain(&["--views", views]));
        found["rows"][0]["psnr"].as_f64().unwrap()
    };
    let [one, two, eight] = ["1", "2", "8"].map(psnr);
    assert!(one < two && two < eight && eight < one + 1.0, "{one}, {two}, {eight}");
    // One view is the image itself; of a large image each tile is turned.
    let out = |views: &[&str]| {
        let out = dir.path().join("out.png");
        let from = format!("{photos}/a.png");
        let call = ["denoise", &from, "--overwrite", "--sigma", "0.2", "-o", &text(&out)];
        done(&run(call.iter().chain(views)));
        rgb(out)
    };
    assert_eq!(out(&["--views", "1"]), out(&[]));
    assert_ne!(out(&["--views", "4"]), out(&[]));
    for command in [["denoise", "a.png", "-o", "b.png"], ["eval", "--data", &photos, "--json"]] {
        let call = command.iter().chain(&["--views", "3"]);
        fails(2, call, &["--views is 3, expected 1, 2, 4 or 8"]);
    }
}
