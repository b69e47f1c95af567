//! Attack sizes that are too large to measure robustness.

use super::Norm;

impl Norm {
    /// The largest distance between two images of `values` values in [0, 1].
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!((Norm::L2.diameter(16), Norm::Linf.diameter(16)), (4.0, 1.0));
    /// ```
    pub fn diameter(self, values: usize) -> f64 {
        match self {
            Self::L2 => (values as f64).sqrt(),
            Self::Linf => 1.0,
        }
    }

    /// A warning for sizes that can turn every image into plain grey, where no classifier is
    /// correct; `None` if no size is that large.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Norm::L2.too_large(&[0.5], 3072), None);
    /// assert!(Norm::Linf.too_large(&[8.0], 3072).is_some_and(|text| text.contains("8/255")));
    /// ```
    pub fn too_large(self, eps: &[f64], values: usize) -> Option<String> {
        // Plain grey is at most half the diameter away from every image.
        let radius = 0.5 * self.diameter(values);
        let large: Vec<String> =
            eps.iter().filter(|eps| **eps >= radius).map(f64::to_string).collect();
        (!large.is_empty()).then(|| {
            format!(
                "eps {}: a change of {radius:.3} in {self} turns any image into plain grey, so \
                 that no model is robust to it; sizes are in units of the [0, 1] range: 8 of 255 \
                 is 8/255",
                large.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_turns_any_image_grey_is_too_large() {
        assert_eq!(Norm::Linf.too_large(&[0.0, 8.0 / 255.0, 0.4], 3072), None);
        let said = Norm::Linf.too_large(&[0.1, 0.5, 8.0], 3072).unwrap();
        assert!(
            said.contains("eps 0.5, 8: a change of 0.500 in linf") && said.contains("8/255"),
            "{said}"
        );
        assert_eq!(Norm::L2.too_large(&[1.0, 27.0], 3072), None);
        assert!(Norm::L2.too_large(&[28.0], 3072).unwrap().contains("27.713 in l2"));
    }
}
