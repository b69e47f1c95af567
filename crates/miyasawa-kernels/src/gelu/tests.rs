use std::f64::consts::{FRAC_1_SQRT_2, PI};

use proptest::prelude::*;

use super::*;

/// `exp(a^2)*erfc(a)` for `a >= 0`: the power series of `erf` for small `a`, the continued fraction
/// of Laplace beyond; both converge to double precision.
fn erfcx(a: f64) -> f64 {
    if a < 2.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..100 {
            term *= 2.0 * a * a / f64::from(2 * n + 1);
            sum += term;
        }
        (a * a).exp() - 2.0 / PI.sqrt() * sum
    } else {
        let fraction = (1..200).rev().fold(0.0, |tail, n| f64::from(n) / 2.0 / (a + tail));
        1.0 / ((a + fraction) * PI.sqrt())
    }
}

/// `Phi(h)` and `phi(h)`.
fn normal(h: f64) -> (f64, f64) {
    let e = (-0.5 * h * h).exp();
    let tail = 0.5 * e * erfcx(h.abs() * FRAC_1_SQRT_2);
    (if h > 0.0 { 1.0 - tail } else { tail }, e / (2.0 * PI).sqrt())
}

fn gelu(h: f64) -> f64 {
    h * normal(h).0
}

fn slope(h: f64) -> f64 {
    let (cdf, pdf) = normal(h);
    cdf + h * pdf
}

fn curvature(h: f64) -> f64 {
    normal(h).1 * (2.0 - h * h)
}

/// `gelu`, `gelu'` and `gelu''` through the public functions.
fn all_derivatives(isa: Isa, h: &[f32]) -> [Vec<f32>; 3] {
    let ones = vec![1.0; h.len()];
    let (y, slope) = (forward_on(isa, h), adjoint_on(isa, h, &ones));
    let [dg, dh] = adjoint_reverse_on(isa, h, &ones, &ones);
    for (a, b) in slope.iter().zip(&dg) {
        assert_eq!(a.to_bits(), b.to_bits(), "{isa}: both adjoints take the same slope");
    }
    [y, slope, dh]
}

#[test]
fn reference_agrees_with_scipy() {
    // scipy.stats.norm.cdf and scipy.stats.norm.pdf
    for (h, cdf, pdf) in [
        (-12.0, 1.776_482_112_077_678_7e-33, 2.146_383_735_663_060_3e-32),
        (-3.0, 1.349_898_031_630_095_3e-3, 4.431_848_411_938_007_5e-3),
        (-0.5, 0.308_537_538_725_986_9, 0.352_065_326_764_299_5),
        (0.0, 0.5, 0.398_942_280_401_432_7),
        (2.5, 0.993_790_334_674_223_8, 1.752_830_049_356_853_7e-2),
    ] {
        let (c, p) = normal(h);
        assert!((c / cdf - 1.0).abs() < 1e-12, "Phi({h}) = {c}");
        assert!((p / pdf - 1.0).abs() < 1e-12, "phi({h}) = {p}");
        let step = 1e-4;
        let difference = (gelu(h + step) - gelu(h - step)) / (2.0 * step);
        assert!((difference - slope(h)).abs() < 1e-8, "gelu'({h})");
        let difference = (slope(h + step) - slope(h - step)) / (2.0 * step);
        assert!((difference - curvature(h)).abs() < 1e-8, "gelu''({h})");
    }
}

#[test]
fn every_instruction_set_is_accurate_everywhere() {
    let h: Vec<f32> = (-140_000..=140_000).map(|i| i as f32 * 1e-4).collect();
    for isa in Isa::available() {
        let [y, s, c] = all_derivatives(isa, &h);
        for (i, &point) in h.iter().enumerate() {
            let x = f64::from(point);
            let (cdf, _) = normal(x);
            let error = |got: f32, want: f64| (f64::from(got) - want).abs();
            // Below -12 the value nears the smallest normal number.
            let tail = if x > -12.0 && x < 0.0 { 6e-6 * cdf * -x } else { f64::MAX };
            let bound = (1e-7 * x.abs()).min(tail).max(1e-33);
            assert!(error(y[i], gelu(x)) <= bound, "{isa}: gelu({x}) = {} not {}", y[i], gelu(x));
            assert!(error(s[i], slope(x)) <= 2e-7, "{isa}: gelu'({x}) = {} not {}", s[i], slope(x));
            assert!(
                error(c[i], curvature(x)) <= 3e-7,
                "{isa}: gelu''({x}) = {} not {}",
                c[i],
                curvature(x)
            );
        }
    }
}

#[test]
fn special_values_have_their_limits() {
    let inf = f32::INFINITY;
    let cases = [
        (inf, inf, 1.0),
        (-inf, 0.0, 0.0),
        (f32::MAX, f32::MAX, 1.0),
        (f32::MIN, 0.0, 0.0),
        (1e20, 1e20, 1.0),
        (-1e20, 0.0, 0.0),
        (30.0, 30.0, 1.0),
        (-30.0, 0.0, 0.0),
        (13.25, 13.25, 1.0),
        (-13.25, 0.0, 0.0),
        (0.0, 0.0, 0.5),
        (-0.0, 0.0, 0.5),
    ];
    let h: Vec<f32> = cases.iter().map(|case| case.0).collect();
    for isa in Isa::available() {
        let [y, s, c] = all_derivatives(isa, &h);
        for (i, (h, value, slope)) in cases.into_iter().enumerate() {
            assert_eq!((y[i], s[i]), (value, slope), "{isa}: gelu and gelu' at {h}");
            let curvature = if h == 0.0 { 0.797_884_6 } else { 0.0 };
            assert!((c[i] - curvature).abs() < 1e-7, "{isa}: gelu'' at {h} is {}", c[i]);
        }
        // Both a lane of a full vector and one of the remainder.
        for at in [3, 64] {
            let mut h = vec![1.0; 65];
            h[at] = f32::NAN;
            for values in all_derivatives(isa, &h) {
                for (i, value) in values.iter().enumerate() {
                    assert_eq!(value.is_nan(), i == at, "{isa}: NaN at {at}, value {i}");
                }
            }
        }
    }
}

#[test]
fn the_smallest_values_stay_linear() {
    for isa in Isa::available() {
        let h = [1e-30, -1e-30, 1e-10, -1e-10];
        let [y, ..] = all_derivatives(isa, &h);
        for (h, y) in h.into_iter().zip(y) {
            assert!((y / h - 0.5).abs() < 1e-6, "{isa}: gelu({h}) = {y}");
        }
    }
}

proptest! {
    #[test]
    fn results_do_not_depend_on_the_position_or_the_length(
        h in prop::collection::vec(-20.0f32..20.0, 0..200),
        offset in 0usize..70_000,
    ) {
        for isa in Isa::available() {
            let mut long = vec![0.5; offset];
            long.extend_from_slice(&h);
            let (short, long) = (all_derivatives(isa, &h), all_derivatives(isa, &long));
            for (short, long) in short.iter().zip(&long) {
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(short), bits(&long[offset..]));
            }
        }
    }

    #[test]
    fn adjoints_scale_the_derivatives(
        values in prop::collection::vec((-6.0f32..6.0, -3.0f32..3.0, -3.0f32..3.0), 1..50),
    ) {
        let h: Vec<f32> = values.iter().map(|v| v.0).collect();
        let g: Vec<f32> = values.iter().map(|v| v.1).collect();
        let v: Vec<f32> = values.iter().map(|v| v.2).collect();
        for isa in Isa::available() {
            let y = adjoint_on(isa, &h, &g);
            let [dg, dh] = adjoint_reverse_on(isa, &h, &g, &v);
            for i in 0..h.len() {
                let [h, g, v] = [h[i], g[i], v[i]].map(f64::from);
                prop_assert!((f64::from(y[i]) - g * slope(h)).abs() < 1e-6);
                prop_assert!((f64::from(dg[i]) - v * slope(h)).abs() < 1e-6);
                prop_assert!((f64::from(dh[i]) - v * g * curvature(h)).abs() < 3e-6);
            }
        }
    }
}

#[test]
#[should_panic(expected = "gelu::adjoint_reverse: length of v")]
fn a_wrong_length_is_refused() {
    adjoint_reverse(&[0.0; 4], &[0.0; 4], &[0.0; 3]);
}
