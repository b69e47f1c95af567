use proptest::prelude::*;

use super::*;
use reference::Case;

mod reference;

/// `(batch, pixels, channels, groups)`; the last ones have several segments in an image. No group
/// is so small that it may lack a spread.
const SHAPES: [(usize, usize, usize, usize); 18] = [
    (1, 1, 5, 1),
    (2, 3, 5, 1),
    (3, 63, 5, 1),
    (5, 63, 12, 1),
    (4, 240, 12, 3),
    (2, 63, 8, 1),
    (5, 3, 8, 2),
    (3, 240, 16, 2),
    (1, 63, 24, 3),
    (2, 240, 24, 1),
    (1, 1, 64, 8),
    (5, 63, 64, 8),
    (2, 63, 37, 37),
    (1, 63, 1040, 130),
    (1, 63, 1031, 1),
    (1, 5003, 5, 1),
    (2, 1111, 24, 3),
    (5, 577, 64, 8),
];

const SHAPE: NormShape = NormShape {
    batch: 1,
    pixels: 1,
    channels: 1,
    groups: 1,
    statistics: Statistics::Group { epsilon: EPSILON },
};

fn values(len: usize, seed: usize) -> Vec<f64> {
    let mut state = seed as u64 * 77 + 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Single precision, so that the kernels take the very same operands.
            f64::from((state >> 40) as f32 / (1u64 << 22) as f32 - 2.0)
        })
        .collect()
}

/// Group normalisation as PyTorch has it, with a large addend, and none.
const STATISTICS: [Statistics; 3] = [
    Statistics::Group { epsilon: EPSILON },
    Statistics::Group { epsilon: 0.05 },
    Statistics::Fixed,
];

fn case(shape: (usize, usize, usize, usize), gelu: bool) -> Case {
    case_by(Statistics::default(), shape, gelu)
}

fn case_by(
    statistics: Statistics,
    (batch, pixels, channels, groups): (usize, usize, usize, usize),
    gelu: bool,
) -> Case {
    let len = batch * pixels * channels;
    let [h, g, v] = [1, 2, 3].map(|seed| values(len, seed));
    let [gamma, beta] = [4, 5].map(|seed| values(batch * channels, seed));
    let activation = if gelu { reference::gelu } else { reference::identity };
    let shape = NormShape { batch, pixels, channels, groups, statistics };
    Case { shape, activation, h, gamma, beta, g, v }
}

/// The results of the kernels for a case.
#[derive(PartialEq, Debug)]
struct Output {
    y: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
    adjoint: Vec<f32>,
    d_beta: Vec<f32>,
    d_scale: Vec<f32>,
    dg: Vec<f32>,
    d_gamma: Vec<f32>,
    dh: Vec<f32>,
}

fn run(isa: Isa, case: &Case, gelu: bool) -> Output {
    let s = &case.shape;
    let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
    let [h, gamma, beta, g, v] =
        [&case.h, &case.gamma, &case.beta, &case.g, &case.v].map(|v| single(v));
    let [y, mean, rstd] = forward_on(isa, s, &h, &gamma, &beta, gelu);
    let saved = Saved { h: &h, gamma: &gamma, mean: &mean, rstd: &rstd };
    let [adjoint, d_scale, d_beta] = adjoint_on(isa, s, saved, &g, gelu);
    let [dg, d_gamma, dh] = adjoint_reverse_on(isa, s, saved, &g, &v, gelu);
    Output { y, mean, rstd, adjoint, d_beta, d_scale, dg, d_gamma, dh }
}

/// Asserts that the values agree to `tolerance` of the largest of them.
fn close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(0.0f64, |size, v| size.max(v.abs())).max(1.0);
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs() / size;
        assert!(error <= tolerance, "{name}[{i}] is {got}, not {want}: {error:e} of {size}");
    }
}

fn check(case: &Case, gelu: bool) {
    for isa in Isa::available() {
        let name = |what: &str| format!("{isa}, gelu {gelu}, {:?}: {what}", case.shape);
        let got = run(isa, case, gelu);
        let stats = case.stats();
        let [scale, shift] = case.affine();
        let reverse = case.reverse();
        close(&name("mean"), &got.mean, &stats.iter().map(|s| s[0]).collect::<Vec<_>>(), 2e-7);
        close(&name("rstd"), &got.rstd, &stats.iter().map(|s| s[1]).collect::<Vec<_>>(), 3e-7);
        close(&name("y"), &got.y, &case.forward(), 1e-6);
        close(&name("adjoint"), &got.adjoint, &case.adjoint(), 2e-6);
        close(&name("scale"), &got.d_scale, &scale, 2e-6);
        close(&name("shift"), &got.d_beta, &shift, 2e-6);
        close(&name("dg"), &got.dg, &reverse.dg, 2e-6);
        close(&name("d_gamma"), &got.d_gamma, &reverse.d_gamma, 5e-6);
        close(&name("dh"), &got.dh, &reverse.dh, 5e-6);
    }
}

#[test]
fn every_instruction_set_agrees_with_the_formulas() {
    for (shape, statistics) in SHAPES.into_iter().flat_map(|shape| STATISTICS.map(|by| (shape, by)))
    {
        check(&case_by(statistics, shape, false), false);
        check(&case_by(statistics, shape, true), true);
    }
}

#[test]
fn a_constant_group_stays_finite() {
    for shape in [(2, 1, 4, 4), (1, 9, 8, 2)] {
        for gelu in [false, true] {
            let mut case = case(shape, gelu);
            case.h.fill(3.0);
            for isa in Isa::available() {
                let got = run(isa, &case, gelu);
                for (i, &y) in got.y.iter().enumerate() {
                    let channel = i / (shape.1 * shape.2) * shape.2 + i % shape.2;
                    assert!((f64::from(y) - case.beta[channel]).abs() < 1e-3, "{isa}: y = {y}");
                }
                assert!(
                    [got.adjoint, got.dg, got.d_gamma, got.dh]
                        .iter()
                        .flatten()
                        .all(|v| v.is_finite())
                );
            }
        }
    }
}

#[test]
fn a_mean_far_from_zero_keeps_the_variance() {
    let mut case = case((2, 240, 16, 2), false);
    for h in &mut case.h {
        *h = f64::from((*h * 0.01 + 100.0) as f32);
    }
    for isa in Isa::available() {
        let got = run(isa, &case, false);
        for (&got, [_, want]) in got.rstd.iter().zip(case.stats()) {
            assert!((f64::from(got) / want - 1.0).abs() < 1e-6, "{isa}: rstd {got}, not {want}");
        }
    }
}

/// Central difference of `f` in the direction `d` at `x`.
fn difference(x: &[f64], d: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> f64 {
    let step = 1e-5;
    let moved = |by: f64| x.iter().zip(d).map(|(x, d)| x + by * d).collect::<Vec<_>>();
    (f(&moved(step)) - f(&moved(-step))) / (2.0 * step)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn the_formulas_are_the_derivatives() {
    let cases = [((2, 7, 6, 2), false), ((2, 7, 6, 2), true), ((1, 30, 5, 1), true)];
    for ((shape, gelu), statistics) in
        cases.into_iter().flat_map(|case| STATISTICS.map(|by| (case, by)))
    {
        let case = case_by(statistics, shape, gelu);
        let [scale, shift] = case.affine();
        let reverse = case.reverse();
        // (what varies, the gradient claimed for it, of <v, adjoint> or of <g, forward>)
        type Set = fn(&mut Case) -> &mut Vec<f64>;
        let table: [(&str, Set, &[f64], bool); 6] = [
            ("h of forward", |case| &mut case.h, &case.adjoint(), false),
            ("gamma of forward", |case| &mut case.gamma, &scale, false),
            ("beta of forward", |case| &mut case.beta, &shift, false),
            ("g of adjoint", |case| &mut case.g, &reverse.dg, true),
            ("gamma of adjoint", |case| &mut case.gamma, &reverse.d_gamma, true),
            ("h of adjoint", |case| &mut case.h, &reverse.dh, true),
        ];
        for (name, variable, gradient, of_adjoint) in table {
            let mut at = case.clone();
            let start = variable(&mut at).clone();
            let direction = values(start.len(), 9);
            let slope = difference(&start, &direction, |x| {
                variable(&mut at).copy_from_slice(x);
                if of_adjoint { dot(&case.v, &at.adjoint()) } else { dot(&case.g, &at.forward()) }
            });
            let claimed = dot(gradient, &direction);
            let error = (slope - claimed).abs() / claimed.abs().max(1.0);
            assert!(
                error < 1e-6,
                "{shape:?}, gelu {gelu}, {name}: {slope} by differences, not {claimed}"
            );
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for shape in [(1, 5003, 16, 2), (3, 1111, 24, 3), (5, 240, 64, 8), (7, 1500, 12, 1)] {
        for gelu in [false, true] {
            let case = case(shape, gelu);
            let outputs = [1, 2, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(Isa::current(), &case, gelu))
            });
            assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2], "{shape:?}, gelu {gelu}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape_agrees_with_the_formulas(
        batch in 1usize..4, pixels in 8usize..80, groups in 1usize..5, width in 1usize..20,
        gelu: bool, by in 0usize..3,
    ) {
        check(&case_by(STATISTICS[by], (batch, pixels, groups * width, groups), gelu), gelu);
    }
}

#[test]
fn an_empty_batch_is_no_work() {
    let s = NormShape { batch: 0, pixels: 4, channels: 8, groups: 1, ..SHAPE };
    let saved = Saved { h: &[], gamma: &[], mean: &[], rstd: &[] };
    for gelu in [false, true] {
        let results = [
            forward(&s, &[], &[], &[], gelu),
            adjoint(&s, saved, &[], gelu),
            adjoint_reverse(&s, saved, &[], &[], gelu),
        ];
        assert!(results.iter().flatten().all(Vec::is_empty));
    }
}

#[test]
#[should_panic(expected = "8 channels in 3 groups")]
fn groups_that_do_not_divide_the_channels_are_refused() {
    let s = NormShape { batch: 0, pixels: 4, channels: 8, groups: 3, ..SHAPE };
    forward(&s, &[], &[], &[], false);
}

#[test]
#[should_panic(expected = "norm::adjoint: length")]
fn a_wrong_length_is_refused() {
    let s = NormShape { batch: 1, pixels: 1, channels: 1, groups: 1, ..SHAPE };
    adjoint(&s, Saved { h: &[0.0], gamma: &[0.0], mean: &[0.0], rstd: &[0.0] }, &[0.0; 2], false);
}
