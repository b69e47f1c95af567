//! Writes the images of a set as they are evaluated: bytes (N, C, H, W), in the set's order.
//!
//! `scripts/torchvision_pipeline.py` compares them with torchvision's.
//!
//! ```text
//! cargo run --release -p miyasawa --example evaluation_images -- DATA SIZE OUT
//! ```

use miyasawa::data::{DataSource, OpenOptions, Part, ResizeMode, Streaming};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, size, out] = &args[..] else {
        return Err("usage: evaluation_images DATA SIZE OUT".into());
    };
    let size = size.parse()?;
    let options = OpenOptions {
        size: Some((size, size)),
        resize_mode: ResizeMode::ResizeCrop,
        channels: Some(3),
        stream: Streaming::Always,
        sample: 0,
        ..OpenOptions::default()
    };
    let set = data.parse::<DataSource>()?.open(Part::Test, &options)?;
    let start = std::time::Instant::now();
    let images = set.sample(usize::MAX)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{} images, {:.0} a second", images.len(), images.len() as f64 / seconds);
    std::fs::write(out, images.pixels())?;
    Ok(())
}
