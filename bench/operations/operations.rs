//! Every operation, forward and back, at the sizes of a network:
//! `cargo bench --manifest-path bench/operations/Cargo.toml [-- FILTER]`.
//!
//! Convolutions count multiplications and additions of the definition as elements (so that
//! "Gelem/s" are the effective GFLOP/s), the others the bytes that they must read and write.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use miyasawa_kernels::conv::{self, ConvShape, Operands};
use miyasawa_kernels::elementwise::{self, AdamW, Average, Sgd};
use miyasawa_kernels::norm::{self, NormShape, Saved};
use miyasawa_kernels::{gelu, pool};

fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..len).map(|_| next()).collect()
}

/// The convolutions of a network of width 32 on a part of 16 images of 32x32, and those of one
/// image at width 64.
fn convolutions(c: &mut Criterion) {
    let shape = |batch, side, [in_channels, out_channels]: [usize; 2], kernel, stride| ConvShape {
        batch,
        height: side,
        width: side,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding: kernel / 2,
        operands: Operands::F32,
    };
    let mut group = c.benchmark_group("conv");
    for s in [
        shape(16, 32, [3, 32], 3, 1),
        shape(16, 32, [32, 32], 3, 1),
        shape(16, 32, [32, 64], 3, 2),
        shape(16, 32, [32, 64], 1, 2),
        shape(16, 8, [128, 128], 3, 1),
        shape(16, 4, [256, 256], 3, 1),
        shape(1, 32, [64, 64], 3, 1),
        shape(1, 8, [256, 256], 3, 1),
        shape(1, 4, [512, 512], 3, 1),
    ] {
        for operands in [Operands::F32, Operands::Bf16] {
            let s = ConvShape { operands, ..s };
            let (x, w) = (values(s.input_len(), 1), values(s.weight_len(), 2));
            let g = values(s.output_len(), 3);
            let name = format!(
                "{}x{}x{}x{} to {}, {}x{} step {}, {operands:?}",
                s.batch,
                s.height,
                s.width,
                s.in_channels,
                s.out_channels,
                s.kernel,
                s.kernel,
                s.stride
            );
            group.throughput(Throughput::Elements(2 * s.macs() as u64));
            group.bench_function(BenchmarkId::new("forward", &name), |b| {
                b.iter(|| conv::forward(&s, black_box(&x), &w, None))
            });
            group.bench_function(BenchmarkId::new("adjoint", &name), |b| {
                b.iter(|| conv::adjoint(&s, black_box(&g), &w, Some(&x)))
            });
            group.bench_function(BenchmarkId::new("weight_grad", &name), |b| {
                b.iter(|| conv::weight_grad(&s, black_box(&x), &g))
            });
        }
    }
}

/// What is bound by memory: an activation in the second-level cache and one beyond it.
fn activations(c: &mut Criterion) {
    for (batch, pixels, channels) in [(1, 16 * 16, 64), (16, 32 * 32, 32)] {
        let len = batch * pixels * channels;
        let groups = channels / 8;
        let s =
            NormShape { batch, pixels, channels, groups, statistics: norm::Statistics::default() };
        let [h, g, v] = [1, 2, 3].map(|seed| values(len, seed));
        let (gamma, beta) = (values(batch * channels, 4), values(batch * channels, 5));
        let mut group = c.benchmark_group(format!("{batch}x{pixels}x{channels}"));
        let mut line = |name: &str, streams: usize, run: &mut dyn FnMut()| {
            group.throughput(Throughput::Bytes((4 * streams * len) as u64));
            group.bench_function(name, |b| b.iter(&mut *run));
        };
        line("gelu", 2, &mut || drop(gelu::forward(black_box(&h))));
        line("gelu_adjoint", 3, &mut || drop(gelu::adjoint(black_box(&h), &g)));
        line("gelu_adjoint_reverse", 5, &mut || drop(gelu::adjoint_reverse(black_box(&h), &g, &v)));
        for (fused, name) in [(false, "norm"), (true, "gelu and norm")] {
            let [_, mean, rstd] = norm::forward(&s, &h, &gamma, &beta, fused);
            let saved = Saved { h: &h, gamma: &gamma, mean: &mean, rstd: &rstd };
            line(name, 2, &mut || drop(norm::forward(&s, black_box(&h), &gamma, &beta, fused)));
            line(&format!("{name} adjoint"), 3, &mut || {
                drop(norm::adjoint(&s, black_box(saved), &g, fused))
            });
            line(&format!("{name} adjoint_reverse"), 5, &mut || {
                drop(norm::adjoint_reverse(&s, black_box(saved), &g, &v, fused))
            });
        }
        line("pool", 1, &mut || drop(pool::forward(batch, pixels, channels, black_box(&h))));
        line("pool_adjoint", 2, &mut || {
            drop(pool::adjoint(batch, pixels, channels, black_box(&gamma), Some(&g)))
        });
    }
}

/// What touches every parameter once a step.
fn parameters(c: &mut Criterion) {
    let len = 1 << 20;
    let (mut p, g) = (values(len, 1), values(len, 2));
    let [mut mean, mut square] = [vec![0.0; len], vec![0.0; len]];
    let mut average = p.clone();
    let mut group = c.benchmark_group(format!("{len} parameters"));
    let mut line = |name: &str, streams: usize, run: &mut dyn FnMut()| {
        group.throughput(Throughput::Bytes((4 * streams * len) as u64));
        group.bench_function(name, |b| b.iter(&mut *run));
    };
    let (adamw, sgd) = (
        AdamW { learning_rate: 1e-9, ..AdamW::default() },
        Sgd { learning_rate: 1e-9, momentum: 0.9, ..Sgd::default() },
    );
    line("adamw and average", 9, &mut || {
        let ema = Some(Average { values: &mut average, decay: 0.99 });
        elementwise::adamw(&adamw, 1, 0.5, black_box(&mut p), &mut mean, &mut square, &g, ema)
    });
    line("sgd", 5, &mut || elementwise::sgd(&sgd, 0.5, black_box(&mut p), &mut mean, &g, None));
    line("sum_squares", 1, &mut || {
        black_box(elementwise::sum_squares(black_box(&g)));
    });
}

criterion_group! {
    name = operations;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = convolutions, activations, parameters
}
criterion_main!(operations);
