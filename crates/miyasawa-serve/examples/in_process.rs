//! The speed of the work behind a request without the server: from the bytes of an image's file to
//! those of the answer, one by one, in batches, and by one model on several threads.
//!
//! ```sh
//! cargo run --release -p miyasawa-serve --example in_process -- frog.jpg 2000
//! ```

use miyasawa::image::{Format, ImageFile, ImageWriter};
use miyasawa::prelude::*;
use std::path::Path;
use std::time::Instant;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Images a second of work that is done `count` times.
fn speed(name: &str, count: usize, mut work: impl FnMut(usize) -> Outcome) -> Outcome {
    work(0)?;
    let began = Instant::now();
    (0..count).try_for_each(&mut work)?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{name}: {:.0} a second", count as f64 / seconds);
    Ok(())
}

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("expected the file of an image, and how often")?;
    let count: usize = args.next().map_or(Ok(1000), |count| count.parse())?;
    let bytes = std::fs::read(&path)?;
    let classifier = Predictor::bundled()?;
    let denoiser = Predictor::from_bundled(BundledModel::Photo)?;
    let decode = || Ok::<_, PredictError>(Image::decode(&bytes)?);

    speed("classify, one by one", count, |_| {
        let found = classifier.classify(&decode()?, Noise::Clean)?.truncated(5);
        serde_json::to_vec(&found)?;
        Ok(())
    })?;
    const BATCH: usize = 32;
    speed("classify, batches of 32", count / BATCH, |_| {
        let images = (0..BATCH).map(|_| decode()).collect::<Result<Vec<_>, _>>()?;
        for found in classifier.classify_batch(&images, Noise::Clean)? {
            serde_json::to_vec(&found.truncated(5))?;
        }
        Ok(())
    })?;
    println!("  (batches; times {BATCH} for images)");
    speed("denoise, one by one", count / 4, |_| {
        let file = ImageFile::read("image", &bytes[..])?;
        let page = file.page(0)?;
        let found = denoiser.denoise(page.image(), Noise::Level(0.1))?.into_image();
        let mut writer = ImageWriter::new(Format::Png);
        writer.add(Path::new("image.png"), &page.with_image(found)?)?;
        writer.into_bytes();
        Ok(())
    })
}
