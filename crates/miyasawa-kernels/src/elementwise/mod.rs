//! Steps of optimisers in one pass over the parameters, and the sum of squares that clipping needs.
//!
//! Both optimisers are PyTorch's, to the rounding, for dampening 0. They multiply the gradient by a
//! factor first (that of clipping; 1 without) and can move an exponential average of the parameters
//! along.

use crate::isa::Isa;
use crate::multiversion::{fma, multiversion};
use crate::tasks;
pub use miyasawa_shapes::{AdamW, Sgd};

#[cfg(test)]
mod tests;

/// Values that one task handles; fewer run on the calling thread.
const CHUNK: usize = 16 * 1024;

/// An exponential moving average of parameters: `values = decay*values + (1 - decay)*parameters`.
#[derive(Debug)]
pub struct Average<'a> {
    /// As many as there are parameters.
    pub values: &'a mut [f32],
    /// Share of the old average that a step keeps.
    pub decay: f32,
}

/// The factors of a step of AdamW.
#[derive(Clone, Copy)]
struct AdamFactors {
    gradient: f32,
    keep: f32,
    mean: f32,
    square: [f32; 2],
    root: f32,
    epsilon: f32,
    step: f32,
    average: f32,
}

/// One step of AdamW on one parameter `p` with its mean gradient `m` and mean squared gradient `v`.
#[inline(always)]
fn adamw_one<const FMA: bool>(k: &AdamFactors, p: &mut f32, m: &mut f32, v: &mut f32, g: f32) {
    let g = g * k.gradient;
    *m = fma::<FMA>(g - *m, k.mean, *m);
    *v = fma::<FMA>(*v, k.square[0], k.square[1] * g * g);
    let denominator = fma::<FMA>(v.sqrt(), k.root, k.epsilon);
    *p = fma::<FMA>(*p, k.keep, -(k.step * (*m / denominator)));
}

#[inline(always)]
fn average_one<const FMA: bool>(factor: f32, average: &mut f32, p: f32) {
    *average = fma::<FMA>(p - *average, factor, *average);
}

multiversion! {
    fn adamw_chunk(k: &AdamFactors, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            adamw_one::<FMA>(k, p, m, v, g);
        }
    }
}

multiversion! {
    fn adamw_average_chunk(
        k: &AdamFactors, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32],
        average: &mut [f32],
    ) {
        for ((((p, m), v), &g), average) in p.iter_mut().zip(m).zip(v).zip(g).zip(average) {
            adamw_one::<FMA>(k, p, m, v, g);
            average_one::<FMA>(k.average, average, *p);
        }
    }
}

/// Updates parameters in place by one step of AdamW, the `step`-th (from 1): parameters `p` with
/// gradient `g`; `m` and `v` are the means of the gradient and of its square, zero before the first
/// step.
///
/// # Panics
/// If the lengths differ or `step` is 0.
#[allow(clippy::too_many_arguments)]
pub fn adamw(
    options: &AdamW,
    step: u64,
    gradient_factor: f32,
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    average: Option<Average<'_>>,
) {
    adamw_on(Isa::current(), options, step, gradient_factor, p, m, v, g, average);
}

#[allow(clippy::too_many_arguments)]
fn adamw_on(
    isa: Isa,
    options: &AdamW,
    step: u64,
    gradient_factor: f32,
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    average: Option<Average<'_>>,
) {
    assert!(step > 0, "elementwise::adamw: steps count from 1");
    let len = p.len();
    let lens = [("m", m.len()), ("v", v.len()), ("g", g.len())];
    check("elementwise::adamw", len, &lens, average.as_ref());

    let [beta1, beta2] = options.betas.map(f64::from);
    let rate = f64::from(options.learning_rate);
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    let k = AdamFactors {
        gradient: gradient_factor,
        keep: (1.0 - rate * f64::from(options.weight_decay)) as f32,
        mean: (1.0 - beta1) as f32,
        square: [options.betas[1], (1.0 - beta2) as f32],
        root: correction(beta2).sqrt().recip() as f32,
        epsilon: options.epsilon,
        step: (rate / correction(beta1)) as f32,
        average: average.as_ref().map_or(0.0, |a| (1.0 - f64::from(a.decay)) as f32),
    };
    let chunks =
        p.chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK))).zip(g.chunks(CHUNK));
    match average {
        None if len <= CHUNK => adamw_chunk(isa, &k, p, m, v, g),
        None => tasks::items(chunks, |_, ((p, (m, v)), g)| adamw_chunk(isa, &k, p, m, v, g)),
        Some(average) if len <= CHUNK => adamw_average_chunk(isa, &k, p, m, v, g, average.values),
        Some(average) => {
            let chunks = chunks.zip(average.values.chunks_mut(CHUNK));
            tasks::items(chunks, |_, (((p, (m, v)), g), average)| {
                adamw_average_chunk(isa, &k, p, m, v, g, average);
            });
        }
    }
}

fn check(name: &str, len: usize, lens: &[(&str, usize)], average: Option<&Average<'_>>) {
    for (slice, other) in lens {
        assert_eq!(*other, len, "{name}: length of {slice}");
    }
    if let Some(average) = average {
        assert_eq!(average.values.len(), len, "{name}: length of the average");
    }
}

/// The factors of a step of gradient descent.
#[derive(Clone, Copy)]
struct SgdFactors {
    gradient: f32,
    /// L2 decay.
    decay: f32,
    keep: f32,
    momentum: f32,
    /// The step along the gradient and along the new velocity.
    step: [f32; 2],
    average: f32,
}

#[inline(always)]
fn sgd_one<const FMA: bool>(k: &SgdFactors, p: &mut f32, velocity: &mut f32, g: f32) {
    let g = fma::<FMA>(*p, k.decay, g * k.gradient);
    *velocity = fma::<FMA>(*velocity, k.momentum, g);
    let step = fma::<FMA>(k.step[0], g, k.step[1] * *velocity);
    *p = fma::<FMA>(*p, k.keep, -step);
}

multiversion! {
    fn sgd_chunk(k: &SgdFactors, p: &mut [f32], velocity: &mut [f32], g: &[f32]) {
        for ((p, velocity), &g) in p.iter_mut().zip(velocity).zip(g) {
            sgd_one::<FMA>(k, p, velocity, g);
        }
    }
}

multiversion! {
    fn sgd_average_chunk(
        k: &SgdFactors, p: &mut [f32], velocity: &mut [f32], g: &[f32], average: &mut [f32],
    ) {
        for (((p, velocity), &g), average) in p.iter_mut().zip(velocity).zip(g).zip(average) {
            sgd_one::<FMA>(k, p, velocity, g);
            average_one::<FMA>(k.average, average, *p);
        }
    }
}

/// Updates parameters in place by one step of gradient descent: parameters `p` with gradient `g`;
/// `velocity` is zero before the first step.
///
/// # Panics
/// If the lengths differ.
pub fn sgd(
    options: &Sgd,
    gradient_factor: f32,
    p: &mut [f32],
    velocity: &mut [f32],
    g: &[f32],
    average: Option<Average<'_>>,
) {
    sgd_on(Isa::current(), options, gradient_factor, p, velocity, g, average);
}

fn sgd_on(
    isa: Isa,
    options: &Sgd,
    gradient_factor: f32,
    p: &mut [f32],
    velocity: &mut [f32],
    g: &[f32],
    average: Option<Average<'_>>,
) {
    let len = p.len();
    let lens = [("the velocity", velocity.len()), ("g", g.len())];
    check("elementwise::sgd", len, &lens, average.as_ref());
    let rate = options.learning_rate;
    let shrink = f64::from(rate) * f64::from(options.weight_decay);
    let k = SgdFactors {
        gradient: gradient_factor,
        decay: if options.decoupled { 0.0 } else { options.weight_decay },
        keep: if options.decoupled { (1.0 - shrink) as f32 } else { 1.0 },
        momentum: options.momentum,
        step: if options.nesterov { [rate, rate * options.momentum] } else { [0.0, rate] },
        average: average.as_ref().map_or(0.0, |a| (1.0 - f64::from(a.decay)) as f32),
    };
    let chunks = p.chunks_mut(CHUNK).zip(velocity.chunks_mut(CHUNK)).zip(g.chunks(CHUNK));
    match average {
        None if len <= CHUNK => sgd_chunk(isa, &k, p, velocity, g),
        None => tasks::items(chunks, |_, ((p, velocity), g)| sgd_chunk(isa, &k, p, velocity, g)),
        Some(average) if len <= CHUNK => sgd_average_chunk(isa, &k, p, velocity, g, average.values),
        Some(average) => {
            let chunks = chunks.zip(average.values.chunks_mut(CHUNK));
            tasks::items(chunks, |_, (((p, velocity), g), average)| {
                sgd_average_chunk(isa, &k, p, velocity, g, average);
            });
        }
    }
}

/// Lanes of [`sum_squares`].
const LANES: usize = 64;

multiversion! {
    fn squares_chunk(g: &[f32], sum: &mut f64) {
        let mut acc = [0.0f64; LANES];
        for g in g.chunks(LANES) {
            for (acc, &g) in acc.iter_mut().zip(g) {
                // Exact in double precision, so that fusing the two would change nothing.
                *acc += f64::from(g) * f64::from(g);
            }
        }
        *sum = acc.iter().sum();
    }
}

/// The sum of `g^2`, in double precision; the same bits for any number of threads.
pub fn sum_squares(g: &[f32]) -> f64 {
    sum_squares_on(Isa::current(), g)
}

fn sum_squares_on(isa: Isa, g: &[f32]) -> f64 {
    let part = |g: &[f32]| {
        let mut sum = 0.0;
        squares_chunk(isa, g, &mut sum);
        sum
    };
    if g.len() <= 4 * CHUNK {
        return g.chunks(CHUNK).map(part).sum();
    }
    // Collected first: the order of the additions must not depend on the threads.
    let mut parts = vec![0.0; g.len().div_ceil(CHUNK)];
    tasks::items(parts.iter_mut().zip(g.chunks(CHUNK)), |_, (sum, g)| *sum = part(g));
    parts.iter().sum()
}
