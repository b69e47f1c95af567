//! Classifies images with the bundled model.
//!
//! ```sh
//! cargo run --release -p miyasawa --example classify -- frog.jpg truck.png
//! ```

use miyasawa::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        return Err("usage: classify IMAGE...".into());
    }
    let model = Predictor::bundled()?; // or Predictor::load("model.safetensors")?
    let images = paths.iter().map(Image::open).collect::<Result<Vec<_>, _>>()?;

    // One call for all images. `Noise::Estimate` estimates the noise level of each image; use
    // `Noise::Clean` for clean images.
    let found = model.classify_batch(&images, Noise::Estimate)?;
    for (path, found) in paths.iter().zip(&found) {
        println!("{path} (noise level {:.3})", found.sigma);
        for class in found.top(3) {
            println!("  {:>6.2}%  {}", 100.0 * class.probability, class.class);
        }
    }

    // Results are serde types: the entries of `images` in `miyasawa classify --json`, without the
    // name of the file.
    println!("{}", serde_json::to_string(&found[0].clone().truncated(1))?);
    Ok(())
}
