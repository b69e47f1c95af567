//! Time of every memory-bound operation, in nanoseconds an element and in gigabytes a second of the slices
//! that it must read and write.
//!
//! ```text
//! cargo run --release -p miyasawa-kernels --example elementwise_bench [filter]
//! ```
//!
//! Each figure is the fastest of many runs on distinct buffers larger than the caches of one core, so that
//! the numbers are those of a network and not of one operation repeated on hot data.

use std::hint::black_box;
use std::time::{Duration, Instant};

use miyasawa_kernels::elementwise::{self, AdamW, Average};
use miyasawa_kernels::norm::{self, NormShape};
use miyasawa_kernels::{gelu, pool};

/// The shortest time of one call of `run`.
fn fastest(mut run: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 5 || start.elapsed() < Duration::from_millis(700) {
        let now = Instant::now();
        run();
        best = best.min(now.elapsed());
        rounds += 1;
    }
    best
}

struct Bench {
    filter: String,
    elements: usize,
}

impl Bench {
    /// Prints the line of one operation that moves `streams` slices of the activation's size.
    fn line(&self, name: &str, streams: usize, run: impl FnMut()) {
        if !name.contains(&self.filter) {
            return;
        }
        let seconds = fastest(run).as_secs_f64();
        let elements = self.elements as f64;
        println!(
            "  {name:<25} {:8.3} ns/element {:8.1} GB/s",
            seconds * 1e9 / elements,
            elements * 4.0 * streams as f64 / seconds / 1e9
        );
    }
}

fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    for (batch, pixels, channels) in
        [(1, 16 * 16, 16), (32, 32 * 32, 16), (32, 32 * 32, 64), (32, 8 * 8, 64), (1, 256 * 256, 16)]
    {
        let len = batch * pixels * channels;
        println!("[{batch}, {pixels} pixels, {channels}]");
        let bench = Bench { filter: filter.clone(), elements: len };
        let [h, g, v] = [1, 2, 3].map(|seed| values(len, seed));
        let [mut y, mut z] = [vec![0.0f32; len], vec![0.0f32; len]];

        bench.line("copy", 2, || black_box(&mut y).copy_from_slice(black_box(&h)));
        bench.line("gelu forward", 2, || gelu::forward(black_box(&h), &mut y));
        bench.line("gelu adjoint", 3, || gelu::adjoint(black_box(&h), &g, &mut y));
        bench
            .line("gelu adjoint_reverse", 5, || gelu::adjoint_reverse(black_box(&h), &g, &v, &mut y, &mut z));

        let s = NormShape { batch, pixels, channels, groups: channels / 8 };
        let (gamma, beta) = (values(batch * channels, 4), values(batch * channels, 5));
        let [mut d_gamma, mut d_beta] = [gamma.clone(), beta.clone()];
        let [mut mean, mut rstd] = [vec![0.0; batch * s.groups], vec![0.0; batch * s.groups]];
        bench.line("norm forward", 2, || {
            norm::forward(&s, black_box(&h), &gamma, &beta, &mut y, &mut mean, &mut rstd)
        });
        norm::forward(&s, &h, &gamma, &beta, &mut y, &mut mean, &mut rstd);
        bench.line("norm adjoint", 3, || {
            norm::adjoint(&s, black_box(&h), &gamma, &mean, &rstd, &g, &mut y, None)
        });
        bench.line("norm adjoint affine", 3, || {
            let affine = Some((&mut d_gamma[..], &mut d_beta[..]));
            norm::adjoint(&s, black_box(&h), &gamma, &mean, &rstd, &g, &mut y, affine)
        });
        bench.line("norm adjoint_reverse", 5, || {
            norm::adjoint_reverse(
                &s,
                black_box(&h),
                &gamma,
                &mean,
                &rstd,
                &g,
                &v,
                &mut y,
                &mut d_gamma,
                &mut z,
            )
        });

        bench.line("norm gelu_forward", 2, || {
            norm::gelu_forward(&s, black_box(&h), &gamma, &beta, &mut y, &mut mean, &mut rstd)
        });
        norm::gelu_forward(&s, &h, &gamma, &beta, &mut y, &mut mean, &mut rstd);
        bench.line("norm gelu_adjoint", 3, || {
            let affine = Some((&mut d_gamma[..], &mut d_beta[..]));
            norm::gelu_adjoint(&s, black_box(&h), &gamma, &mean, &rstd, &g, &mut y, affine)
        });
        bench.line("norm gelu_adjoint_reverse", 5, || {
            norm::gelu_adjoint_reverse(
                &s,
                black_box(&h),
                &gamma,
                &mean,
                &rstd,
                &g,
                &v,
                &mut y,
                &mut d_gamma,
                &mut z,
            )
        });

        bench.line("pool forward", 1, || pool::forward(batch, pixels, channels, black_box(&h), &mut d_gamma));
        bench.line("pool adjoint", 1, || {
            pool::adjoint(batch, pixels, channels, black_box(&gamma), None, &mut y)
        });
        bench.line("pool adjoint + addend", 2, || {
            pool::adjoint(batch, pixels, channels, black_box(&gamma), Some(&g), &mut y)
        });

        let [mut p, mut mean, mut square] = [h.clone(), vec![0.0; len], vec![0.0; len]];
        let mut average = h.clone();
        bench.line("adamw", 7, || {
            let options = AdamW { learning_rate: 1e-9, ..AdamW::default() };
            elementwise::adamw(&options, 1, 0.5, black_box(&mut p), &mut mean, &mut square, &g, None)
        });
        bench.line("adamw + average", 9, || {
            let options = AdamW { learning_rate: 1e-9, ..AdamW::default() };
            let ema = Some(Average { values: &mut average, decay: 0.99 });
            elementwise::adamw(&options, 1, 0.5, black_box(&mut p), &mut mean, &mut square, &g, ema)
        });
        bench.line("sum_squares", 1, || {
            black_box(elementwise::sum_squares(black_box(&g)));
        });
    }
}
