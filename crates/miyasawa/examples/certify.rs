//! Certificates by randomised smoothing: trains a small joint model on the embedded digits, then
//! proves for some images that no change up to a radius alters their class.
//!
//! ```sh
//! cargo run --release -p miyasawa --example certify -- 300 20   # steps, images
//! ```

use miyasawa::certify::{CertifyOptions, certified_accuracy, certify};
use miyasawa::data::{DataSource, OpenOptions, Part};
use miyasawa::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let steps = args.next().map_or(Ok(300), |steps| steps.parse())?;
    let count: usize = args.next().map_or(Ok(20), |count| count.parse())?;
    let trainer = Trainer::builder()
        .configure(|config| {
            config.network.width = 16;
            config.network.blocks = vec![1, 1];
            config.schedule.steps = Some(steps);
        })
        .build()?;
    let model = Predictor::builder().from_checkpoint(trainer.train()?.checkpoint, "digits")?;

    // The smoothed classifier's class is the most frequent one under noise of the level `sigma`.
    // The joint model is conditioned on that level: it needs no training of its own.
    let sigma = 0.5;
    let classifier = model.classifier(Defence::Softmax { sigma })?;
    let radii = [0.0, 0.1, 0.25, 0.5];
    let options = CertifyOptions {
        sigma,
        n0: 50,
        n: 1000,
        alpha: 0.001, // the largest probability that a certificate is wrong
        radii: radii.to_vec(),
        fixed: false,
        batch: 250,
        seed: 0,
    };
    let test = DataSource::Digits.open(Part::Test, &OpenOptions::default())?.into_dataset()?;
    let images = test.subset(count)?;
    let certificates = certify(classifier.as_ref(), &images, &options, &mut ());
    for found in &certificates {
        let class = found.class.map_or("abstains".to_owned(), |class| class.to_string());
        let (label, radius, draws) = (found.label, found.radius, found.draws);
        println!(
            "image {}: label {label}, {class}, radius {radius:.3}, {draws} draws",
            found.image
        );
    }

    // Radii are Euclidean, in units of the [0, 1] range.
    for row in certified_accuracy(&certificates, &radii) {
        println!("radius {}: certified accuracy {:.2}", row.radius, row.certified_accuracy);
    }
    Ok(())
}
