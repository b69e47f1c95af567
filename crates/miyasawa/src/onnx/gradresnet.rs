//! [`crate::model::GradResNet`] as nodes: the forward pass, and the gradient for its input as
//! further forward operations, in the order of `EnergyNetwork::adjoint`.

use super::OnnxError;
use super::graph::{Attribute, Value};
use super::layers::{Layers, NormKind, NormTape};
use crate::model::{GradResNetConfig, Norm};
use crate::nn::{groups_of, noise_frequencies};
use crate::ops::Statistics;

/// The values that the adjoint needs.
pub struct Tape {
    /// Before the first GELU.
    stem: Value,
    stages: Vec<Stage>,
    /// Of the image.
    pixels: Value,
}

struct Stage {
    blocks: Vec<Block>,
    /// The output.
    y: Value,
    /// Of the output.
    pixels: Value,
    channels: usize,
}

struct Block {
    name: String,
    stride: usize,
    shortcut: bool,
    x: Value,
    /// Before the first GELU.
    h1: Value,
    norm: NormTape,
    groups: usize,
}

/// What the network computes: the logits, `[batch, classes]`, and the energy, `[batch, 1]`.
pub struct Outputs {
    pub logits: Value,
    pub energy: Value,
}

impl GradResNetConfig {
    fn statistics(&self) -> Statistics {
        match self.norm {
            Norm::Group => Statistics::Group { epsilon: self.norm_epsilon },
            Norm::None | Norm::Batch => Statistics::Fixed,
        }
    }
}

/// `[cos, sin](log(sigma)/4*frequency)` through two linear layers, `[batch, features]`.
fn embedding(layers: &mut Layers<'_>, sigma: &Value) -> Result<Value, OnnxError> {
    let graph = &mut layers.graph;
    graph.scope("embedding");
    let frequencies = noise_frequencies();
    let frequencies = graph.floats(&[1, frequencies.len()], &frequencies);
    let log = graph.unary("Log", sigma);
    let log = graph.scale(&log, 0.25);
    let log = graph.reshape(&log, &[-1, 1]);
    let angle = graph.mul(&log, &frequencies);
    let [cos, sin] = ["Cos", "Sin"].map(|op| graph.unary(op, &angle));
    let mut x = graph.node("Concat", &[&cos, &sin], &[Attribute::Int("axis", 1)]);
    for layer in ["embed1", "embed2"] {
        x = layers.linear(layer, &x)?;
        x = layers.silu(&x);
    }
    Ok(x)
}

fn block(
    layers: &mut Layers<'_>,
    name: String,
    x: &Value,
    embedding: Option<&Value>,
    [stride, channels]: [usize; 2],
    config: &GradResNetConfig,
) -> Result<(Value, Block), OnnxError> {
    layers.graph.scope(name.clone());
    let (groups, statistics) = (groups_of(channels), config.statistics());
    let h1 = layers.conv(&format!("{name}.conv1"), x, stride)?;
    let shortcut = stride != 1;
    let past = match shortcut {
        true => layers.conv(&format!("{name}.shortcut"), x, stride)?,
        false => x.clone(),
    };
    let h2 = layers.gelu(&h1);
    let h2 = layers.conv(&format!("{name}.conv2"), &h2, 1)?;
    let h2 = layers.graph.add(&h2, &past);
    let kind = NormKind { channels, groups, statistics };
    let (y, norm) = layers.norm(&format!("{name}.norm"), &h2, embedding, kind)?;
    Ok((y, Block { name, stride, shortcut, x: x.clone(), h1, norm, groups }))
}

fn block_adjoint(layers: &mut Layers<'_>, block: &Block, g: &Value) -> Result<Value, OnnxError> {
    let Block { name, stride, .. } = block;
    layers.graph.scope(format!("{name}.adjoint"));
    let g2 = layers.norm_adjoint(&block.norm, g, block.groups);
    let g1 = layers.conv_adjoint(&format!("{name}.conv2"), &g2, 1)?;
    let g1 = layers.gelu_adjoint(&block.h1, &g1);
    let past = match block.shortcut {
        true => layers.conv_adjoint(&format!("{name}.shortcut"), &g2, *stride)?,
        false => g2,
    };
    let through = layers.conv_adjoint(&format!("{name}.conv1"), &g1, *stride)?;
    let sum = layers.graph.add(&through, &past);
    Ok(if *stride == 1 { sum } else { layers.cropped(&sum, &block.x) })
}

/// The outputs for inputs `u`, `[batch, channels, height, width]`, and the tape; `sigma` is
/// `[batch]`, nothing for a blind network.
pub fn forward(
    layers: &mut Layers<'_>,
    config: &GradResNetConfig,
    u: &Value,
    sigma: Option<&Value>,
) -> Result<(Outputs, Tape), OnnxError> {
    let embedding = match sigma {
        Some(sigma) => Some(embedding(layers, sigma)?),
        None => None,
    };
    layers.graph.scope("stem");
    let stem = layers.conv("stem", u, 1)?;
    let mut x = layers.gelu(&stem);
    let pixels = layers.pixels(u);
    let (mut stages, mut pooled, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (k, &count) in config.blocks.iter().enumerate() {
        let channels = config.width << k;
        let mut blocks = Vec::new();
        for j in 0..count {
            let stride = if k > 0 && j == 0 { 2 } else { 1 };
            let (name, geometry) = (format!("stages.{k}.{j}"), [stride, channels]);
            let (y, tape) = block(layers, name, &x, embedding.as_ref(), geometry, config)?;
            x = y;
            blocks.push(tape);
        }
        layers.graph.scope(format!("stages.{k}"));
        let mean = layers.graph.mean(&x, &[2, 3], false);
        let own = layers.pixels(&x);
        if config.norm != Norm::Group {
            let share = layers.graph.div(&own, &pixels);
            shares.push(layers.graph.mul(&mean, &share));
        }
        pooled.push(mean);
        stages.push(Stage { blocks, y: x.clone(), pixels: own, channels });
    }
    layers.graph.scope("heads");
    let features = concat(layers, &pooled);
    let logits = layers.linear("class_head", &features)?;
    let summed = if config.norm != Norm::Group { concat(layers, &shares) } else { features };
    let energy = layers.linear("energy_head", &summed)?;
    let energy = layers.graph.mul(&energy, &pixels);
    Ok((Outputs { logits, energy }, Tape { stem, stages, pixels }))
}

fn concat(layers: &mut Layers<'_>, parts: &[Value]) -> Value {
    match parts {
        [one] => one.clone(),
        all => {
            let all: Vec<&Value> = all.iter().collect();
            layers.graph.node("Concat", &all, &[Attribute::Int("axis", 1)])
        }
    }
}

/// The gradient of `sum g.logits*f + sum g.energy*e` for the input.
pub fn adjoint(
    layers: &mut Layers<'_>,
    config: &GradResNetConfig,
    tape: &Tape,
    g: &Outputs,
) -> Result<Value, OnnxError> {
    layers.graph.scope("heads.adjoint");
    let class = layers.linear_adjoint("class_head", &g.logits)?;
    let energy = layers.graph.mul(&g.energy, &tape.pixels);
    let energy = layers.linear_adjoint("energy_head", &energy)?;
    let mut end: usize = tape.stages.iter().map(|stage| stage.channels).sum();
    let mut gradient: Option<Value> = None;
    for (k, stage) in tape.stages.iter().enumerate().rev() {
        layers.graph.scope(format!("stages.{k}.adjoint"));
        let graph = &mut layers.graph;
        let start = end - stage.channels;
        let [class, energy] = [&class, &energy].map(|g| graph.slice(g, 1, start, end));
        end = start;
        let energy = match config.norm {
            Norm::Group => energy,
            Norm::None | Norm::Batch => {
                let share = graph.div(&stage.pixels, &tape.pixels);
                graph.mul(&energy, &share)
            }
        };
        let pooled = graph.add(&class, &energy);
        let pooled = graph.div(&pooled, &stage.pixels);
        let pooled = graph.reshape(&pooled, &[-1, stage.channels as i64, 1, 1]);
        let mut x = match &gradient {
            Some(gradient) => graph.add(gradient, &pooled),
            None => {
                let shape = graph.shape(&stage.y, 0, 4);
                graph.node("Expand", &[&pooled, &shape], &[])
            }
        };
        for block in stage.blocks.iter().rev() {
            x = block_adjoint(layers, block, &x)?;
        }
        gradient = Some(x);
    }
    let gradient = gradient.ok_or(OnnxError::Empty)?;
    layers.graph.scope("stem.adjoint");
    let gradient = layers.gelu_adjoint(&tape.stem, &gradient);
    layers.conv_adjoint("stem", &gradient, 1)
}
