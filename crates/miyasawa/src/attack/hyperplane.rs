//! The nearest point of a hyperplane inside [0, 1]^d.

use super::Norm;

/// The nearest point to `x` (itself in [0, 1]) with `<w, z> = c` and all values in [0, 1], in the
/// given norm; where the plane misses the cube, the corner that comes closest to it (Croce & Hein
/// 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack", section 2
/// and appendix A).
///
/// Every value moves against the sign of its weight until it reaches the end of the range: by
/// `t*|w_i|` in L2, by `t` in Linf. The decrease of `<w, z>` is piecewise linear and increasing in
/// `t`, so one pass over the sorted breakpoints finds `t`.
pub(super) fn project(norm: Norm, x: &[f32], w: &[f32], c: f64) -> Vec<f32> {
    let mut excess = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>() - c;
    let sign = if excess < 0.0 { -1.0 } else { 1.0 };
    excess *= sign;
    let weight = |i: usize| sign * f64::from(w[i]);
    let speed = |i: usize| match norm {
        Norm::L2 => weight(i).abs(),
        Norm::Linf => 1.0,
    };
    // How far a value can go: down to 0 where the weight is positive, up to 1 where it is negative.
    let room = |i: usize| if weight(i) > 0.0 { f64::from(x[i]) } else { 1.0 - f64::from(x[i]) };
    // The `t` at which a value reaches the end of the range, and the slope that is lost there.
    let ends: Vec<(f64, f64)> = (0..x.len())
        .filter(|i| weight(*i) != 0.0)
        .map(|i| (room(i).max(0.0) / speed(i), speed(i) * weight(i).abs()))
        .collect();
    let last = ends.iter().fold(0.0, |last: f64, (end, _)| last.max(*end));
    let mut slope: f64 = ends.iter().map(|(_, slower)| slower).sum();
    // Few values reach the end of the range before the plane is reached: only those are sorted.
    // `t` is at most `bound`.
    let loss = |t: f64| ends.iter().map(|(end, slower)| slower * end.min(t)).sum::<f64>();
    let mut bound = (excess / slope).max(f64::MIN_POSITIVE);
    while bound < last && loss(bound) < excess {
        bound *= 2.0;
    }
    let mut order: Vec<(f64, f64)> =
        ends.iter().copied().filter(|(end, _)| *end <= bound).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut t, mut lost) = (0.0, 0.0);
    for (end, slower) in order {
        let here = lost + slope * (end - t);
        if here >= excess {
            break;
        }
        (t, lost) = (end, here);
        slope -= slower;
    }
    // Beyond the last breakpoint nothing moves any more.
    t = if t >= last || slope <= 0.0 { last } else { (t + (excess - lost) / slope).min(last) };
    (0..x.len())
        .map(|i| {
            let w = weight(i);
            if w == 0.0 {
                return x[i];
            }
            (f64::from(x[i]) - w.signum() * (t * speed(i)).min(room(i).max(0.0))) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn planes_that_can_be_reached_by_hand() {
        let l2 = project(Norm::L2, &[0.5, 0.5], &[3.0, 4.0], 1.0);
        assert!((dot(&l2, &[3.0, 4.0]) - 1.0).abs() < 1e-6 && (l2[0] - 0.2).abs() < 1e-6, "{l2:?}");
        let linf = project(Norm::Linf, &[0.5, 0.5], &[3.0, -4.0], 2.0);
        assert!(
            (linf[0] - 0.857_142_9).abs() < 1e-6 && (linf[1] - 0.142_857_1).abs() < 1e-6,
            "{linf:?}"
        );
        assert_eq!(project(Norm::L2, &[0.5, 0.5], &[1.0, -1.0], 9.0), [1.0, 0.0]);
        assert_eq!(project(Norm::L2, &[0.5], &[0.0], 9.0), [0.5]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// The point is on the plane, in the cube, and no feasible point is nearer.
        #[test]
        fn nothing_on_the_plane_is_nearer(
            values in prop::collection::vec((0f32..1.0, -2f32..2.0, 0f32..1.0), 1..40),
            l2 in any::<bool>(),
        ) {
            let norm = if l2 { Norm::L2 } else { Norm::Linf };
            let x: Vec<f32> = values.iter().map(|v| v.0).collect();
            let w: Vec<f32> = values.iter().map(|v| v.1).collect();
            // A plane through a point of the cube.
            let other: Vec<f32> = values.iter().map(|v| v.2).collect();
            let c = dot(&w, &other);
            let z = project(norm, &x, &w, c);
            prop_assert!(z.iter().all(|z| (-1e-6..=1.0 + 1e-6).contains(z)));
            prop_assert!((dot(&w, &z) - c).abs() < 1e-4, "{} {c}", dot(&w, &z));
            prop_assert!(norm.distance(&z, &x) <= norm.distance(&other, &x) + 1e-4);
        }
    }
}
