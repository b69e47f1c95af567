//! Effective GFLOP/s (two for each MAC of the definition) of each convolution of the network, for
//! each pass, and of the mix of a training step: `conv_bench [WIDTH:BATCH ..]`.

use std::time::Instant;

use miyasawa_kernels::conv::{self, Algorithm, ConvShape, Operands};
use miyasawa_kernels::isa::Isa;
use miyasawa_kernels::peak;

/// The convolutions of GradResNet with blocks 2,2,2,2 on 32x32 images, and how often each occurs.
fn layers(width: usize, batch: usize) -> Vec<(ConvShape, usize)> {
    let shape = |side, i, o, kernel, stride| ConvShape {
        batch,
        height: side,
        width: side,
        in_channels: i,
        out_channels: o,
        kernel,
        stride,
        padding: kernel / 2,
        operands: Operands::F32,
    };
    let mut layers = vec![(shape(32, 3, width, 3, 1), 1), (shape(32, width, width, 3, 1), 4)];
    for stage in 1..4 {
        let (side, c) = (32 >> stage, width << stage);
        layers.push((shape(2 * side, c / 2, c, 3, 2), 1));
        layers.push((shape(2 * side, c / 2, c, 1, 2), 1));
        layers.push((shape(side, c, c, 3, 1), 3));
    }
    layers
}

/// The least time of one call, measured over a tenth of a second.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.1 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    let isa = Isa::current();
    println!(
        "{isa}, {} threads, MAC peak {:.0} GFLOP/s",
        rayon::current_num_threads(),
        peak::fma_gflops(rayon::current_num_threads())
    );
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let force = args.iter().position(|a| a == "--direct").map(|i| args.remove(i));
    if args.is_empty() {
        args = ["8:128", "16:128", "32:64", "64:32", "64:1"].map(String::from).to_vec();
    }
    for arg in args {
        let (width, batch) = arg.split_once(':').expect("WIDTH:BATCH");
        let (width, batch) = (width.parse().expect("width"), batch.parse().expect("batch"));
        println!("\nwidth {width}, batch {batch}: forward, adjoint, weight gradient");
        let (mut flops, mut seconds) = (0.0, [0.0; 3]);
        for (s, times) in layers(width, batch) {
            let fill = |n: usize| {
                (0..n).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect::<Vec<_>>()
            };
            let (x, w, g) = (fill(s.input_len()), fill(s.weight_len()), fill(s.output_len()));
            let a = if force.is_some() { Algorithm::Direct } else { Algorithm::choose(&s) };
            let t = [
                time(|| drop(conv::forward_with(isa, a, &s, &x, &w, None))),
                time(|| drop(conv::adjoint_with(isa, a, &s, &g, &w, None))),
                time(|| drop(conv::weight_grad_with(isa, a, &s, &x, &g))),
            ];
            let work = 2.0 * s.macs() as f64;
            let rate = t.map(|t| work / t * 1e-9);
            println!(
                "  {}x{} s{} {:3} -> {:3} at {:2}  x{times}  {:6.0} {:6.0} {:6.0}   {:7.3} {:7.3} \
                 {:7.3} ms  {a:?}",
                s.kernel,
                s.kernel,
                s.stride,
                s.in_channels,
                s.out_channels,
                s.height,
                rate[0],
                rate[1],
                rate[2],
                t[0] * 1e3,
                t[1] * 1e3,
                t[2] * 1e3,
            );
            flops += times as f64 * work;
            (0..3).for_each(|i| seconds[i] += times as f64 * t[i]);
        }
        let total: f64 = seconds.iter().sum();
        let rate = |s: f64| flops / s * 1e-9;
        println!(
            "  all: {:.0} {:.0} {:.0}, step mix {:.0} GFLOP/s, {:.2} ms a step",
            rate(seconds[0]),
            rate(seconds[1]),
            rate(seconds[2]),
            3.0 * rate(total),
            2e3 * total
        );
    }
}
