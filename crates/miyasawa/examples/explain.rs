//! Explains which parts of an image support a class: the adversarial gradient as a difference of
//! two denoisers.
//!
//! ```sh
//! cargo run --release -p miyasawa --example explain -- frog.jpg ship why.png
//! ```

use miyasawa::image::grid;
use miyasawa::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, class, output] = &args[..] else {
        return Err("usage: explain IMAGE CLASS OUT.png".into());
    };
    let model = Predictor::bundled()?;
    // `explain_at` takes a noise level to condition the model on; here it is 0.2.
    let why = model.explain(&Image::open(input)?, model.class(class)?)?;

    println!("p({class} | y) = {:.2}%", 100.0 * why.probability);
    // D(y, c) - D(y) = sigma^2 grad log p(c | y): the left side by the denoisers, the right side by
    // differentiating the classifier. Both agree, so the gradient is an explanation.
    println!("the two sides differ by {:.1e} of the largest value", why.relative_error);

    // Left to right: D(y), D(y, c), and their amplified difference.
    let (difference, _) = why.difference.amplified();
    grid(&[vec![why.denoised, why.class_denoised, difference]], 2, 4)?.save_png(output)?;
    println!("{output}");
    Ok(())
}
