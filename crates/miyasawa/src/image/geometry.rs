//! Channels and size of an image: the one form in which data sets and checkpoints give them.

use std::fmt;

/// Channels, height and width of an image, in this order everywhere.
///
/// ```
/// use miyasawa::image::Geometry;
///
/// let cifar = Geometry::new(3, 32, 32);
/// assert_eq!((cifar.values(), cifar.size()), (3072, (32, 32)));
/// assert_eq!(cifar.to_string(), "3x32x32");
/// assert_eq!(<[usize; 3]>::from(cifar), [3, 32, 32]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Geometry {
    /// From channels, height and width.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Geometry::new(3, 32, 24).width, 24);
    /// ```
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Height and width.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Geometry::new(3, 32, 24).size(), (32, 24));
    /// ```
    pub const fn size(self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Numbers in an image: `channels * height * width`, at most `usize::MAX`.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// assert_eq!(Geometry::new(3, 32, 24).values(), 2304);
    /// ```
    pub const fn values(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

impl From<(usize, usize, usize)> for Geometry {
    fn from((channels, height, width): (usize, usize, usize)) -> Self {
        Self { channels, height, width }
    }
}

impl From<[usize; 3]> for Geometry {
    fn from([channels, height, width]: [usize; 3]) -> Self {
        Self { channels, height, width }
    }
}

impl From<Geometry> for (usize, usize, usize) {
    fn from(of: Geometry) -> Self {
        (of.channels, of.height, of.width)
    }
}

impl From<Geometry> for [usize; 3] {
    fn from(of: Geometry) -> Self {
        [of.channels, of.height, of.width]
    }
}
