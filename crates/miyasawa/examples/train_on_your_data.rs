//! Training on images of one's own: a folder with a subfolder per class, or arrays in memory.
//!
//! ```sh
//! # Made-up 16x16 images of two classes, stripes and rings, stand for your arrays.
//! cargo run --release -p miyasawa --example train_on_your_data
//! # photos/cat/1.jpg, photos/dog/1.jpg, ...: resized to 32x32, for 500 steps.
//! cargo run --release -p miyasawa --example train_on_your_data -- photos 500
//! ```
//! Nothing is written: `.out("runs/mine")` writes checkpoints, the model, a log and figures, and
//! `.resume(true)` continues them.

use miyasawa::data::{DataError, ResizeMode};
use miyasawa::prelude::*;

const SIDE: usize = 16;

/// The pixel of an image of class 0 (stripes) or 1 (rings).
fn pixel(number: usize, x: usize, y: usize) -> u8 {
    let (x, y, phase) = (x as f32, y as f32, (number / 2) as f32 * 0.7);
    let wave = match number % 2 {
        0 => (0.8 * x + 0.3 * y + phase).sin(),
        _ => (0.9 * (x - 7.5).hypot(y - 7.5) + phase).sin(),
    };
    (127.5 + 100.0 * wave) as u8
}

/// A data set is its classes, its pixels `[N, channels, height, width]` and N labels.
fn arrays(count: usize) -> Result<Dataset, DataError> {
    let image = |n| (0..SIDE * SIDE).map(move |i| pixel(n, i % SIDE, i / SIDE));
    let classes = vec!["stripes".to_owned(), "rings".to_owned()];
    let labels = (0..count as u32).map(|n| n % 2).collect();
    let pixels = (0..count).flat_map(image).collect();
    Dataset::new("mine", Geometry::new(1, SIDE, SIDE), classes, pixels, labels)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (photos, steps) = (args.next(), args.next().map_or(Ok(100), |steps| steps.parse())?);
    let builder = Trainer::builder().configure(|config| {
        // A small network and a short run; every other value is that of the settings page.
        config.network.width = 8;
        config.network.blocks = vec![1, 1];
        config.schedule.batch = 20;
        config.schedule.steps = Some(steps);
        config.eval.sigmas = vec![0.1, 0.4];
    });
    let builder = match photos {
        Some(folder) => builder.configure(|config| {
            config.data.train = folder;
            config.data.size = Some([32, 32]);
            config.data.fit = ResizeMode::Resize;
        }),
        None => builder.data(arrays(200)?),
    };

    // Some images are held out of the training, and the model is evaluated on them at the end.
    let trained = builder.build()?.train_with(&mut |p: &Progress<'_>| {
        if let Some(step) = p.value("step").filter(|step| step % 20.0 == 0.0) {
            println!("step {step}: loss {:.3}", p.value("loss").unwrap_or_default());
        }
    })?;
    for row in &trained.finish.rows {
        let (accuracy, psnr) = (row.accuracy.unwrap_or_default(), row.psnr.unwrap_or_default());
        println!("sigma {}: accuracy {:.0}%, PSNR {psnr:.1} dB", row.sigma, 100.0 * accuracy);
    }

    // The trained model is used as any other.
    let model = Predictor::builder().from_checkpoint(trained.checkpoint, "mine")?;
    println!("classes {}, images of {}", model.classes().join(", "), model.geometry());
    Ok(())
}
