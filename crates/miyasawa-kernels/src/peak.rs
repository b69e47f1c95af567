//! The MAC peak of this machine, which convolution rates are compared with.

use std::hint::black_box;
use std::time::Instant;

use crate::isa::Isa;
use crate::simd::{Kernel, Simd};

/// Accumulators: more than latency times throughput of every processor here, few enough for
/// registers.
const CHAINS: usize = 12;

struct Chains(usize);

impl Kernel for Chains {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let mut out = [0.0f32; 16];
        // SAFETY: `Isa::run` vouches for the processor; a vector has at most sixteen lanes.
        unsafe {
            let (a, b) = (S::splat(black_box(0.999)), S::splat(black_box(0.001)));
            let mut acc = [S::splat(black_box(1.0)); CHAINS];
            for _ in 0..self.0 {
                for acc in &mut acc {
                    *acc = S::fma(a, *acc, b);
                }
            }
            let sum = acc.into_iter().reduce(|x, y| S::add(x, y));
            S::store(out.as_mut_ptr(), sum.unwrap_or(b));
        }
        out[0]
    }
}

/// Measures the peak of `threads` threads in GFLOP/s (two for a MAC), best of a few short runs.
pub fn fma_gflops(threads: usize) -> f64 {
    let (isa, rounds) = (Isa::current(), 2_000_000);
    let flops = (2 * threads * rounds * CHAINS * isa.lanes()) as f64;
    let best = (0..5).map(|_| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| black_box(isa.run(Chains(rounds))));
            }
        });
        start.elapsed().as_secs_f64()
    });
    flops / best.fold(f64::INFINITY, f64::min) * 1e-9
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_positive() {
        assert!(super::fma_gflops(1) > 0.1);
    }
}
