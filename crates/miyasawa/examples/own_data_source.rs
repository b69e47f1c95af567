//! Images from a source of one's own: a database, an archive, a network. Here a table in memory
//! whose rows hold PNG files, one of them corrupt.
//!
//! ```sh
//! cargo run --release -p miyasawa --example own_data_source -- 100
//! ```

use miyasawa::data::{
    DataSource, ImageData, ImageReader, Images, OpenOptions, Part, ReadError, Streaming,
};
use miyasawa::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of an image file, and the image's class.
type Row = (Vec<u8>, u32);

/// A table of encoded images and their classes. An `ImageReader` is shared by the threads that
/// decode ahead of the training: a real one would hold a pool of connections.
struct Table {
    rows: Vec<Row>,
    reads: Arc<AtomicUsize>,
}

impl ImageReader for Table {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.rows[index].1
    }

    fn read(&self, index: usize) -> Result<ImageData, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        // `ImageData::Pixels` takes values that need no decoding.
        Ok(ImageData::Encoded(self.rows[index].0.clone()))
    }
}

/// The digits as rows of the table.
fn rows(digits: &Dataset) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let row = |i: usize| {
        let image = Image::from_bytes(digits.geometry().into(), digits.image(i))?;
        Ok((image.to_png()?, digits.labels()[i]))
    };
    (0..digits.len()).map(row).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = std::env::args().nth(1).map_or(Ok(100), |steps| steps.parse())?;
    let open = |part| DataSource::Digits.open(part, &OpenOptions::default())?.into_dataset();
    let (digits, test) = (open(Part::Train)?, open(Part::Test)?);
    let mut rows = rows(&digits)?;
    rows[7].0.truncate(20);

    // A corrupt image counts, and the next intact one takes its place, up to a limit.
    let options =
        OpenOptions { stream: Streaming::Always, max_corrupt: 3, ..OpenOptions::default() };
    let reads = Arc::new(AtomicUsize::new(0));
    let table = Table { rows, reads: Arc::clone(&reads) };
    let train = Images::from_reader("table", digits.classes().to_vec(), table, &options)?;
    println!("{} images of {}, {} classes", train.len(), train.geometry(), train.classes().len());

    let trainer = Trainer::builder()
        .data(train)
        .test(test)
        .configure(|config| {
            config.network.width = 8;
            config.network.blocks = vec![1, 1];
            config.schedule.batch = 64;
            config.schedule.steps = Some(steps);
            config.eval.sigmas = vec![0.1];
        })
        .build()?;
    let trained = trainer.train()?;
    let accuracy = trained.finish.rows[0].accuracy.unwrap_or_default();
    println!("accuracy {:.1}% after {} steps", 100.0 * accuracy, trained.finish.steps);
    println!("the table was read {} times", reads.load(Ordering::Relaxed));
    Ok(())
}
