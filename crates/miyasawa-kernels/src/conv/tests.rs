//! One table of shapes through every instruction set and algorithm, against plain `f64` loops.

use proptest::prelude::*;

use super::*;

/// Values of a small generator, in (-1, 1).
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Calls `f(input, weight, output)` for each MAC of the definition.
fn each_product(s: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let (oh, ow, k) = (s.out_height(), s.out_width(), s.kernel);
    for n in 0..s.batch {
        for (oy, ox) in (0..oh * ow).map(|i| (i / ow, i % ow)) {
            for (ky, kx) in (0..k * k).map(|i| (i / k, i % k)) {
                let (Some(y), Some(x)) = (s.tap(oy, ky, s.height), s.tap(ox, kx, s.width)) else {
                    continue;
                };
                let input = ((n * s.height + y) * s.width + x) * s.in_channels;
                let output = ((n * oh + oy) * ow + ox) * s.out_channels;
                for o in 0..s.out_channels {
                    for i in 0..s.in_channels {
                        f(input + i, ((o * s.in_channels + i) * k + ky) * k + kx, output + o);
                    }
                }
            }
        }
    }
}

fn assert_close(what: &str, got: &[f32], want: &[f64]) {
    let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(1e-30);
    let error = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((f64::from(*a) - b).abs()));
    // Written so that NaN fails.
    assert!(error / size < 1e-5, "{what}: relative error {:e}", error / size);
}

fn shape(
    batch: usize,
    (height, width): (usize, usize),
    (i, o): (usize, usize),
    k: [usize; 3],
) -> ConvShape {
    let [kernel, stride, padding] = k;
    let operands = Operands::F32;
    ConvShape {
        batch,
        height,
        width,
        in_channels: i,
        out_channels: o,
        kernel,
        stride,
        padding,
        operands,
    }
}

/// All passes of all algorithms for a shape.
fn check(s: &ConvShape) {
    let (x, w, g) =
        (values(s.input_len(), 1), values(s.weight_len(), 2), values(s.output_len(), 3));
    let mut y64: Vec<f64> = vec![0.0; g.len()];
    let mut x64: Vec<f64> = vec![0.0; x.len()];
    let mut w64: Vec<f64> = vec![0.0; w.len()];
    // The rounding itself is tested in `round`.
    let taken = |values| rounded(Isa::Portable, s.operands, values).to_vec();
    let (x1, w1, g1) = (taken(&x), taken(&w), taken(&g));
    each_product(s, |xi, wi, yi| {
        let (x, w, g) = (f64::from(x1[xi]), f64::from(w1[wi]), f64::from(g1[yi]));
        y64[yi] += x * w;
        x64[xi] += g * w;
        w64[wi] += x * g;
    });
    let (ya, xa) = (values(g.len(), 4), values(x.len(), 5));
    let plus =
        |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + f64::from(*b)).collect::<Vec<_>>();
    for isa in Isa::available() {
        for algorithm in Algorithm::available(s) {
            if algorithm == Algorithm::Plain && isa != Isa::Portable {
                continue;
            }
            let name = |pass: &str| format!("{isa} {algorithm:?} {pass} {s:?}");
            let y = |addend| forward_with(isa, algorithm, s, &x, &w, addend);
            assert_close(&name("forward"), &y(None), &y64);
            assert_close(&name("forward + addend"), &y(Some(&ya)), &plus(&y64, &ya));
            let dx = |addend| adjoint_with(isa, algorithm, s, &g, &w, addend);
            assert_close(&name("adjoint"), &dx(None), &x64);
            assert_close(&name("adjoint + addend"), &dx(Some(&xa)), &plus(&x64, &xa));
            assert_close(&name("weight_grad"), &weight_grad_with(isa, algorithm, s, &x, &g), &w64);
        }
    }
}

#[test]
fn table_of_shapes() {
    let three = [3, 1, 1];
    for (n, size, channels, k) in [
        (1, (1, 1), (1, 1), three),
        (2, (1, 1), (5, 7), three),
        (1, (4, 4), (16, 16), three),
        (3, (8, 8), (8, 8), three),
        (2, (5, 9), (5, 3), three),
        (1, (7, 9), (24, 40), three),
        (5, (4, 4), (40, 33), three),
        (2, (12, 20), (16, 32), three),
        (1, (32, 32), (3, 16), three),
        (2, (32, 32), (3, 8), three),
        (1, (16, 16), (64, 64), three),
        (1, (13, 6), (80, 48), three),
        (4, (2, 3), (12, 80), three),
        (3, (6, 5), (8, 5), three),
        (2, (33, 10), (8, 8), three),
        (1, (70, 3), (3, 4), three),
        (3, (9, 11), (7, 16), [3, 2, 1]),
        (2, (16, 16), (16, 32), [3, 2, 1]),
        (1, (8, 8), (64, 80), [3, 2, 1]),
        (2, (5, 4), (1, 20), [3, 2, 1]),
        (3, (8, 8), (16, 32), [1, 2, 0]),
        (2, (7, 5), (9, 6), [1, 2, 0]),
        (2, (6, 6), (40, 24), [1, 1, 0]),
        (1, (3, 2), (2, 3), [1, 1, 2]),
        (2, (6, 7), (6, 17), [3, 1, 0]),
        (2, (6, 7), (17, 6), [3, 1, 2]),
        (1, (5, 5), (4, 4), [3, 1, 3]),
        (2, (9, 8), (10, 4), [3, 3, 2]),
        (1, (11, 10), (3, 5), [5, 2, 2]),
        (1, (9, 9), (20, 6), [4, 1, 1]),
    ] {
        check(&shape(n, size, channels, k));
    }
}

/// Numbers of weights and tiles that exercise each of the ways to share them out; images of one
/// pixel have a tile each.
#[test]
fn large_weights_and_many_tiles() {
    let three = [3, 1, 1];
    for (n, size, channels, k) in [
        (2, (9, 6), (160, 144), three),
        (3, (7, 8), (136, 168), [3, 2, 1]),
        (140, (1, 1), (136, 160), three),
        (131, (1, 2), (200, 192), [3, 2, 1]),
        (9, (3, 4), (208, 16), three),
        (70, (2, 1), (64, 80), three),
    ] {
        check(&shape(n, size, channels, k));
    }
}

/// Each algorithm with rounded operands: all add up the same products.
#[test]
fn rounded_operands() {
    for (n, size, channels, k) in [
        (2, (5, 9), (5, 3), [3, 1, 1]),
        (1, (4, 4), (160, 48), [3, 1, 1]),
        (1, (8, 8), (64, 80), [3, 2, 1]),
        (2, (7, 5), (9, 6), [1, 2, 0]),
    ] {
        check(&ConvShape { operands: Operands::Bf16, ..shape(n, size, channels, k) });
    }
}

/// Deep sums stay within the tolerance.
#[test]
fn precision_at_depth() {
    check(&shape(1, (8, 8), (512, 16), [3, 1, 1]));
    check(&shape(1, (8, 8), (16, 512), [3, 2, 1]));
    check(&shape(32, (8, 8), (8, 8), [3, 1, 1]));
}

#[test]
fn nothing_to_do() {
    for s in [shape(0, (4, 4), (3, 5), [3, 1, 1]), shape(2, (4, 4), (0, 5), [3, 1, 1])] {
        let (x, w, y) =
            (vec![1.0; s.input_len()], vec![1.0; s.weight_len()], vec![2.0; s.output_len()]);
        assert_eq!(forward(&s, &x, &w, None), vec![0.0; y.len()]);
        assert_eq!(forward(&s, &x, &w, Some(&y)), y);
        assert_eq!(adjoint(&s, &y, &w, Some(&x)), x);
        assert_eq!(weight_grad(&s, &x, &y), vec![0.0; w.len()]);
    }
}

#[test]
fn an_image_of_padding_alone_has_no_products() {
    for (size, channels) in [((0, 40), (512, 512)), ((0, 4), (3, 5)), ((4, 0), (3, 5))] {
        let s = shape(1, size, channels, [3, 1, 2]);
        let (w, y) = (vec![1.0; s.weight_len()], vec![2.0; s.output_len()]);
        assert!(s.input_len() == 0 && !y.is_empty());
        for isa in Isa::available() {
            for algorithm in Algorithm::available(&s) {
                assert_eq!(forward_with(isa, algorithm, &s, &[], &w, Some(&y)), y);
                assert!(adjoint_with(isa, algorithm, &s, &y, &w, None).is_empty());
                assert!(weight_grad_with(isa, algorithm, &s, &[], &y).iter().all(|v| *v == 0.0));
            }
        }
    }
}

/// 9*width is 1 more than a multiple of 2^64: one value would pass for the entire image.
#[test]
#[should_panic(expected = "too large")]
#[cfg(target_pointer_width = "64")]
fn a_shape_that_wraps_around_is_refused() {
    let s = shape(1, (9, 0x8e38_e38e_38e3_8e39), (1, 1), [1, 1, 0]);
    adjoint(&s, &[1.0], &[1.0], None);
}

#[test]
fn wrong_lengths_are_refused() {
    let s = shape(1, (4, 4), (2, 3), [3, 1, 1]);
    let (x, w) = (values(s.input_len(), 1), values(s.weight_len(), 2));
    let short = vec![0.0; s.output_len() - 1];
    let refused = |f: &dyn Fn() -> Vec<f32>| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
    };
    assert!(refused(&|| forward(&s, &x[1..], &w, None)));
    assert!(refused(&|| forward(&s, &x, &w[1..], None)));
    assert!(refused(&|| forward(&s, &x, &w, Some(&short))));
    assert!(refused(&|| adjoint(&s, &short, &w, None)));
    assert!(refused(&|| weight_grad(&s, &x, &short)));
}

/// All passes of the default algorithm, as bits.
fn all_passes(s: &ConvShape) -> Vec<u32> {
    let (x, w, g) =
        (values(s.input_len(), 1), values(s.weight_len(), 2), values(s.output_len(), 3));
    let (y, dx) = (forward(s, &x, &w, None), adjoint(s, &g, &w, Some(&x)));
    [y, dx, weight_grad(s, &x, &g)].concat().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for s in [
        shape(9, (16, 16), (16, 16), [3, 1, 1]),
        shape(1, (16, 16), (64, 64), [3, 1, 1]),
        shape(1, (4, 4), (160, 160), [3, 1, 1]),
        shape(5, (12, 20), (24, 48), [3, 2, 1]),
        shape(16, (32, 32), (3, 8), [3, 1, 1]),
        shape(7, (32, 32), (8, 8), [3, 1, 1]),
        shape(3, (16, 16), (24, 48), [1, 2, 0]),
        shape(2, (32, 32), (144, 144), [3, 1, 1]),
        shape(5, (32, 32), (16, 16), [3, 2, 1]),
    ] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all_passes(&s))
        };
        let one = with(1);
        assert!(with(2) == one && with(3) == one, "{s:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_shapes(
        n in 1usize..4, h in 1usize..14, w in 1usize..14, i in 1usize..36, o in 1usize..36,
        kernel in 1usize..4, stride in 1usize..3, padding in 0usize..3,
    ) {
        prop_assume!(h + 2 * padding >= kernel && w + 2 * padding >= kernel);
        check(&shape(n, (h, w), (i, o), [kernel, stride, padding]));
    }

    /// `<conv(x, w), g> = <x, adjoint(g, w)> = <w, weight_grad(x, g)>`
    #[test]
    fn passes_are_adjoint(
        n in 1usize..4, h in 1usize..20, w in 1usize..20, i in 1usize..40, o in 1usize..40,
        kernel in prop::sample::select(vec![1usize, 3]), stride in 1usize..3, seed in 1u64..1000,
    ) {
        let s = shape(n, (h, w), (i, o), [kernel, stride, kernel / 2]);
        let (x, w) = (values(s.input_len(), seed), values(s.weight_len(), seed + 1));
        let g = values(s.output_len(), seed + 2);
        let (y, dx) = (forward(&s, &x, &w, None), adjoint(&s, &g, &w, None));
        let dw = weight_grad(&s, &x, &g);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let norm = |a: &[f32]| dot(a, a).sqrt();
        let (yg, xd, wd) = (dot(&y, &g), dot(&x, &dx), dot(&w, &dw));
        let size = norm(&y) * norm(&g) + 1e-20;
        let equal = |other: f64| (yg - other).abs() / size < 1e-5;
        prop_assert!(equal(xd) && equal(wd), "{yg} {xd} {wd}");
    }
}
