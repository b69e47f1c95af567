//! The ranges of floating-point values that sets are made of.

use std::fmt;

use crate::range::{denormalise, from_unit};

/// The range of floating-point values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRange {
    /// From -1 (black) to 1 (white): what networks see.
    Signed,
    /// From 0 (black) to 1 (white).
    Unit,
}

impl ValueRange {
    fn signed(self, value: f32) -> f32 {
        match self {
            Self::Signed => value,
            Self::Unit => from_unit(value),
        }
    }

    /// Whether a value is one of the range, or at most half a level of 8 bits outside.
    pub(super) fn holds(self, value: f32) -> bool {
        // NaN compares with nothing.
        self.signed(value).abs() <= 1.0 + 0.5 / 127.5
    }

    /// The nearest of the 256 levels.
    pub(super) fn level(self, value: f32) -> u8 {
        denormalise(self.signed(value))
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signed => "[-1, 1]",
            Self::Unit => "[0, 1]",
        })
    }
}
