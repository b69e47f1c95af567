//! [`crate::model::JointModel`] as nodes: the preconditioning, and every quantity that follows from
//! one forward pass.

use super::OnnxError;
use super::gradresnet::{self, Outputs, Tape};
use super::graph::{Attribute, Value};
use super::layers::Layers;
use super::proto::DataType;
use crate::model::GradResNetConfig;

/// The model at a batch of noisy images.
pub struct Evaluated<'c> {
    config: &'c GradResNetConfig,
    /// In the [-1, 1] range, `[batch, channels, height, width]`.
    y: Value,
    outputs: Outputs,
    tape: Tape,
    scales: Scales,
}

/// The scalings, as in [`crate::model::JointModel`]; nothing where a blind network has a 1.
struct Scales {
    /// `du/dy`, `[batch, 1, 1, 1]`.
    c_in: Option<Value>,
    /// Weight of `|y|^2/2` in `-log p`, `[batch, 1]`.
    precision: Option<Value>,
    /// Weight of `e` in `log p`, `[batch, 1]`; `[1, 1]` of a blind network.
    energy: Value,
}

/// A value of every image, as `[batch, 1, 1, 1]`.
pub fn per_image(layers: &mut Layers<'_>, values: &Value) -> Value {
    layers.graph.reshape(values, &[-1, 1, 1, 1])
}

/// `s^2 + sigma^2` and `1/sqrt(s^2 + sigma^2)`.
pub fn variance(layers: &mut Layers<'_>, sigma: &Value, sigma_data: f64) -> [Value; 2] {
    let graph = &mut layers.graph;
    let square = graph.mul(sigma, sigma);
    let variance = graph.shift(&square, sigma_data.powi(2));
    let root = graph.unary("Sqrt", &variance);
    let c_in = graph.unary("Reciprocal", &root);
    [variance, c_in]
}

impl<'c> Evaluated<'c> {
    /// One forward pass; `sigma` is `[batch]`, nothing for a blind network.
    pub fn new(
        layers: &mut Layers<'_>,
        config: &'c GradResNetConfig,
        y: Value,
        sigma: Option<&Value>,
        sigma_data: f64,
    ) -> Result<Self, OnnxError> {
        let (u, scales) = match sigma {
            Some(sigma) => {
                let [variance, c_in] = variance(layers, sigma, sigma_data);
                let c_in = per_image(layers, &c_in);
                let graph = &mut layers.graph;
                let precision = graph.unary("Reciprocal", &variance);
                let precision = graph.reshape(&precision, &[-1, 1]);
                let data = graph.scalar(sigma_data);
                let energy = graph.div(&data, sigma);
                let energy = graph.reshape(&energy, &[-1, 1]);
                let u = graph.mul(&y, &c_in);
                (u, Scales { c_in: Some(c_in), precision: Some(precision), energy })
            }
            None => {
                let energy = layers.graph.floats(&[1, 1], &[1.0]);
                (y.clone(), Scales { c_in: None, precision: None, energy })
            }
        };
        let (outputs, tape) = gradresnet::forward(layers, config, &u, sigma)?;
        layers.graph.scope("");
        Ok(Self { config, y, outputs, tape, scales })
    }

    /// `f_c`, `[batch, classes]`.
    pub fn logits(&self) -> &Value {
        &self.outputs.logits
    }

    /// `log p(y)` up to a constant of the noise level, `[batch]`.
    pub fn log_prob(&self, layers: &mut Layers<'_>) -> Value {
        let graph = &mut layers.graph;
        let square = graph.mul(&self.y, &self.y);
        let square = graph.sum(&square, &[1, 2, 3]);
        let square = graph.scale(&square, 0.5);
        let mut base = graph.reshape(&square, &[-1, 1]);
        if let Some(precision) = &self.scales.precision {
            base = graph.mul(&base, precision);
        }
        let energy = graph.mul(&self.outputs.energy, &self.scales.energy);
        let shared = graph.sub(&energy, &base);
        let classes = graph.node(
            "ReduceLogSumExp",
            &[self.logits()],
            &[Attribute::Ints("axes", vec![1]), Attribute::Int("keepdims", 1)],
        );
        let sum = graph.add(&shared, &classes);
        graph.reshape(&sum, &[-1])
    }

    /// `y + sigma^2*score`, where the classes have these weights, `[batch, classes]`: `D(y)` with
    /// the posterior, `D(y, c)` with a one at the class.
    pub fn denoised(
        &self,
        layers: &mut Layers<'_>,
        weights: Value,
        sigma: &Value,
    ) -> Result<Value, OnnxError> {
        let g = Outputs { logits: weights, energy: self.scales.energy.clone() };
        let mut score = gradresnet::adjoint(layers, self.config, &self.tape, &g)?;
        layers.graph.scope("");
        let mut base = self.y.clone();
        if let (Some(c_in), Some(precision)) = (&self.scales.c_in, &self.scales.precision) {
            score = layers.graph.mul(&score, c_in);
            let precision = per_image(layers, precision);
            base = layers.graph.mul(&base, &precision);
        }
        let score = layers.graph.sub(&score, &base);
        let square = layers.graph.mul(sigma, sigma);
        let square = per_image(layers, &square);
        let step = layers.graph.mul(&score, &square);
        Ok(layers.graph.add(&self.y, &step))
    }
}

/// `[batch, classes]` with a one at the class; none where there is no such class.
pub fn one_hot(layers: &mut Layers<'_>, class: &Value, classes: usize) -> Value {
    let graph = &mut layers.graph;
    let all: Vec<i64> = (0..classes as i64).collect();
    let all = graph.ints(&all);
    let class = graph.reshape(class, &[-1, 1]);
    let equal = graph.node("Equal", &[&class, &all], &[]);
    graph.node("Cast", &[&equal], &[Attribute::Type("to", DataType::Float)])
}
