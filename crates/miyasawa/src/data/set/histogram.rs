//! How often every value occurs, for exact means and deviations.

/// How often every 8-bit value occurs.
#[derive(Debug, Clone)]
pub(in crate::data) struct Histogram([u64; 256]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Histogram {
    pub fn add(&mut self, values: &[u8]) {
        values.iter().for_each(|&value| self.0[value as usize] += 1);
    }

    pub fn merge(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a += b);
        self
    }

    /// Mean and standard deviation in normalised units ([-1, 1]); NaN without values.
    pub fn mean_std(&self) -> (f64, f64) {
        let n = self.0.iter().sum::<u64>() as f64;
        let sum = |term: &dyn Fn(f64) -> f64| -> f64 {
            self.0.iter().zip(0u32..).map(|(&k, v)| k as f64 * term(f64::from(v))).sum::<f64>() / n
        };
        let mean = sum(&|v| v);
        let variance = sum(&|v| (v - mean).powi(2));
        (mean / 127.5 - 1.0, variance.sqrt() / 127.5)
    }
}
