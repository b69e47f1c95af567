//! The layers of [`crate::nn`] as nodes, forward and adjoint. Activations are
//! `[batch, channels, height, width]`.

use super::OnnxError;
use super::graph::{Attribute, Graph, Value};
use super::proto::DataType;
use crate::model::params::{ParamError, ParamMap};
use crate::ops::Statistics;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Added to the variances of batch normalisation, as in [`crate::nn::BatchNorm`].
const BATCH_NORM_EPSILON: f32 = 1e-5;

/// A graph and the parameters that go into it.
pub struct Layers<'p> {
    pub graph: Graph,
    params: &'p ParamMap,
}

/// What the adjoint of a norm needs.
pub struct NormTape {
    /// Before the GELU.
    h: Value,
    /// `[batch, channels, 1, 1]`.
    gamma: Value,
    /// The normalised activations and the reciprocal deviations, `[batch, groups, ...]`; nothing
    /// of a norm without statistics.
    group: Option<(Value, Value)>,
}

/// How a norm is computed.
#[derive(Clone, Copy)]
pub struct NormKind {
    pub channels: usize,
    pub groups: usize,
    pub statistics: Statistics,
}

impl<'p> Layers<'p> {
    pub fn new(graph: Graph, params: &'p ParamMap) -> Self {
        Self { graph, params }
    }

    fn has(&self, name: &str) -> bool {
        self.params.contains_key(name)
    }

    fn values(&self, name: &str) -> Result<(Vec<usize>, &'p [f32]), OnnxError> {
        let missing = || OnnxError::Params(ParamError::Missing(name.to_owned()));
        let data = self.params.get(name).ok_or_else(missing)?;
        Ok((data.shape().to_vec(), data.as_slice::<f32>().map_err(|_| missing())?))
    }

    /// A parameter.
    pub fn param(&mut self, name: &str) -> Result<Value, OnnxError> {
        let (dims, values) = self.values(name)?;
        self.graph.parameter(name, &dims, values)
    }

    /// A convolution with a square kernel whose padding keeps the size at stride 1.
    pub fn conv(&mut self, name: &str, x: &Value, stride: usize) -> Result<Value, OnnxError> {
        let weight = format!("{name}.weight");
        let kernel = self.values(&weight)?.0[2];
        let weight = self.param(&weight)?;
        let bias = format!("{name}.bias");
        let bias = if self.has(&bias) { Some(self.param(&bias)?) } else { None };
        Ok(self.conv_of(x, &weight, bias.as_ref(), kernel, stride))
    }

    fn conv_of(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        kernel: usize,
        stride: usize,
    ) -> Value {
        let inputs: Vec<&Value> = [x, weight].into_iter().chain(bias).collect();
        self.graph.node("Conv", &inputs, &geometry(kernel, stride))
    }

    /// The convolution `conv` followed by the batch normalisation `norm` with its running
    /// statistics, which are folded into the weight.
    pub fn conv_norm(
        &mut self,
        conv: &str,
        norm: &str,
        x: &Value,
        stride: usize,
    ) -> Result<Value, OnnxError> {
        let name = format!("{conv}.weight");
        let (dims, weight) = self.values(&name)?;
        let (_, variance) = self.values(&format!("{norm}.running_var"))?;
        let (_, gamma) = self.values(&format!("{norm}.weight"))?;
        let scale: Vec<f32> =
            gamma.iter().zip(variance).map(|(g, v)| g / (v + BATCH_NORM_EPSILON).sqrt()).collect();
        let taps = dims[1..].iter().product::<usize>().max(1);
        let folded: Vec<f32> = weight
            .chunks(taps)
            .zip(&scale)
            .flat_map(|(taps, scale)| taps.iter().map(move |w| w * scale))
            .collect();
        let bias = match self.has(&format!("{norm}.bias")) {
            true => {
                let (_, shift) = self.values(&format!("{norm}.bias"))?;
                let (_, mean) = self.values(&format!("{norm}.running_mean"))?;
                let shifts = shift.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s);
                let shifts: Vec<f32> = shifts.collect();
                let name = format!("{conv}.bias");
                Some(self.graph.parameter(&name, &[shifts.len()], &shifts)?)
            }
            false => None,
        };
        let folded = self.graph.parameter(&name, &dims, &folded)?;
        Ok(self.conv_of(x, &folded, bias.as_ref(), dims[2], stride))
    }

    /// The adjoint of a convolution. At stride 1 it is the convolution with the weight turned
    /// around, which every runtime computes faster than a transposed one. At stride 2 it is the
    /// transposed convolution to twice the size of `g`: [`cropped`](Self::cropped) takes the row
    /// and the column away that an odd size has not.
    pub fn conv_adjoint(
        &mut self,
        name: &str,
        g: &Value,
        stride: usize,
    ) -> Result<Value, OnnxError> {
        let name = format!("{name}.weight");
        let kernel = self.values(&name)?.0[2];
        let weight = self.param(&name)?;
        if stride == 1 {
            let turned = self.turned(&weight, kernel);
            return Ok(self.conv_of(g, &turned, None, kernel, 1));
        }
        let [kernel_shape, pads, strides] = geometry(kernel, stride);
        // The largest of the inputs that give the output of this size has `stride` times its size:
        // stride*(n - 1) - 2*padding + kernel + output_padding.
        let more = stride + 2 * (kernel / 2) - kernel;
        let more = Attribute::Ints("output_padding", vec![more as i64; 2]);
        Ok(self.graph.node("ConvTranspose", &[g, &weight], &[kernel_shape, pads, strides, more]))
    }

    /// The weight of the adjoint at stride 1: channels exchanged, taps in reverse.
    fn turned(&mut self, weight: &Value, kernel: usize) -> Value {
        let perm = Attribute::Ints("perm", vec![1, 0, 2, 3]);
        let mut turned = self.graph.node("Transpose", &[weight], &[perm]);
        if kernel > 1 {
            let taps: Vec<i64> = (0..kernel as i64).rev().collect();
            let taps = self.graph.ints(&taps);
            for axis in [2, 3] {
                let axis = [Attribute::Int("axis", axis)];
                turned = self.graph.node("Gather", &[&turned, &taps], &axis);
            }
        }
        turned
    }

    /// The first rows and columns of `x`, as many as `like` has.
    pub fn cropped(&mut self, x: &Value, like: &Value) -> Value {
        let graph = &mut self.graph;
        let (starts, axes) = (graph.ints(&[0, 0]), graph.ints(&[2, 3]));
        let ends = graph.shape(like, 2, 4);
        graph.node("Slice", &[x, &starts, &ends, &axes], &[])
    }

    /// `x*W^T + b`.
    pub fn linear(&mut self, name: &str, x: &Value) -> Result<Value, OnnxError> {
        let weight = self.param(&format!("{name}.weight"))?;
        let bias = format!("{name}.bias");
        let bias = if self.has(&bias) { Some(self.param(&bias)?) } else { None };
        let inputs: Vec<&Value> = [x, &weight].into_iter().chain(&bias).collect();
        Ok(self.graph.node("Gemm", &inputs, &[Attribute::Int("transB", 1)]))
    }

    /// `g*W`.
    pub fn linear_adjoint(&mut self, name: &str, g: &Value) -> Result<Value, OnnxError> {
        let weight = self.param(&format!("{name}.weight"))?;
        Ok(self.graph.node("MatMul", &[g, &weight], &[]))
    }

    /// `x*sigmoid(x)`.
    pub fn silu(&mut self, x: &Value) -> Value {
        let sigmoid = self.graph.unary("Sigmoid", x);
        self.graph.mul(x, &sigmoid)
    }

    /// `h/sqrt(2)` and the normal distribution `Phi(h)`.
    fn normal_cdf(&mut self, h: &Value) -> (Value, Value) {
        let graph = &mut self.graph;
        let t = graph.scale(h, FRAC_1_SQRT_2);
        let erf = graph.unary("Erf", &t);
        let half = graph.scale(&erf, 0.5);
        (t, graph.shift(&half, 0.5))
    }

    /// `h*Phi(h)`.
    pub fn gelu(&mut self, h: &Value) -> Value {
        let (_, cdf) = self.normal_cdf(h);
        self.graph.mul(h, &cdf)
    }

    /// `g*(Phi(h) + h*phi(h))`, with `h*phi(h) = t*exp(-t^2)/sqrt(pi)` for `t = h/sqrt(2)`.
    pub fn gelu_adjoint(&mut self, h: &Value, g: &Value) -> Value {
        let (t, cdf) = self.normal_cdf(h);
        let graph = &mut self.graph;
        let square = graph.mul(&t, &t);
        let below = graph.unary("Neg", &square);
        let bell = graph.unary("Exp", &below);
        let moment = graph.mul(&t, &bell);
        let moment = graph.scale(&moment, PI.sqrt().recip());
        let slope = graph.add(&cdf, &moment);
        graph.mul(g, &slope)
    }

    /// The scale and the shift of a norm, `[batch or 1, channels, 1, 1]`; see
    /// [`crate::nn::ModulatedNorm`].
    fn affine(
        &mut self,
        name: &str,
        channels: usize,
        embedding: Option<&Value>,
    ) -> Result<[Value; 2], OnnxError> {
        let mut gamma = self.param(&format!("{name}.weight"))?;
        let mut beta = self.param(&format!("{name}.bias"))?;
        if let Some(embedding) = embedding {
            let both = self.linear(&format!("{name}.modulation"), embedding)?;
            let graph = &mut self.graph;
            let scale = graph.slice(&both, 1, 0, channels);
            let scale = graph.shift(&scale, 1.0);
            let shift = graph.slice(&both, 1, channels, 2 * channels);
            gamma = graph.mul(&gamma, &scale);
            beta = graph.mul(&beta, &scale);
            beta = graph.add(&beta, &shift);
        }
        // A norm of batches: its running statistics are a scale and a shift.
        if self.has(&format!("{name}.running_var")) {
            let [mean, var] = ["running_mean", "running_var"]
                .map(|statistic| self.param(&format!("{name}.{statistic}")));
            let (mean, var) = (mean?, var?);
            let graph = &mut self.graph;
            let var = graph.shift(&var, f64::from(BATCH_NORM_EPSILON));
            let deviation = graph.unary("Sqrt", &var);
            let rstd = graph.unary("Reciprocal", &deviation);
            gamma = graph.mul(&gamma, &rstd);
            let shift = graph.mul(&mean, &gamma);
            beta = graph.sub(&beta, &shift);
        }
        let dims = [-1, channels as i64, 1, 1];
        Ok([gamma, beta].map(|values| self.graph.reshape(&values, &dims)))
    }

    /// The norm of `gelu(h)` with the scale and the shift of every image and channel.
    pub fn norm(
        &mut self,
        name: &str,
        h: &Value,
        embedding: Option<&Value>,
        kind: NormKind,
    ) -> Result<(Value, NormTape), OnnxError> {
        let [gamma, beta] = self.affine(name, kind.channels, embedding)?;
        let x = self.gelu(h);
        let (normal, group) = match kind.statistics {
            Statistics::Fixed => (x, None),
            Statistics::Group { epsilon } => {
                let graph = &mut self.graph;
                let x = graph.reshape(&x, &[0, kind.groups as i64, -1]);
                let mean = graph.mean(&x, &[2], true);
                let centred = graph.sub(&x, &mean);
                let square = graph.mul(&centred, &centred);
                let variance = graph.mean(&square, &[2], true);
                let variance = graph.shift(&variance, f64::from(epsilon));
                let deviation = graph.unary("Sqrt", &variance);
                let rstd = graph.unary("Reciprocal", &deviation);
                let normal = graph.mul(&centred, &rstd);
                (self.like(&normal, h), Some((normal, rstd)))
            }
        };
        let y = self.graph.mul(&normal, &gamma);
        let y = self.graph.add(&y, &beta);
        Ok((y, NormTape { h: h.clone(), gamma, group }))
    }

    /// `A(gamma*g)*gelu'(h)` with `A(q) = r*(q - mean q - xh*mean(q*xh))`, or `A(q) = q` without
    /// statistics.
    pub fn norm_adjoint(&mut self, tape: &NormTape, g: &Value, groups: usize) -> Value {
        let mut q = self.graph.mul(g, &tape.gamma);
        if let Some((normal, rstd)) = &tape.group {
            let graph = &mut self.graph;
            let grouped = graph.reshape(&q, &[0, groups as i64, -1]);
            let mean = graph.mean(&grouped, &[2], true);
            let along = graph.mul(&grouped, normal);
            let along = graph.mean(&along, &[2], true);
            let along = graph.mul(normal, &along);
            let rest = graph.sub(&grouped, &mean);
            let rest = graph.sub(&rest, &along);
            let rest = graph.mul(&rest, rstd);
            q = self.like(&rest, &tape.h);
        }
        self.gelu_adjoint(&tape.h, &q)
    }

    /// `x` in the shape of another value.
    fn like(&mut self, x: &Value, other: &Value) -> Value {
        let shape = self.graph.shape(other, 0, 4);
        self.graph.node("Reshape", &[x, &shape], &[])
    }

    /// The number of pixels in float32, `[1, 1]`: a number without dimensions would change the
    /// number of dimensions of a product with a 1 where a runtime leaves such a product out.
    pub fn pixels(&mut self, x: &Value) -> Value {
        let size = self.graph.shape(x, 2, 4);
        let float = Attribute::Type("to", DataType::Float);
        let size = self.graph.node("Cast", &[&size], &[float]);
        let product = self.graph.node(
            "ReduceProd",
            &[&size],
            &[Attribute::Ints("axes", vec![0]), Attribute::Int("keepdims", 1)],
        );
        self.graph.reshape(&product, &[1, 1])
    }
}

fn geometry(kernel: usize, stride: usize) -> [Attribute; 3] {
    let of = |n: usize| vec![n as i64; 2];
    [
        Attribute::Ints("kernel_shape", of(kernel)),
        Attribute::Ints("pads", vec![(kernel / 2) as i64; 4]),
        Attribute::Ints("strides", of(stride)),
    ]
}
