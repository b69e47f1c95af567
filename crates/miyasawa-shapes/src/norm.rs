//! The shape of a group normalisation and the statistics that it normalises by.

/// Added to the variance; PyTorch's default.
pub const EPSILON: f32 = 1e-5;

/// The statistics by which activations are normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistics {
    /// The mean and the variance of each image's group: group normalisation.
    Group {
        /// Added to the variance: an image whose spread is smaller is hardly amplified.
        epsilon: f32,
    },
    /// Mean 0 and deviation 1 whatever the image: a scale and a shift for every channel. An output
    /// then depends on its neighbourhood alone, and `A(q) = q`.
    Fixed,
}

impl Default for Statistics {
    fn default() -> Self {
        Self::Group { epsilon: EPSILON }
    }
}

/// The shape of the slices: activations `[batch, pixels, channels]`, `gamma`, `beta` and their
/// gradients `[batch, channels]`, statistics `[batch, groups]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormShape {
    /// Images.
    pub batch: usize,
    /// Height times width.
    pub pixels: usize,
    /// Channels, a multiple of `groups`.
    pub channels: usize,
    /// Groups that are normalised together.
    pub groups: usize,
    /// The statistics to normalise by.
    pub statistics: Statistics,
}

impl NormShape {
    /// Values of an image.
    pub fn image_len(&self) -> usize {
        self.pixels * self.channels
    }

    /// Checks the lengths of slices of the operation `name`: activations, values per image and
    /// channel, statistics per image and group.
    ///
    /// # Panics
    /// If one differs from what the shape says, the groups do not divide the channels, or there are
    /// no pixels.
    pub fn check(
        &self,
        name: &str,
        activations: &[&[f32]],
        per_channel: &[&[f32]],
        statistics: &[&[f32]],
    ) {
        assert!(
            self.groups > 0 && self.channels > 0 && self.channels.is_multiple_of(self.groups),
            "{name}: {} channels in {} groups",
            self.channels,
            self.groups
        );
        assert!(self.pixels > 0, "{name}: no pixels");
        for (slices, expected) in [
            (activations, self.batch * self.image_len()),
            (per_channel, self.batch * self.channels),
            (statistics, self.batch * self.groups),
        ] {
            for slice in slices {
                assert_eq!(slice.len(), expected, "{name}: length of a slice for {self:?}");
            }
        }
    }
}
