//! How well noise is estimated: white noise of known levels, and the noise of a simulated camera.
//!
//! ```sh
//! # A row for each level: estimated level divided by the true one (for clean images, the estimate)
//! cargo run --release -p miyasawa --example noise_levels -- white photos/*.png
//! # A row for each ISO number: standard deviation in dark, middle and bright parts
//! cargo run --release -p miyasawa --example noise_levels -- camera photos/*.png
//! ```

use miyasawa::image::ImageError;
use miyasawa::image::camera::{CameraNoise, Jpeg};
use miyasawa::prelude::*;

/// Grey levels of 255 in the units of an image.
const LEVEL: f64 = 1.0 / 127.5;

/// Mean, least and largest.
fn spread(values: &[f64]) -> String {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let [least, largest] = [f64::min, f64::max].map(|of| values.iter().copied().reduce(of));
    format!("{mean:.3} {:.3} {:.3}", least.unwrap_or(0.0), largest.unwrap_or(0.0))
}

fn white(name: &str, images: &[Image]) -> Result<(), Box<dyn std::error::Error>> {
    println!("{name}, of 255 | float: mean least largest | 8 bits: mean least largest");
    for level in [0.0, 2.0, 5.0, 10.0, 15.0, 25.0, 50.0, 75.0] {
        let (mut float, mut stored) = (vec![], vec![]);
        for (seed, image) in images.iter().enumerate() {
            let noisy = image.clone().with_noise(level * LEVEL, seed as u64)?;
            let unit = if level > 0.0 { level * LEVEL } else { LEVEL };
            float.push(noisy.noise_level() / unit);
            stored.push(Image::decode(&noisy.to_png()?)?.noise_level() / unit);
        }
        println!("{level:2} | {} | {}", spread(&float), spread(&stored));
    }
    Ok(())
}

/// True and estimated standard deviations, of 255, in three parts of the range of intensities.
fn parts(noisy: &Image, truth: &Image) -> Result<[[f64; 2]; 3], ImageError> {
    let map = noisy.noise_curve().level_map(noisy)?;
    let mut sums = [[0.0; 3]; 3];
    for ((y, x), level) in noisy.values().iter().zip(truth.values()).zip(map) {
        let sum = &mut sums[((1.5 * (x + 1.0)) as usize).min(2)];
        sum[0] += 1.0;
        sum[1] += f64::from(y - x).powi(2);
        sum[2] += f64::from(level).powi(2);
    }
    Ok(sums.map(|[n, truth, found]| [truth, found].map(|sum| (sum / f64::max(n, 1.0)).sqrt())))
}

fn camera(images: &[Image]) -> Result<(), Box<dyn std::error::Error>> {
    for jpeg in [None, Some(Jpeg::new(90))] {
        println!("JPEG {:?}", jpeg.map(|jpeg| jpeg.quality));
        println!("ISO | true dark middle bright | estimated / true: mean least largest, each");
        for iso in [100.0, 400.0, 1600.0, 6400.0, 25600.0] {
            let (mut truths, mut ratios) = ([0.0; 3], [vec![], vec![], vec![]]);
            for (seed, image) in images.iter().enumerate() {
                let camera = CameraNoise { jpeg, ..CameraNoise::iso(iso) };
                let exposure = camera.expose(image, seed as u64)?;
                let parts = parts(&exposure.noisy, &exposure.truth)?;
                for (i, [truth, found]) in parts.iter().enumerate() {
                    truths[i] += truth / LEVEL / images.len() as f64;
                    ratios[i].extend((*truth > 0.0).then_some(found / truth));
                }
            }
            let [a, b, c] = ratios.map(|ratios| spread(&ratios));
            let [dark, middle, bright] = truths;
            println!("{iso:5} | {dark:5.2} {middle:5.2} {bright:5.2} | {a} | {b} | {c}");
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mode = std::env::args().nth(1);
    let images: Vec<Image> = std::env::args().skip(2).map(Image::open).collect::<Result<_, _>>()?;
    match mode.as_deref() {
        Some("white") if !images.is_empty() => {
            white("images", &images)?;
            // With so much contrast that a part is black and white.
            let clip = |value: &f32| (2.5 * value + 0.5).clamp(-1.0, 1.0);
            let steep = |x: &Image| Image::new(x.shape(), x.values().iter().map(clip).collect());
            white("saturated", &images.iter().map(steep).collect::<Result<Vec<_>, _>>()?)?;
            white("flat", &[Image::filled(1, 256, 256, 0.3)?, Image::filled(3, 256, 256, -0.7)?])
        }
        Some("camera") if !images.is_empty() => camera(&images),
        _ => Err("usage: noise_levels white|camera IMAGE...".into()),
    }
}
