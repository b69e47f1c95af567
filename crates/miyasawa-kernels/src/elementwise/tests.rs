use proptest::prelude::*;

use super::*;

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 250.0 - 2.0).collect()
}

/// The lengths cover empty, remainders of vectors, and several tasks.
const LENGTHS: [usize; 8] = [0, 1, 7, 16, 63, 1000, 16_384, 40_001];

#[test]
fn adamw_is_the_definition() {
    let options =
        AdamW { learning_rate: 0.01, betas: [0.9, 0.98], epsilon: 1e-6, weight_decay: 0.1 };
    let factor = 0.7;
    for isa in Isa::available() {
        for len in LENGTHS {
            for averaged in [false, true] {
                let mut p = values(len, 1);
                let [mut m, mut v] = [(); 2].map(|()| vec![0.0; len]);
                let mut average = values(len, 2);
                let double = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
                let (mut p64, mut average64) = (double(&p), double(&average));
                let [mut m64, mut v64] = [(); 2].map(|()| vec![0.0f64; len]);
                let [rate, epsilon, decay] =
                    [options.learning_rate, options.epsilon, options.weight_decay].map(f64::from);
                let [b1, b2] = options.betas.map(f64::from);
                for step in 1..=5 {
                    let g = values(len, 3 + step);
                    let ema = averaged.then_some(Average { values: &mut average, decay: 0.9 });
                    adamw_on(isa, &options, step as u64, factor, &mut p, &mut m, &mut v, &g, ema);
                    for i in 0..len {
                        let g = f64::from(g[i]) * f64::from(factor);
                        p64[i] *= 1.0 - rate * decay;
                        m64[i] = b1 * m64[i] + (1.0 - b1) * g;
                        v64[i] = b2 * v64[i] + (1.0 - b2) * g * g;
                        let m_hat = m64[i] / (1.0 - b1.powi(step as i32));
                        let v_hat = v64[i] / (1.0 - b2.powi(step as i32));
                        p64[i] -= rate * m_hat / (v_hat.sqrt() + epsilon);
                        average64[i] = 0.9 * average64[i] + 0.1 * p64[i];
                    }
                }
                for i in 0..len {
                    let name = format!("{isa}, value {i} of {len}");
                    assert!(
                        (f64::from(p[i]) - p64[i]).abs() < 2e-6,
                        "{name}: {} not {}",
                        p[i],
                        p64[i]
                    );
                    if averaged {
                        assert!(
                            (f64::from(average[i]) - average64[i]).abs() < 2e-6,
                            "{name}: average"
                        );
                    }
                }
            }
        }
    }
}

/// `torch.optim.AdamW([p], lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5)`, p = [1, -2,
/// 0.5], three steps with the gradients [0.3, -0.1, 2], [0.1, 0.4, -1], [-0.5, 0.2, 0]; printed
/// with 8 digits.
#[test]
fn adamw_agrees_with_pytorch() {
    let options = AdamW { learning_rate: 0.1, betas: [0.8, 0.9], epsilon: 1e-3, weight_decay: 0.5 };
    let mut p = [1.0, -2.0, 0.5];
    let [mut m, mut v] = [[0.0; 3]; 2];
    for (i, g) in [[0.3, -0.1, 2.0], [0.1, 0.4, -1.0], [-0.5, 0.2, 0.0]].iter().enumerate() {
        adamw(&options, i as u64 + 1, 1.0, &mut p, &mut m, &mut v, g, None);
    }
    for (p, want) in p.iter().zip([0.712_427_8f32, -1.751_763_3, 0.302_240_7]) {
        assert!((p - want).abs() < 3e-7, "{p}, not {want}");
    }
}

/// `torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.5, nesterov=N)` for N = False and
/// True, with the parameters and gradients of the test above.
#[test]
fn sgd_agrees_with_pytorch() {
    for (nesterov, want) in [
        (false, [0.687_2f32, -1.531_525, 0.046_187_5]),
        (true, [0.612_930_2, -1.372_692_8, -0.019_568_2]),
    ] {
        let options = Sgd {
            learning_rate: 0.1,
            momentum: 0.9,
            nesterov,
            weight_decay: 0.5,
            decoupled: false,
        };
        let mut p = [1.0, -2.0, 0.5];
        let mut velocity = [0.0; 3];
        for g in [[0.3, -0.1, 2.0], [0.1, 0.4, -1.0], [-0.5, 0.2, 0.0]] {
            sgd(&options, 1.0, &mut p, &mut velocity, &g, None);
        }
        for (p, want) in p.iter().zip(want) {
            assert!((p - want).abs() < 3e-7, "nesterov {nesterov}: {p}, not {want}");
        }
    }
}

#[test]
fn sgd_is_the_definition() {
    for isa in Isa::available() {
        for (len, nesterov, decoupled) in LENGTHS
            .into_iter()
            .flat_map(|len| [(len, false, true), (len, true, false), (len, true, true)])
        {
            let options =
                Sgd { learning_rate: 0.1, momentum: 0.9, nesterov, weight_decay: 0.05, decoupled };
            let mut p = values(len, 1);
            let mut velocity = vec![0.0; len];
            let mut average = p.clone();
            let mut want: Vec<[f64; 3]> =
                p.iter().map(|&p| [f64::from(p), 0.0, f64::from(p)]).collect();
            for step in 0..3 {
                let g = values(len, 3 + step);
                let ema = Some(Average { values: &mut average, decay: 0.5 });
                sgd_on(isa, &options, 2.0, &mut p, &mut velocity, &g, ema);
                for ([p, velocity, average], &g) in want.iter_mut().zip(&g) {
                    let mut g = 2.0 * f64::from(g);
                    if decoupled {
                        *p *= 1.0 - 0.1 * 0.05;
                    } else {
                        g += 0.05 * *p;
                    }
                    *velocity = 0.9 * *velocity + g;
                    *p -= 0.1 * if nesterov { g + 0.9 * *velocity } else { *velocity };
                    *average = 0.5 * *average + 0.5 * *p;
                }
            }
            for (i, [want, _, mean]) in want.into_iter().enumerate() {
                let name = format!("{isa}, {options:?}, value {i} of {len}");
                assert!((f64::from(p[i]) - want).abs() < 3e-6, "{name}: {} not {want}", p[i]);
                assert!((f64::from(average[i]) - mean).abs() < 3e-6, "{name}: average");
            }
        }
    }
}

#[test]
fn squares_add_up_in_double_precision() {
    for isa in Isa::available() {
        for len in LENGTHS.into_iter().chain([200_003]) {
            let g = values(len, 1);
            let want: f64 = g.iter().map(|&g| f64::from(g).powi(2)).sum();
            assert!((sum_squares_on(isa, &g) - want).abs() <= 1e-12 * want, "{isa}, {len}");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let g: Vec<f32> = values(200_003, 1).iter().map(|v| v * 1.1).collect();
    let outputs = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut p = values(g.len(), 2);
            let [mut m, mut v] = [(); 2].map(|()| vec![0.0; g.len()]);
            let mut average = p.clone();
            let ema = Some(Average { values: &mut average, decay: 0.9 });
            adamw(&AdamW::default(), 1, 1.0, &mut p, &mut m, &mut v, &g, ema);
            (sum_squares(&g).to_bits(), p, average)
        })
    });
    assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2]);
}

proptest! {
    #[test]
    fn a_chunk_at_a_time_is_the_same(len in 0usize..3000, at in 0usize..3000) {
        let at = at.min(len);
        let g = values(len, 1);
        for isa in Isa::available() {
            let run = |pieces: &[std::ops::Range<usize>]| {
                let mut p = values(len, 2);
                let [mut m, mut v] = [(); 2].map(|()| vec![0.5; len]);
                for piece in pieces.iter().cloned() {
                    let [p, m, v] = [&mut p, &mut m, &mut v].map(|s| &mut s[piece.clone()]);
                    adamw_on(isa, &AdamW::default(), 2, 0.5, p, m, v, &g[piece], None);
                }
                (p, m, v)
            };
            prop_assert!(run(&[0..len, len..len]) == run(&[0..at, at..len]));
        }
    }
}

#[test]
#[should_panic(expected = "elementwise::adamw: length of the average")]
fn a_wrong_length_is_refused() {
    let [mut p, mut m, mut v, mut average] = [[0.0; 3]; 4];
    let average = Some(Average { values: &mut average[..2], decay: 0.9 });
    adamw(&AdamW::default(), 1, 1.0, &mut p, &mut m, &mut v, &[0.0; 3], average);
}
