//! The default bodies: every operation written in framework operations, for any device.
//!
//! The hand-written CPU bodies are tested against them. A third derivative is not supported: the
//! reverses of the norm treat its statistics as constants.

use super::backend::{OptionalTensor, StepInfo};
use burn::backend::{Backend, Scalar, TensorMetadata, ops::ConvOptions, tensor::FloatTensor};
use burn::tensor::{FloatDType, Shape};
use miyasawa_shapes::{AdamW, ConvShape, NormShape, Operands, Sgd, Statistics};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

fn nchw<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(x, &[0, 3, 1, 2])
}

fn nhwc<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(x, &[0, 2, 3, 1])
}

pub(super) fn add<B: Backend>(x: FloatTensor<B>, addend: OptionalTensor<B>) -> FloatTensor<B> {
    match addend {
        OptionalTensor::Tensor(addend) => B::float_add(x, addend),
        OptionalTensor::None => x,
    }
}

/// The operand of a product in the type that the shape asks for: rounded to bfloat16, or unchanged.
/// The framework's convolution then multiplies and adds in the operand's first type, which holds
/// the products exactly.
fn operand<B: Backend>(x: FloatTensor<B>, s: &ConvShape) -> FloatTensor<B> {
    // TF32 exists within tensor cores only, which are not asked here.
    if s.operands != Operands::Bf16 {
        return x;
    }
    let dtype = x.dtype().into();
    B::float_cast(B::float_cast(x, FloatDType::BF16), dtype)
}

fn options(s: &ConvShape) -> ConvOptions<2> {
    ConvOptions::new([s.stride; 2], [s.padding; 2], [1; 2], 1)
}

pub(super) fn conv2d<B: Backend>(
    x: FloatTensor<B>,
    w: FloatTensor<B>,
    addend: OptionalTensor<B>,
    s: ConvShape,
) -> FloatTensor<B> {
    let (x, w) = (operand::<B>(x, &s), operand::<B>(w, &s));
    add::<B>(nhwc::<B>(B::conv2d(nchw::<B>(x), w, None, options(&s))), addend)
}

pub(super) fn conv2d_adjoint<B: Backend>(
    g: FloatTensor<B>,
    w: FloatTensor<B>,
    addend: OptionalTensor<B>,
    s: ConvShape,
) -> FloatTensor<B> {
    let (g, w) = (operand::<B>(g, &s), operand::<B>(w, &s));
    // The framework asks for the input to learn its shape.
    let shape = Shape::from([s.batch, s.in_channels, s.height, s.width]);
    let x = B::float_empty(shape, &g.device(), g.dtype().into());
    add::<B>(nhwc::<B>(B::conv2d_x_backward(x, w, nchw::<B>(g), options(&s))), addend)
}

pub(super) fn conv2d_weight_grad<B: Backend>(
    x: FloatTensor<B>,
    g: FloatTensor<B>,
    s: ConvShape,
) -> FloatTensor<B> {
    let (x, g) = (operand::<B>(x, &s), operand::<B>(g, &s));
    // The framework asks for the weight to learn its shape.
    let shape = Shape::from([s.out_channels, s.in_channels, s.kernel, s.kernel]);
    let w = B::float_empty(shape, &x.device(), x.dtype().into());
    B::conv2d_weight_backward(nchw::<B>(x), w, nchw::<B>(g), options(&s))
}

fn scale<B: Backend>(x: FloatTensor<B>, by: f64) -> FloatTensor<B> {
    B::float_mul_scalar(x, Scalar::Float(by))
}

fn shift<B: Backend>(x: FloatTensor<B>, by: f64) -> FloatTensor<B> {
    B::float_add_scalar(x, Scalar::Float(by))
}

/// `Phi(h)`.
fn normal_cdf<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    scale::<B>(shift::<B>(B::float_erf(scale::<B>(h, FRAC_1_SQRT_2)), 1.0), 0.5)
}

/// `phi(h)`.
fn normal_pdf<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    scale::<B>(B::float_exp(scale::<B>(B::float_mul(h.clone(), h), -0.5)), 1.0 / (2.0 * PI).sqrt())
}

pub(super) fn gelu<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(h.clone(), normal_cdf::<B>(h))
}

pub(super) fn gelu_adjoint<B: Backend>(h: FloatTensor<B>, g: FloatTensor<B>) -> FloatTensor<B> {
    let slope =
        B::float_add(normal_cdf::<B>(h.clone()), B::float_mul(h.clone(), normal_pdf::<B>(h)));
    B::float_mul(g, slope)
}

pub(super) fn gelu_adjoint_reverse<B: Backend>(
    h: FloatTensor<B>,
    g: FloatTensor<B>,
    v: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let bend = B::float_mul(
        normal_pdf::<B>(h.clone()),
        shift::<B>(scale::<B>(B::float_mul(h.clone(), h.clone()), -1.0), 2.0),
    );
    let dh = B::float_mul(B::float_mul(v.clone(), g), bend);
    (gelu_adjoint::<B>(h, v), dh)
}

/// Views of one group-norm problem: activations as `[batch, pixels, groups, channels of a group]`.
struct Groups<B: Backend> {
    s: NormShape,
    shape: Shape,
    xh: FloatTensor<B>,
    rstd: FloatTensor<B>,
}

impl<B: Backend> Groups<B> {
    fn new(x: FloatTensor<B>, mean: FloatTensor<B>, rstd: FloatTensor<B>, s: NormShape) -> Self {
        let shape = x.shape();
        let stats = Shape::from([s.batch, 1, s.groups, 1]);
        let mean = B::float_reshape(mean, stats.clone());
        let rstd = B::float_reshape(rstd, stats);
        let centred = B::float_sub(Self::split(x, &s), mean);
        Self { s, shape, xh: B::float_mul(centred, rstd.clone()), rstd }
    }

    fn split(x: FloatTensor<B>, s: &NormShape) -> FloatTensor<B> {
        B::float_reshape(x, Shape::from([s.batch, s.pixels, s.groups, s.channels / s.groups]))
    }

    fn channels(&self, gamma: FloatTensor<B>) -> FloatTensor<B> {
        let s = &self.s;
        B::float_reshape(gamma, Shape::from([s.batch, 1, s.groups, s.channels / s.groups]))
    }

    fn merge(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_reshape(x, self.shape.clone())
    }

    /// The sum over the pixels, `[batch, channels]`.
    fn per_channel(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_reshape(B::float_sum_dim(x, 1), Shape::from([self.s.batch, self.s.channels]))
    }

    fn mean(x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_mean_dim(B::float_mean_dim(x, 3), 1)
    }

    /// `mean(q*xh)`.
    fn along(&self, q: FloatTensor<B>) -> FloatTensor<B> {
        Self::mean(B::float_mul(q, self.xh.clone()))
    }

    fn fixed(&self) -> bool {
        self.s.statistics == Statistics::Fixed
    }

    /// `A(q) = r*(q - mean q - xh*mean(q*xh))`.
    fn project(&self, q: FloatTensor<B>) -> FloatTensor<B> {
        if self.fixed() {
            return q;
        }
        let centred = B::float_sub(q.clone(), Self::mean(q.clone()));
        let rest = B::float_sub(centred, B::float_mul(self.xh.clone(), self.along(q)));
        B::float_mul(rest, self.rstd.clone())
    }
}

/// `gelu(x)`, or `x` itself.
fn activated<B: Backend>(x: FloatTensor<B>, gelu: bool) -> FloatTensor<B> {
    if gelu { self::gelu::<B>(x) } else { x }
}

/// `g*gelu'(x)`, or `g` itself.
fn through<B: Backend>(x: FloatTensor<B>, g: FloatTensor<B>, gelu: bool) -> FloatTensor<B> {
    if gelu { gelu_adjoint::<B>(x, g) } else { g }
}

pub(super) fn group_norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    s: NormShape,
    gelu: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let x = activated::<B>(x, gelu);
    let grouped = Groups::<B>::split(x.clone(), &s);
    let mean = Groups::<B>::mean(grouped.clone());
    let centred = B::float_sub(grouped, mean.clone());
    let variance = Groups::<B>::mean(B::float_mul(centred.clone(), centred));
    let (mean, rstd) = match s.statistics {
        Statistics::Group { epsilon } => {
            (mean, B::float_recip(B::float_sqrt(shift::<B>(variance, f64::from(epsilon)))))
        }
        Statistics::Fixed => {
            let zeros = scale::<B>(mean, 0.0);
            (zeros.clone(), shift::<B>(zeros, 1.0))
        }
    };
    let stats = Shape::from([s.batch, s.groups]);
    let (mean, rstd) = (B::float_reshape(mean, stats.clone()), B::float_reshape(rstd, stats));
    let groups = Groups::<B>::new(x, mean.clone(), rstd.clone(), s);
    let scaled = B::float_mul(groups.xh.clone(), groups.channels(gamma));
    let y = groups.merge(B::float_add(scaled, groups.channels(beta)));
    (y, mean, rstd)
}

pub(super) fn group_norm_adjoint<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    rstd: FloatTensor<B>,
    g: FloatTensor<B>,
    s: NormShape,
    gelu: bool,
) -> FloatTensor<B> {
    let groups = Groups::<B>::new(activated::<B>(x.clone(), gelu), mean, rstd, s);
    let q = B::float_mul(Groups::<B>::split(g, &s), groups.channels(gamma));
    through::<B>(x, groups.merge(groups.project(q)), gelu)
}

pub(super) fn group_norm_reverse<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    rstd: FloatTensor<B>,
    g: FloatTensor<B>,
    s: NormShape,
    gelu: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let groups = Groups::<B>::new(activated::<B>(x.clone(), gelu), mean, rstd, s);
    let g = Groups::<B>::split(g, &s);
    let q = B::float_mul(g.clone(), groups.channels(gamma));
    let d_gamma = groups.per_channel(B::float_mul(g.clone(), groups.xh.clone()));
    (through::<B>(x, groups.merge(groups.project(q)), gelu), d_gamma, groups.per_channel(g))
}

pub(super) fn group_norm_adjoint_reverse<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    rstd: FloatTensor<B>,
    g: FloatTensor<B>,
    v: FloatTensor<B>,
    s: NormShape,
    gelu: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let groups = Groups::<B>::new(activated::<B>(x.clone(), gelu), mean, rstd, s);
    let gamma = groups.channels(gamma);
    let g = Groups::<B>::split(g, &s);
    let q = B::float_mul(g.clone(), gamma.clone());
    let a_q = groups.project(q.clone());
    // With the GELU the output is gelu'(x)*A(q): its cotangent reaches A through the slope, and x
    // twice.
    let (v, bend) = if gelu {
        let (v, bend) = gelu_adjoint_reverse::<B>(x.clone(), groups.merge(a_q.clone()), v);
        (v, Some(bend))
    } else {
        (v, None)
    };
    let v = Groups::<B>::split(v, &s);
    let a_v = groups.project(v.clone());
    if groups.fixed() {
        let d_gamma = groups.per_channel(B::float_mul(g, a_v.clone()));
        let dg = groups.merge(B::float_mul(a_v, gamma));
        let dx = bend.unwrap_or_else(|| scale::<B>(dg.clone(), 0.0));
        return (dg, d_gamma, dx);
    }
    let (m, k) = (groups.along(q.clone()), groups.along(v.clone()));
    let apart = B::float_mul(Groups::<B>::mean(v.clone()), Groups::<B>::mean(q.clone()));
    let spread = B::float_sub(
        B::float_sub(Groups::<B>::mean(B::float_mul(v, q)), apart),
        B::float_mul(m.clone(), k.clone()),
    );
    let r2 = B::float_mul(groups.rstd.clone(), groups.rstd.clone());
    let through_scale = B::float_mul(B::float_mul(groups.xh.clone(), spread), r2);
    let through_xh = B::float_mul(
        B::float_add(B::float_mul(a_q, k), B::float_mul(a_v.clone(), m)),
        groups.rstd.clone(),
    );
    let dx = groups.merge(scale::<B>(B::float_add(through_scale, through_xh), -1.0));
    let dx = through::<B>(x, dx, gelu);
    let dx = match bend {
        Some(bend) => B::float_add(dx, bend),
        None => dx,
    };
    let d_gamma = groups.per_channel(B::float_mul(g, a_v.clone()));
    (groups.merge(B::float_mul(a_v, gamma)), d_gamma, dx)
}

pub(super) fn mean_pool<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, height, width, channels] = x.shape().dims();
    let rows = B::float_reshape(x, Shape::from([batch, height * width, channels]));
    B::float_reshape(B::float_mean_dim(rows, 1), Shape::from([batch, channels]))
}

pub(super) fn mean_pool_adjoint<B: Backend>(
    g: FloatTensor<B>,
    addend: OptionalTensor<B>,
    height: usize,
    width: usize,
) -> FloatTensor<B> {
    let [batch, channels] = g.shape().dims();
    let spread = scale::<B>(g, 1.0 / (height * width) as f64);
    let spread = B::float_reshape(spread, Shape::from([batch, 1, 1, channels]));
    match addend {
        OptionalTensor::Tensor(addend) => B::float_add(addend, spread),
        OptionalTensor::None => {
            B::float_expand(spread, Shape::from([batch, height, width, channels]))
        }
    }
}

pub(super) fn sum_squares<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(B::float_mul(x.clone(), x))
}

/// `decay*average + (1 - decay)*p`.
fn ema<B: Backend>(average: FloatTensor<B>, p: FloatTensor<B>, decay: f32) -> FloatTensor<B> {
    let decay = f64::from(decay);
    B::float_add(scale::<B>(average, decay), scale::<B>(p, 1.0 - decay))
}

fn averaged<B: Backend>(
    average: OptionalTensor<B>,
    p: &FloatTensor<B>,
    at: StepInfo,
) -> FloatTensor<B> {
    match average {
        OptionalTensor::Tensor(average) => ema::<B>(average, p.clone(), at.decay),
        OptionalTensor::None => p.clone(),
    }
}

pub(super) fn adamw<B: Backend>(
    p: FloatTensor<B>,
    m: FloatTensor<B>,
    v: FloatTensor<B>,
    average: OptionalTensor<B>,
    g: FloatTensor<B>,
    rule: AdamW,
    at: StepInfo,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let g = scale::<B>(g, at.g_scale.into());
    let m = ema::<B>(m, g.clone(), rule.betas[0]);
    let v = ema::<B>(v, B::float_mul(g.clone(), g), rule.betas[1]);
    let [correction1, correction2] =
        rule.betas.map(|beta| 1.0 - f64::from(beta).powf(at.step as f64));
    let root = B::float_sqrt(scale::<B>(v.clone(), 1.0 / correction2));
    let step = B::float_div(m.clone(), shift::<B>(root, rule.epsilon.into()));
    let lr = f64::from(rule.learning_rate);
    let p = scale::<B>(p, 1.0 - lr * f64::from(rule.weight_decay));
    let p = B::float_sub(p, scale::<B>(step, lr / correction1));
    let average = averaged::<B>(average, &p, at);
    (p, m, v, average)
}

pub(super) fn sgd<B: Backend>(
    p: FloatTensor<B>,
    velocity: FloatTensor<B>,
    average: OptionalTensor<B>,
    g: FloatTensor<B>,
    rule: Sgd,
    at: StepInfo,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (lr, decay) = (f64::from(rule.learning_rate), f64::from(rule.weight_decay));
    let momentum = f64::from(rule.momentum);
    let mut g = scale::<B>(g, at.g_scale.into());
    if !rule.decoupled {
        g = B::float_add(g, scale::<B>(p.clone(), decay));
    }
    let velocity = B::float_add(scale::<B>(velocity, momentum), g.clone());
    let step = if rule.nesterov {
        B::float_add(g, scale::<B>(velocity.clone(), momentum))
    } else {
        velocity.clone()
    };
    let p = if rule.decoupled { scale::<B>(p, 1.0 - lr * decay) } else { p };
    let p = B::float_sub(p, scale::<B>(step, lr));
    let average = averaged::<B>(average, &p, at);
    (p, velocity, average)
}
