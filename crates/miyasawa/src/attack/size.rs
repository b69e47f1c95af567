//! Sizes of attacks that say nothing of a model.

use super::Norm;

impl Norm {
    /// The length of the longest change between images of so many values in [0, 1].
    pub fn diameter(self, values: usize) -> f64 {
        match self {
            Self::L2 => (values as f64).sqrt(),
            Self::Linf => 1.0,
        }
    }

    /// Says of sizes that are so large that every image can be made plain grey: there no classifier is right.
    pub fn too_large(self, eps: &[f64], values: usize) -> Option<String> {
        // Plain grey is the middle of all images.
        let radius = 0.5 * self.diameter(values);
        let large: Vec<String> = eps.iter().filter(|eps| **eps >= radius).map(f64::to_string).collect();
        (!large.is_empty()).then(|| {
            format!(
                "eps {}: a change of {radius:.3} in {self} makes plain grey of any image, so that no model withstands it; \
                 sizes are in units of the [0, 1] range: 8 of 255 is 8/255",
                large.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_grey_of_any_image_is_too_large() {
        assert_eq!(Norm::Linf.too_large(&[0.0, 8.0 / 255.0, 0.4], 3072), None);
        let said = Norm::Linf.too_large(&[0.1, 0.5, 8.0], 3072).unwrap();
        assert!(said.contains("eps 0.5, 8: a change of 0.500 in linf") && said.contains("8/255"), "{said}");
        assert_eq!(Norm::L2.too_large(&[1.0, 27.0], 3072), None);
        assert!(Norm::L2.too_large(&[28.0], 3072).unwrap().contains("27.713 in l2"));
    }
}
