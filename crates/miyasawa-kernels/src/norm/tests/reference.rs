//! The formulas of the module's page in double precision, one group of one image at a time, and the
//! GELU's definition by an integral, for the tests.

use super::super::{NormShape, Statistics};

/// Three functions of one variable: a value and its first two derivatives.
pub(super) type Activation = fn(f64) -> [f64; 3];

pub(super) fn identity(h: f64) -> [f64; 3] {
    [h, 1.0, 0.0]
}

pub(super) fn gelu(h: f64) -> [f64; 3] {
    // Phi(h) - 1/2 = phi(h)*(h + h^3/3 + h^5/(3*5) + ...)
    let pdf = (-0.5 * h * h).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (mut term, mut sum) = (h, h);
    for n in 1..200 {
        term *= h * h / f64::from(2 * n + 1);
        sum += term;
        if term.abs() < 1e-18 * sum.abs() {
            break;
        }
    }
    let cdf = 0.5 + pdf * sum;
    [h * cdf, cdf + h * pdf, pdf * (2.0 - h * h)]
}

/// One operand of every operation for a batch, in double precision.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) shape: NormShape,
    pub(super) activation: Activation,
    pub(super) h: Vec<f64>,
    pub(super) gamma: Vec<f64>,
    pub(super) beta: Vec<f64>,
    pub(super) g: Vec<f64>,
    pub(super) v: Vec<f64>,
}

pub(super) struct Reverse {
    pub(super) dg: Vec<f64>,
    pub(super) d_gamma: Vec<f64>,
    pub(super) dh: Vec<f64>,
}

impl Case {
    /// For every image and group, the indices of its values and the channel (of the batch) of each.
    fn groups(&self) -> Vec<Vec<(usize, usize)>> {
        let s = &self.shape;
        let width = s.channels / s.groups;
        let mut all = vec![];
        for n in 0..s.batch {
            for group in 0..s.groups {
                let mut elements = vec![];
                for p in 0..s.pixels {
                    for c in group * width..(group + 1) * width {
                        elements.push(((n * s.pixels + p) * s.channels + c, n * s.channels + c));
                    }
                }
                all.push(elements);
            }
        }
        all
    }

    /// The number added to the variances; none where the statistics are fixed.
    fn epsilon(&self) -> Option<f64> {
        match self.shape.statistics {
            Statistics::Group { epsilon } => Some(f64::from(epsilon)),
            Statistics::Fixed => None,
        }
    }

    fn x(&self) -> Vec<f64> {
        self.h.iter().map(|&h| (self.activation)(h)[0]).collect()
    }

    /// Mean and reciprocal deviation of every image and group.
    pub(super) fn stats(&self) -> Vec<[f64; 2]> {
        let x = self.x();
        let Some(epsilon) = self.epsilon() else { return vec![[0.0, 1.0]; self.groups().len()] };
        self.groups()
            .iter()
            .map(|elements| {
                let count = elements.len() as f64;
                let mean = elements.iter().map(|&(i, _)| x[i]).sum::<f64>() / count;
                let square =
                    elements.iter().map(|&(i, _)| (x[i] - mean).powi(2)).sum::<f64>() / count;
                [mean, 1.0 / (square + epsilon).sqrt()]
            })
            .collect()
    }

    pub(super) fn normalised(&self) -> Vec<f64> {
        let mut xh = self.x();
        for (elements, [mean, r]) in self.groups().iter().zip(self.stats()) {
            for &(i, _) in elements {
                xh[i] = (xh[i] - mean) * r;
            }
        }
        xh
    }

    pub(super) fn forward(&self) -> Vec<f64> {
        let mut y = self.normalised();
        for &(i, c) in self.groups().iter().flatten() {
            y[i] = y[i] * self.gamma[c] + self.beta[c];
        }
        y
    }

    /// `A(q)`.
    fn a(&self, q: &[f64]) -> Vec<f64> {
        if self.epsilon().is_none() {
            return q.to_vec();
        }
        let xh = self.normalised();
        let mut a = q.to_vec();
        for (elements, [_, r]) in self.groups().iter().zip(self.stats()) {
            let count = elements.len() as f64;
            let mean = elements.iter().map(|&(i, _)| q[i]).sum::<f64>() / count;
            let m = elements.iter().map(|&(i, _)| q[i] * xh[i]).sum::<f64>() / count;
            for &(i, _) in elements {
                a[i] = r * (q[i] - mean - xh[i] * m);
            }
        }
        a
    }

    fn q(&self) -> Vec<f64> {
        let mut q = self.g.clone();
        for &(i, c) in self.groups().iter().flatten() {
            q[i] *= self.gamma[c];
        }
        q
    }

    pub(super) fn adjoint(&self) -> Vec<f64> {
        self.a(&self.q()).iter().zip(&self.h).map(|(a, &h)| a * (self.activation)(h)[1]).collect()
    }

    /// Gradients of the scale and the shift.
    pub(super) fn affine(&self) -> [Vec<f64>; 2] {
        let xh = self.normalised();
        let mut sums = [vec![0.0; self.gamma.len()], vec![0.0; self.gamma.len()]];
        for &(i, c) in self.groups().iter().flatten() {
            sums[0][c] += self.g[i] * xh[i];
            sums[1][c] += self.g[i];
        }
        sums
    }

    pub(super) fn reverse(&self) -> Reverse {
        let derivatives: Vec<_> = self.h.iter().map(|&h| (self.activation)(h)).collect();
        let w: Vec<_> = self.v.iter().zip(&derivatives).map(|(v, d)| v * d[1]).collect();
        let (xh, q) = (self.normalised(), self.q());
        let (a_q, a_w) = (self.a(&q), self.a(&w));
        let mut dg = a_w.clone();
        let mut d_gamma = vec![0.0; self.gamma.len()];
        let mut dh = vec![0.0; self.h.len()];
        for (elements, [_, r]) in self.groups().iter().zip(self.stats()) {
            let share = if self.epsilon().is_some() { 1.0 / elements.len() as f64 } else { 0.0 };
            let mean =
                |f: &dyn Fn(usize) -> f64| elements.iter().map(|&(i, _)| f(i)).sum::<f64>() * share;
            let m = mean(&|i| q[i] * xh[i]);
            let k = mean(&|i| w[i] * xh[i]);
            let spread = mean(&|i| w[i] * q[i]) - mean(&|i| w[i]) * mean(&|i| q[i]) - m * k;
            for &(i, c) in elements {
                dg[i] = self.gamma[c] * a_w[i];
                d_gamma[c] += self.g[i] * a_w[i];
                let dx = -r * r * xh[i] * spread - r * (k * a_q[i] + m * a_w[i]);
                dh[i] = derivatives[i][1] * dx + derivatives[i][2] * self.v[i] * a_q[i];
            }
        }
        Reverse { dg, d_gamma, dh }
    }
}
