//! Whether noise is known as white or as a camera's, and how well its level is.
//!
//! ```sh
//! # A row for each kind of noise: images that are taken for either, and estimated level / true one
//! cargo run --release -p miyasawa --example noise_kinds -- photos/*.png
//! ```

use miyasawa::image::ImageError;
use miyasawa::image::camera::{CameraNoise, Demosaic, Jpeg};
use miyasawa::image::noise_level::NoiseKind;
use miyasawa::prelude::*;

/// A noisy image, and the one without noise.
type Pair = Result<(Image, Image), ImageError>;

/// The root mean square of the difference.
fn rms(a: &Image, b: &Image) -> f64 {
    let pairs = a.values().iter().zip(b.values());
    let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / a.values().len() as f64).sqrt()
}

fn row(
    name: &str,
    images: &[Image],
    noisy: impl Fn(&Image, u64) -> Pair,
) -> Result<(), ImageError> {
    let (mut white, mut camera, mut ratios, mut true_rms) = (0, 0, vec![], 0.0);
    for (seed, image) in images.iter().enumerate() {
        let (noisy, clean) = noisy(image, seed as u64)?;
        let found = noisy.noise();
        match found.kind {
            NoiseKind::White => white += 1,
            NoiseKind::Camera => camera += 1,
        }
        let truth = rms(&noisy, &clean);
        true_rms += 127.5 * truth / images.len() as f64;
        // A clean image has no true level: its estimate, in grey levels.
        ratios.push(found.level / if truth > 0.0 { truth } else { 1.0 / 127.5 });
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = ratios.iter().copied().fold(0.0, f64::max);
    println!("{name} | {white} | {camera} | {true_rms:.2} | {mean:.2} {least:.2} {largest:.2}");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let images: Vec<Image> = std::env::args().skip(1).map(Image::open).collect::<Result<_, _>>()?;
    if images.is_empty() {
        return Err("usage: noise_kinds IMAGE...".into());
    }
    println!("noise | white | camera | true level of 255 | estimated / true: mean least largest");
    for level in [5.0, 10.0, 25.0, 50.0, 75.0] {
        let noisy = |image: &Image, seed| image.clone().with_noise(level / 127.5, seed);
        let pair = |found: Image, image: &Image| Ok((found, image.clone()));
        row(&format!("white {level}"), &images, |x, seed| pair(noisy(x, seed)?, x))?;
        row(&format!("white {level}, 8 bits"), &images, |x, seed| {
            pair(Image::decode(&noisy(x, seed)?.to_png()?)?, x)
        })?;
        row(&format!("white {level}, JPEG 90"), &images, |x, seed| {
            pair(Jpeg::new(90).apply(&noisy(x, seed)?)?, x)
        })?;
    }
    let half = Jpeg { subsampled: true, ..Jpeg::new(80) };
    for (name, jpeg, demosaic) in [
        ("", None, Demosaic::GradientCorrected),
        (", JPEG 90", Some(Jpeg::new(90)), Demosaic::GradientCorrected),
        (", bilinear", None, Demosaic::Bilinear),
        (", JPEG 80 4:2:0", Some(half), Demosaic::GradientCorrected),
    ] {
        for iso in [400.0, 1600.0, 6400.0] {
            let camera = CameraNoise { jpeg, demosaic, ..CameraNoise::iso(iso) };
            row(&format!("ISO {iso}{name}"), &images, |image, seed| {
                let exposure = camera.expose(image, seed)?;
                Ok((exposure.noisy, exposure.truth))
            })?;
        }
    }
    row("clean", &images, |image, _| Ok((image.clone(), image.clone())))?;
    Ok(())
}
