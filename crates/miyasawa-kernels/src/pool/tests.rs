use proptest::prelude::*;

use super::*;

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 250.0 - 2.0).collect()
}

fn check(batch: usize, pixels: usize, channels: usize) {
    let x = values(batch * pixels * channels, 1);
    let g = values(batch * channels, 2);
    let mut mean = vec![0.0f64; batch * channels];
    for (i, &x) in x.iter().enumerate() {
        mean[i / (pixels * channels) * channels + i % channels] += f64::from(x) / pixels as f64;
    }
    for isa in Isa::available() {
        let name = format!("{isa}, {batch} images of {pixels} pixels and {channels} channels");
        let y = forward_on(isa, batch, pixels, channels, &x);
        for (y, mean) in y.iter().zip(&mean) {
            assert!((f64::from(*y) - mean).abs() < 5e-7, "{name}: {y}, not {mean}");
        }
        for addend in [None, Some(&x[..])] {
            let out = adjoint_on(isa, batch, pixels, channels, &g, addend);
            for (i, out) in out.into_iter().enumerate() {
                let spread = g[i / (pixels * channels) * channels + i % channels] / pixels as f32;
                let want = addend.map_or(spread, |a| a[i] + spread);
                assert!(
                    (out - want).abs() <= 5e-7,
                    "{name}, addend {}: {out}, not {want}",
                    addend.is_some()
                );
            }
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_the_definition() {
    for batch in [0, 1, 5] {
        for pixels in [1, 3, 63, 240, 1500] {
            for channels in [1, 5, 8, 12, 16, 24, 37, 64] {
                check(batch, pixels, channels);
            }
        }
    }
    check(1, 20_000, 3);
    check(1, 40, 1031);
}

#[test]
fn threads_do_not_change_a_bit() {
    for (batch, pixels, channels) in [(1, 20_000, 5), (3, 2000, 24), (9, 700, 64)] {
        let x = values(batch * pixels * channels, 3);
        let g = values(batch * channels, 4);
        let outputs = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (
                    forward(batch, pixels, channels, &x),
                    adjoint(batch, pixels, channels, &g, Some(&x)),
                )
            })
        });
        assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2]);
    }
}

proptest! {
    #[test]
    fn any_shape_agrees_with_the_definition(
        batch in 0usize..4, pixels in 1usize..300, channels in 1usize..80,
    ) {
        check(batch, pixels, channels);
    }
}

#[test]
#[should_panic(expected = "pool::adjoint: length of addend")]
fn a_wrong_length_is_refused() {
    adjoint(1, 2, 1, &[0.0], Some(&[0.0]));
}
