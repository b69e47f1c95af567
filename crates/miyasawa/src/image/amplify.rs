//! Faint signed differences made visible.

use super::Image;

/// The share of the values that an amplified difference may clip.
const CLIPPED_AT_MOST: f64 = 0.02;

impl Image {
    /// Divides the image by its largest absolute value, so that a faint signed difference becomes
    /// visible (0 is grey), and returns that value too. An image of zeros, or with values that are
    /// not finite, is unchanged, with 1.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let (image, peak) = Image::new((1, 1, 2), vec![0.25, -0.5])?.amplified();
    /// assert_eq!((image.values(), peak), (&[0.5, -1.0][..], 0.5));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn amplified(&self) -> (Self, f32) {
        let peak = self.values.iter().fold(0.0f32, |peak, value| peak.max(value.abs()));
        let peak = if peak > 0.0 && self.values.iter().all(|v| v.is_finite()) { peak } else { 1.0 };
        let values = self.values.iter().map(|value| value / peak).collect();
        (Self { values, ..*self }, peak)
    }

    /// Multiplies a faint signed difference (0 is grey) by the largest number of 1, 2, 3, 5, 10,
    /// 20, 30, 50, .. 1000 at which at most a fiftieth of its values leave the range, and returns
    /// that number too: a round one, so that images of one factor can be compared. 1 for zeros.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let (image, factor) = Image::new((1, 1, 2), vec![0.03125, 0.0])?.amplified_evenly();
    /// assert_eq!((image.values(), factor), (&[0.9375, 0.0][..], 30));
    /// # Ok::<(), miyasawa::image::ImageError>(())
    /// ```
    pub fn amplified_evenly(&self) -> (Self, u32) {
        const FACTORS: [u32; 13] = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000];
        let most = (CLIPPED_AT_MOST * self.values.len() as f64) as usize;
        let fits = |factor: &&u32| {
            let limit = 1.0 / **factor as f32;
            self.values.iter().filter(|value| value.abs() > limit).count() <= most
        };
        let zeros = self.values.iter().all(|value| *value == 0.0);
        let factor = if zeros { 1 } else { *FACTORS.iter().rev().find(fits).unwrap_or(&1) };
        let values = self.values.iter().map(|value| factor as f32 * value).collect();
        (Self { values, ..*self }, factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_round_and_clip_hardly_anything() {
        let of = |values: Vec<f32>| Image::new((1, 1, values.len()), values).unwrap();
        let factor = |values| of(values).amplified_evenly().1;
        assert_eq!([factor(vec![1e-9; 4]), factor(vec![0.0; 4])], [1000, 1]);
        assert_eq!([factor(vec![0.3, -0.3]), factor(vec![0.51, 2.0])], [3, 1]);
        // One of fifty may be clipped, two may not.
        let mut values = vec![0.09; 50];
        values[7] = -0.9;
        assert_eq!(factor(values.clone()), 10);
        values[8] = 0.9;
        assert_eq!(factor(values), 1);
    }
}
