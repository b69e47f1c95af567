//! Shoots clean images with a simulated camera: noisy images with known truth.
//!
//! ```sh
//! # ISO 1600, 8 bits
//! cargo run --release -p miyasawa --example camera -- 1600 none shots photos/*.png
//! # The same through JPEG of quality 90
//! cargo run --release -p miyasawa --example camera -- 1600 90 shots photos/*.png
//! ```

use miyasawa::image::Depth;
use miyasawa::image::camera::{CameraNoise, Jpeg};
use miyasawa::metrics::{mse, psnr};
use miyasawa::prelude::*;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [iso, quality, folder, files @ ..] = &args[..] else {
        return Err("usage: camera ISO QUALITY|none FOLDER IMAGE...".into());
    };
    let jpeg = match quality.as_str() {
        "none" => None,
        quality => Some(Jpeg::new(quality.parse()?)),
    };
    let camera = CameraNoise { jpeg, ..CameraNoise::iso(iso.parse()?) };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    for (seed, file) in files.iter().enumerate() {
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        let exposure = camera.expose(&Image::open(file)?, seed as u64)?;
        // The image is stored as PNG after the round trip through JPEG, so that all read the same.
        exposure.noisy.save(folder.join(format!("{name}-noisy.png")))?;
        let truth = exposure.truth.with_depth(Depth::Sixteen);
        truth.save(folder.join(format!("{name}-truth.png")))?;
        let quality = psnr(mse(exposure.noisy.values(), truth.values()));
        println!("{name}: {quality:.2} dB");
    }
    Ok(())
}
