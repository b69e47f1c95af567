//! Five uses of the library, each a function of at most 12 lines.

use miyasawa::attack::Examples;
use miyasawa::burn::{self, module::Module, tensor::Tensor};
use miyasawa::classifier::Autodiff;
use miyasawa::{Device, nn::Linear, prelude::*};
use std::error::Error;

/// The likeliest class of an image in memory, and the image without its noise.
pub fn classify_and_denoise(file: &[u8]) -> Result<(String, Image), PredictError> {
    let model = Predictor::bundled()?;
    let image = Image::decode(file)?;
    let class = model.classify(&image, Noise::Clean)?.best().class.clone();
    let clean = model.denoise(&image, Noise::Estimate)?.into_image();
    Ok((class, clean))
}

/// `D(y, c) - D(y)`: what speaks for a class.
pub fn difference_of_denoisers(file: &[u8], class: &str) -> Result<Image, PredictError> {
    let model = Predictor::bundled()?;
    let image = Image::decode(file)?;
    Ok(model.explain(&image, model.class(class)?)?.difference)
}

/// PGD on a network of one's own: images in [0, 1] after ten steps of at most `eps` in all.
pub fn attack_own_network(net: Net, images: &[f32], labels: &[u32], eps: f64) -> Vec<f32> {
    let logits = |net: &Net, images: &Tensor<4>| net.logits(images);
    let classifier = Autodiff::new(net, logits, [1, 8, 8], 10, &Device::flex());
    let indices: Vec<u64> = (0..labels.len() as u64).collect();
    let examples = Examples { images, labels, indices: &indices };
    Pgd::new(Norm::Linf, eps, 10, 0).perturb(&classifier, &examples)
}

/// Training on arrays: 8x8 images, one byte a pixel, of two classes.
pub fn train_on_arrays(pixels: Vec<u8>, labels: Vec<u32>) -> Result<Predictor, Box<dyn Error>> {
    let classes = ["dark", "light"].map(str::to_owned).to_vec();
    let data = Dataset::new("mine", Geometry::new(1, 8, 8), classes, pixels, labels)?;
    let trainer = Trainer::builder().data(data).configure(|config| {
        config.network.width = 8;
        config.network.blocks = vec![1];
        config.schedule.steps = Some(60);
    });
    let trained = trainer.build()?.train()?;
    Ok(Predictor::builder().from_checkpoint(trained.checkpoint, "mine")?)
}

/// The classes of a batch of values `[n, c, h, w]` in [-1, 1], and the values without noise.
pub fn batch(values: &[f32], shape: [usize; 4]) -> Result<(Vec<usize>, Vec<f32>), PredictError> {
    let model = Predictor::bundled()?;
    let found = model.classify_values(values, shape, Noise::Clean)?;
    let classes = found.iter().map(|found| found.best().index).collect();
    Ok((classes, model.denoise_values(values, shape, Noise::Level(0.1))?))
}

/// A network of one's own, of Burn's operations: two layers on 8x8 images.
#[derive(Module, Debug)]
pub struct Net {
    pub first: Linear,
    pub second: Linear,
}

impl Net {
    /// Logits of images `[n, 1, 8, 8]`.
    pub fn logits(&self, images: &Tensor<4>) -> Tensor<2> {
        let x = images.clone().reshape([-1, 64]);
        self.second.forward(&burn::tensor::activation::relu(self.first.forward(&x)))
    }
}
