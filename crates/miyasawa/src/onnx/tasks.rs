//! The inputs and outputs of each task, and what is between them.

use super::graph::{Attribute, Port, Size, Value};
use super::layers::Layers;
use super::proto::DataType;
use super::{OnnxError, Options, Range, Task, joint, reference};
use crate::checkpoint::ModelInfo;
use crate::model::Architecture;

/// Writes the graph of the task.
pub fn write(
    layers: &mut Layers<'_>,
    info: &ModelInfo,
    options: &Options,
) -> Result<(), OnnxError> {
    match options.task {
        Task::Classify => classify(layers, info, options),
        Task::Denoise => denoise(layers, info, options),
        Task::Joint => joint(layers, info, options),
    }
}

const BATCH: Size = Size::Named("batch");

/// The input `image`, and its values in the [-1, 1] range.
fn image(layers: &mut Layers<'_>, info: &ModelInfo, range: Range) -> Value {
    let [low, high] = range.ends();
    let image = layers.graph.input(&Port {
        name: "image",
        data: DataType::Float,
        shape: &image_shape(info),
        about: &format!("noisy images; without noise their values are from {low} to {high}"),
    });
    match range {
        Range::Signed => image,
        Range::Unit => {
            let doubled = layers.graph.scale(&image, 2.0);
            layers.graph.shift(&doubled, -1.0)
        }
    }
}

fn image_shape(info: &ModelInfo) -> [Size; 4] {
    let [height, width] = ["height", "width"].map(Size::Named);
    [BATCH, Size::Fixed(info.data.channels), height, width]
}

/// The input `sigma`, in units of the [-1, 1] range.
fn level(layers: &mut Layers<'_>, range: Range) -> Value {
    let sigma = layers.graph.input(&Port {
        name: "sigma",
        data: DataType::Float,
        shape: &[BATCH],
        about: "standard deviation of each image's noise, in units of its values, above 0",
    });
    match range {
        Range::Signed => sigma,
        Range::Unit => layers.graph.scale(&sigma, 2.0),
    }
}

/// An output of images, from values in the [-1, 1] range.
fn output_image(
    layers: &mut Layers<'_>,
    info: &ModelInfo,
    range: Range,
    (name, about): (&str, &str),
    mut value: Value,
) {
    if range == Range::Unit {
        value = layers.graph.scale(&value, 0.5);
        value = layers.graph.shift(&value, 0.5);
    }
    let shape = image_shape(info);
    layers.graph.output(&Port { name, data: DataType::Float, shape: &shape, about }, &value);
}

/// The outputs `logits` and `posterior`, which it returns.
fn output_classes(layers: &mut Layers<'_>, info: &ModelInfo, logits: &Value) -> Value {
    let shape = [BATCH, Size::Fixed(info.data.classes.len())];
    let posterior = layers.graph.node("Softmax", &[logits], &[Attribute::Int("axis", 1)]);
    for (name, about, value) in
        [("logits", "f_c(y)", logits), ("posterior", "p(c | y)", &posterior)]
    {
        layers.graph.output(&Port { name, data: DataType::Float, shape: &shape, about }, value);
    }
    posterior
}

fn classify(layers: &mut Layers<'_>, info: &ModelInfo, options: &Options) -> Result<(), OnnxError> {
    let y = image(layers, info, options.range);
    let logits = match &info.network {
        Architecture::GradResNet(config) => {
            let sigma = (!config.blind).then(|| level(layers, options.range));
            let model = joint::Evaluated::new(layers, config, y, sigma.as_ref(), info.data.std)?;
            model.logits().clone()
        }
        Architecture::ResNet18(config) => reference::resnet(layers, config, &y)?,
        _ => return Err(not_of(info, options.task)),
    };
    layers.graph.scope("");
    output_classes(layers, info, &logits);
    Ok(())
}

fn denoise(layers: &mut Layers<'_>, info: &ModelInfo, options: &Options) -> Result<(), OnnxError> {
    let (y, std) = (image(layers, info, options.range), info.data.std);
    let conditioned = !info.network.is_blind();
    let denoised = match &info.network {
        Architecture::GradResNet(config) => {
            let sigma = level(layers, options.range);
            let conditioning = conditioned.then_some(&sigma);
            let model = joint::Evaluated::new(layers, config, y, conditioning, std)?;
            let posterior =
                layers.graph.node("Softmax", &[model.logits()], &[Attribute::Int("axis", 1)]);
            model.denoised(layers, posterior, &sigma)?
        }
        Architecture::DnCnn(config) => {
            let sigma = conditioned.then(|| level(layers, options.range));
            let net = |layers: &mut Layers<'_>, x: &Value| reference::dncnn(layers, config, x);
            reference::denoised(layers, &y, sigma.as_ref(), std, net)?
        }
        Architecture::UNet(config) => {
            let sigma = conditioned.then(|| level(layers, options.range));
            let net = |layers: &mut Layers<'_>, x: &Value| reference::unet(layers, config, x);
            reference::denoised(layers, &y, sigma.as_ref(), std, net)?
        }
        _ => return Err(not_of(info, options.task)),
    };
    output_image(layers, info, options.range, ("denoised", "D(y) = E[x | y]"), denoised);
    Ok(())
}

fn joint(layers: &mut Layers<'_>, info: &ModelInfo, options: &Options) -> Result<(), OnnxError> {
    let Architecture::GradResNet(config) = &info.network else {
        return Err(not_of(info, options.task));
    };
    let y = image(layers, info, options.range);
    let sigma = level(layers, options.range);
    let class = layers.graph.input(&Port {
        name: "class",
        data: DataType::Int64,
        shape: &[BATCH],
        about: "class of each image, for class_denoised, counted from 0",
    });
    let conditioning = (!config.blind).then_some(&sigma);
    let model = joint::Evaluated::new(layers, config, y, conditioning, info.data.std)?;
    let posterior = output_classes(layers, info, model.logits());
    let log_prob = model.log_prob(layers);
    let about = "log p(y) up to a constant of the noise level";
    let port = Port { name: "log_prob", data: DataType::Float, shape: &[BATCH], about };
    layers.graph.output(&port, &log_prob);
    let one_hot = joint::one_hot(layers, &class, info.data.classes.len());
    for (name, about, weights) in [
        ("denoised", "D(y) = E[x | y]", posterior),
        ("class_denoised", "D(y, c) = E[x | y, c]", one_hot),
    ] {
        let found = model.denoised(layers, weights, &sigma)?;
        output_image(layers, info, options.range, (name, about), found);
    }
    Ok(())
}

fn not_of(info: &ModelInfo, task: Task) -> OnnxError {
    let network = info.network.to_string();
    OnnxError::Task { task, network, expected: Task::of(info).to_string() }
}
