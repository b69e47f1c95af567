//! The parts of a data set.

use std::fmt;

/// A part of a data set.
///
/// ```
/// use miyasawa::data::Part;
///
/// assert_eq!([Part::Train, Part::Test].map(|part| part.to_string()), ["train", "test"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What networks are trained on.
    Train,
    /// What they are evaluated on.
    Test,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}
