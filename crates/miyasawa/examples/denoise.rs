//! Denoises a photograph, and prints the PSNR if the clean image is known.
//!
//! ```sh
//! # The noise level is estimated.
//! cargo run --release -p miyasawa --example denoise -- noisy.png denoised.png
//! # Noise of the level 0.2 is added first.
//! cargo run --release -p miyasawa --example denoise -- clean.png tried.png 0.2
//! ```

use miyasawa::metrics::{mse, psnr};
use miyasawa::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (input, output, added) = match &args[..] {
        [input, output] => (input, output, None),
        [input, output, sigma] => (input, output, Some(sigma.parse::<f64>()?)),
        _ => return Err("usage: denoise IMAGE OUT [SIGMA]".into()),
    };
    let image = Image::open(input)?;
    let model = Predictor::from_bundled(BundledModel::Photo)?;

    // Levels are standard deviations in units of the [-1, 1] range; `Noise::of_255(25.0)` uses the
    // unit of most papers.
    let Some(sigma) = added else {
        let found = model.denoise(&image, Noise::Estimate)?;
        found.image().save(output)?;
        println!("{output}: noise of level {:.3} removed", found.sigma);
        return Ok(());
    };
    let noisy = image.clone().with_noise(sigma, 0)?;
    let denoised = model.denoise(&noisy, Noise::Level(sigma))?.into_image();
    denoised.save(output)?;
    let quality = |found: &Image| psnr(mse(found.values(), image.values()));
    println!("{output}: {:.2} dB noisy, {:.2} dB denoised", quality(&noisy), quality(&denoised));
    Ok(())
}
