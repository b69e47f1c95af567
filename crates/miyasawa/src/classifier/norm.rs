use serde::{Deserialize, Serialize};

/// The norm that measures the size of a change of an image.
///
/// ```
/// use miyasawa::prelude::*;
/// assert_eq!((Norm::L2.length(&[3.0, -4.0]), Norm::Linf.length(&[3.0, -4.0])), (5.0, 4.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The Euclidean norm over all values of the image.
    L2,
    /// The largest change of a value.
    Linf,
}

impl std::fmt::Display for Norm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::Linf => "linf",
        })
    }
}

impl Norm {
    /// The length of `v`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Norm::L2.length(&[3.0, -4.0]), 5.0);
    /// ```
    pub fn length(self, v: &[f32]) -> f64 {
        match self {
            Self::L2 => v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt(),
            Self::Linf => v.iter().fold(0.0, |largest, v| largest.max(f64::from(v.abs()))),
        }
    }

    /// The length of `a - b`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Norm::Linf.distance(&[0.5, 1.0], &[0.25, 0.25]), 0.75);
    /// ```
    ///
    /// # Panics
    /// If the lengths of the slices differ.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len(), "images of different sizes");
        let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        match self {
            Self::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
            Self::Linf => differences.fold(0.0, f64::max),
        }
    }

    /// The direction of length 1 in which `<g, direction>` is largest: `g/|g|`, or the signs of
    /// `g`. Zero where `g` is zero or NaN, and zero everywhere if the length of `g` is not finite.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Norm::L2.steepest(&[3.0, -4.0]), [0.6, -0.8]);
    /// assert_eq!(Norm::Linf.steepest(&[3.0, -4.0]), [1.0, -1.0]);
    /// ```
    pub fn steepest(self, g: &[f32]) -> Vec<f32> {
        match self {
            Self::L2 => {
                let length = self.length(g);
                if !(length > 0.0 && length.is_finite()) {
                    return vec![0.0; g.len()];
                }
                let scale = 1.0 / length;
                g.iter().map(|g| (f64::from(*g) * scale) as f32).collect()
            }
            Self::Linf => g.iter().map(|g| if g.abs() > 0.0 { g.signum() } else { 0.0 }).collect(),
        }
    }

    /// Projects `x` onto the ball of radius `eps` around `centre`, then clips it to [0, 1], which
    /// does not leave the ball because the centre lies in [0, 1].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let mut x = [0.9, 0.1];
    /// Norm::Linf.confine(&mut x, &[0.5, 0.5], 0.25);
    /// assert_eq!(x, [0.75, 0.25]);
    /// ```
    pub fn confine(self, x: &mut [f32], centre: &[f32], eps: f64) {
        match self {
            Self::L2 => {
                let length = self.distance(x, centre);
                let shrink = if length > eps { (eps / length) as f32 } else { 1.0 };
                for (x, c) in x.iter_mut().zip(centre) {
                    *x = (c + (*x - c) * shrink).clamp(0.0, 1.0);
                }
            }
            Self::Linf => {
                let eps = eps as f32;
                for (x, c) in x.iter_mut().zip(centre) {
                    *x = x.clamp(c - eps, c + eps).clamp(0.0, 1.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_directions_are_those_of_the_norm() {
        let v = [3.0, 0.0, -4.0];
        assert_eq!((Norm::L2.length(&v), Norm::Linf.length(&v)), (5.0, 4.0));
        assert_eq!(Norm::L2.steepest(&v), [0.6, 0.0, -0.8]);
        assert_eq!(Norm::Linf.steepest(&v), [1.0, 0.0, -1.0]);
        assert_eq!(Norm::L2.steepest(&[0.0; 2]), [0.0; 2]);
        for norm in [Norm::L2, Norm::Linf] {
            let direction = norm.steepest(&[f32::NAN, f32::INFINITY, -1.0]);
            assert!(
                direction.iter().all(|v| v.is_finite()) && direction[0] == 0.0,
                "{norm}: {direction:?}"
            );
        }
    }

    #[test]
    fn confined_points_lie_in_the_ball_and_the_range() {
        let centre = [0.1f32, 0.9, 0.5];
        for norm in [Norm::L2, Norm::Linf] {
            for eps in [0.0, 0.3, 5.0] {
                let mut x = [-3.0f32, 7.0, 0.6];
                norm.confine(&mut x, &centre, eps);
                assert!(x.iter().all(|x| (0.0..=1.0).contains(x)));
                assert!(norm.distance(&x, &centre) <= eps + 1e-6, "{norm} {eps}");
            }
            let mut inside = [0.15f32, 0.85, 0.5];
            norm.confine(&mut inside, &centre, 0.1);
            assert_eq!(inside, [0.15, 0.85, 0.5]);
        }
    }
}
