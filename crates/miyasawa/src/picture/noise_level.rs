//! How noisy a picture is, told from the picture alone.

use super::Picture;

/// The median of the absolute value of a standard normal number.
const MEDIAN: f64 = 0.674_489_750_196_081_7;
/// Values this close to the ends of the range may have been clipped there, which hides noise.
const CLIPPED: f32 = 0.99;

/// All squares of two by two values of a plane with rows of `width`.
fn squares(plane: &[f32], width: usize) -> impl Iterator<Item = [f32; 4]> {
    let rows = plane.chunks_exact(width).zip(plane.chunks_exact(width).skip(1));
    rows.flat_map(|(upper, lower)| upper.windows(2).zip(lower.windows(2)))
        .map(|(a, b)| [a[0], a[1], b[0], b[1]])
}

impl Picture {
    /// The standard deviation of white noise in the picture, in units of the [-1, 1] range: the median of
    /// `|x00 - x01 - x10 + x11|/2` over all squares of two by two pixels, divided by that of a standard normal number
    /// (the finest diagonal Haar coefficients; Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage").
    /// Squares with clipped values are passed over where enough others are left. What the picture itself changes from
    /// pixel to pixel counts as noise: of a clean picture full of texture the estimate is too large. 0 for a picture
    /// without such a square.
    pub fn noise_level(&self) -> f64 {
        let plane = (self.height() * self.width(), self.width());
        let all = || self.values().chunks_exact(plane.0).flat_map(move |values| squares(values, plane.1));
        let whole = |square: &[f32; 4]| square.iter().all(|value| value.abs() < CLIPPED);
        // Counted first, so that a large picture's squares are never held.
        let (count, kept) =
            all().fold((0, 0), |(n, kept), square| (n + 1, kept + usize::from(whole(&square))));
        let enough = 8 * kept > count;
        let mut details = Vec::with_capacity(if enough { kept } else { count });
        let used = all().filter(|square| !enough || whole(square));
        details.extend(used.map(|[a, b, c, d]| 0.5 * (a - b - c + d).abs()));
        if details.is_empty() {
            return 0.0;
        }
        let middle = details.len() / 2;
        let (_, median, _) = details.select_nth_unstable_by(middle, f32::total_cmp);
        f64::from(*median) / MEDIAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::evaluation_noise;

    #[test]
    fn the_noise_that_was_added_is_found() {
        let (height, width) = (48, 41);
        // Two slopes and an edge.
        let clean = |y: usize, x: usize| {
            (y as f32 - 20.0) * 0.02 + (x as f32 - 20.0) * 0.01 + if x > y { 0.1 } else { -0.1 }
        };
        for channels in [1, 3] {
            for sigma in [0.02f32, 0.1, 0.3] {
                let eps = evaluation_noise(1, 0, 0, 1, channels * height * width);
                let at = |i: usize| clean(i / width % height, i % width) + sigma * eps[i];
                let values = (0..channels * height * width).map(at).collect();
                let picture = Picture::new((channels, height, width), values).unwrap();
                let found = picture.noise_level();
                assert!(
                    (found / f64::from(sigma) - 1.0).abs() < 0.1,
                    "{channels} channels, {sigma}: {found}"
                );
            }
        }
    }

    #[test]
    fn small_flat_and_clipped_pictures_have_an_answer() {
        let of = |shape, values: Vec<f32>| Picture::new(shape, values).unwrap().noise_level();
        assert_eq!(of((1, 1, 1), vec![0.3]), 0.0);
        assert_eq!(of((3, 1, 5), vec![0.3; 15]), 0.0);
        assert_eq!(of((1, 4, 4), vec![0.3; 16]), 0.0);
        assert_eq!(of((1, 2, 2), vec![1.0, -1.0, -1.0, 1.0]), 2.0 / MEDIAN);
        assert!(of((1, 2, 2), vec![f32::NAN; 4]).is_nan());
    }
}
