//! The reference models as nodes: ResNet-18, DnCNN, UNet, with the running statistics of their
//! batch normalisations folded into the convolutions.

use super::OnnxError;
use super::graph::{Attribute, Value};
use super::joint::{per_image, variance};
use super::layers::Layers;
use crate::model::{DnCnnConfig, ResNetConfig, UNetConfig};

/// The logits of images `[batch, channels, height, width]`.
pub fn resnet(
    layers: &mut Layers<'_>,
    config: &ResNetConfig,
    y: &Value,
) -> Result<Value, OnnxError> {
    layers.graph.scope("stem");
    let mut x = layers.conv_norm("stem", "norm", y, 1)?;
    x = layers.graph.unary("Relu", &x);
    for (k, &count) in config.blocks.iter().enumerate() {
        for j in 0..count {
            let changes = k > 0 && j == 0;
            let stride = if changes { 2 } else { 1 };
            let name = format!("stages.{k}.{j}");
            layers.graph.scope(name.clone());
            let of = |part: &str| format!("{name}.{part}");
            let h = layers.conv_norm(&of("conv1"), &of("norm1"), &x, stride)?;
            let h = layers.graph.unary("Relu", &h);
            let h = layers.conv_norm(&of("conv2"), &of("norm2"), &h, 1)?;
            let past = match changes {
                true => layers.conv_norm(&of("shortcut"), &of("shortcut_norm"), &x, stride)?,
                false => x,
            };
            x = layers.graph.add(&h, &past);
            x = layers.graph.unary("Relu", &x);
        }
    }
    layers.graph.scope("head");
    let pooled = layers.graph.mean(&x, &[2, 3], false);
    layers.linear("head", &pooled)
}

/// DnCNN's output for its input, `[batch, channels (+ 1), height, width]`.
pub fn dncnn(layers: &mut Layers<'_>, config: &DnCnnConfig, x: &Value) -> Result<Value, OnnxError> {
    let mut x = layers.conv("first", x, 1)?;
    x = layers.graph.unary("Relu", &x);
    for k in 0..config.depth - 2 {
        layers.graph.scope(format!("middle.{k}"));
        x = layers.conv_norm(&format!("middle.{k}"), &format!("norms.{k}"), &x, 1)?;
        x = layers.graph.unary("Relu", &x);
    }
    layers.graph.scope("last");
    layers.conv("last", &x, 1)
}

fn residual(
    layers: &mut Layers<'_>,
    name: &str,
    count: usize,
    mut x: Value,
) -> Result<Value, OnnxError> {
    for k in 0..count {
        layers.graph.scope(format!("{name}.{k}"));
        let h = layers.conv(&format!("{name}.{k}.conv1"), &x, 1)?;
        let h = layers.graph.unary("Relu", &h);
        let h = layers.conv(&format!("{name}.{k}.conv2"), &h, 1)?;
        x = layers.graph.add(&h, &x);
    }
    Ok(x)
}

/// UNet's output for its input, `[batch, channels (+ 1), height, width]`.
pub fn unet(layers: &mut Layers<'_>, config: &UNetConfig, x: &Value) -> Result<Value, OnnxError> {
    let mut x = layers.conv("head", x, 1)?;
    let last = config.blocks.len() - 1;
    let mut skips = Vec::new();
    for (k, count) in config.blocks[..last].iter().enumerate() {
        let skip = residual(layers, &format!("scales.{k}.before"), *count, x)?;
        x = layers.conv(&format!("scales.{k}.down"), &skip, 2)?;
        skips.push(skip);
    }
    x = residual(layers, "body", config.blocks[last], x)?;
    for (k, skip) in skips.iter().enumerate().rev() {
        layers.graph.scope(format!("scales.{k}.up"));
        let up = layers.conv_adjoint(&format!("scales.{k}.up"), &x, 2)?;
        let up = layers.cropped(&up, skip);
        let up = layers.graph.add(&up, skip);
        x = residual(layers, &format!("scales.{k}.after"), config.blocks[k], up)?;
    }
    layers.graph.scope("tail");
    layers.conv("tail", &x, 1)
}

/// `D(y)` of a network `F` as [`crate::model::PlainDenoiser`] computes it: `y - F(y)` for a blind
/// one, which has no `sigma`, else preconditioned, with the noise level as a further channel.
pub fn denoised<'p>(
    layers: &mut Layers<'p>,
    y: &Value,
    sigma: Option<&Value>,
    sigma_data: f64,
    net: impl FnOnce(&mut Layers<'p>, &Value) -> Result<Value, OnnxError>,
) -> Result<Value, OnnxError> {
    let Some(sigma) = sigma else {
        let noise = net(layers, y)?;
        layers.graph.scope("");
        return Ok(layers.graph.sub(y, &noise));
    };
    let [variance, c_in] = variance(layers, sigma, sigma_data);
    let graph = &mut layers.graph;
    let squared = graph.scalar(sigma_data.powi(2));
    let c_skip = graph.div(&squared, &variance);
    let c_out = graph.scale(sigma, sigma_data);
    let c_out = graph.mul(&c_out, &c_in);
    let [sigma, c_in, c_skip, c_out] =
        [sigma, &c_in, &c_skip, &c_out].map(|values| per_image(layers, values));
    let graph = &mut layers.graph;
    let (batch, one, size) = (graph.shape(y, 0, 1), graph.ints(&[1]), graph.shape(y, 2, 4));
    let plane = graph.node("Concat", &[&batch, &one, &size], &[Attribute::Int("axis", 0)]);
    let level = graph.node("Expand", &[&sigma, &plane], &[]);
    let u = graph.node("Concat", &[y, &level], &[Attribute::Int("axis", 1)]);
    let u = graph.mul(&u, &c_in);
    let found = net(layers, &u)?;
    let graph = &mut layers.graph;
    graph.scope("");
    let kept = graph.mul(y, &c_skip);
    let found = graph.mul(&found, &c_out);
    Ok(graph.add(&kept, &found))
}
