//! The pictures of a run.

use super::TrainError;
use crate::data::{Both, DataError, DataSource, FitMode, OpenOptions, Part, Pictures};
use crate::picture::Picture;
use crate::train::config::TrainConfig;

/// What a run learns from and is tested on.
pub(super) struct Sets {
    pub train: Pictures,
    pub test: Pictures,
    pub gallery: Option<Vec<Picture>>,
    pub held_out_of: Option<String>,
}

impl Sets {
    /// Opens what the configuration names.
    pub fn load(config: &TrainConfig) -> Result<Self, TrainError> {
        let options = config.open_options();
        let source: DataSource = config.data.train.parse()?;
        let (mut pictures, mut held_out_of) = (None, None);
        let (train, test) = match &config.data.test {
            None => {
                let Both { train, test, held_out_of: digest } = source.open_both(&options)?;
                held_out_of = digest;
                (train, test)
            }
            Some(test) => {
                let test: DataSource = test.parse()?;
                let train = source.open(Part::Train, &options)?;
                let of_test = options.for_test(&train);
                // What learns no classes is tested on whole pictures, whatever their sizes.
                let has_classes = train.classes().len() > 1 && !config.data.unlabelled;
                let own = !has_classes && config.data.size.is_none();
                let test = if own {
                    let chosen = test.choose(None)?;
                    match chosen.clone().open(&OpenOptions { size: None, ..of_test.clone() }) {
                        Err(DataError::MixedSizes { .. }) => {
                            pictures = Some(chosen.clone().gallery(&of_test)?);
                            chosen.open(&OpenOptions { fit: FitMode::Resize, ..of_test })?
                        }
                        test => test?,
                    }
                } else {
                    test.open(Part::Test, &of_test)?
                };
                (train, test)
            }
        };
        Ok(Self { train, test, gallery: pictures, held_out_of })
    }

    /// What does not go together.
    pub fn check(&self, config: &TrainConfig) -> Result<(), TrainError> {
        let Self { train, test, .. } = self;
        if train.classes() != test.classes() && !config.data.unlabelled {
            let message = format!(
                "{} has the classes {:?}, {} has {:?}",
                train.name(),
                train.classes(),
                test.name(),
                test.classes()
            );
            return Err(TrainError::Mismatch(message));
        }
        let (_, height, width) = train.shape();
        if let Some(side) = config.augment.patch.filter(|side| *side > height.min(width)) {
            let message = format!("augment.patch is {side}, the pictures are {height}x{width}");
            return Err(TrainError::Mismatch(message));
        }
        Ok(())
    }
}
