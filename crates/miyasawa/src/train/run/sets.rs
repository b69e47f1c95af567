//! The images of a run.

use super::TrainError;
use crate::data::{Both, Chosen, DataError, DataSource, FitMode, Images, OpenOptions, Part};
use crate::image::Image;
use crate::train::config::{ObjectiveName, TrainConfig};

/// What a run learns from and is tested on.
pub(super) struct Sets {
    pub train: Images,
    pub test: Images,
    pub gallery: Option<Vec<Image>>,
    pub held_out_of: Option<String>,
}

impl Sets {
    /// Opens what the configuration names.
    pub fn load(config: &TrainConfig) -> Result<Self, TrainError> {
        let options = config.open_options();
        let source: DataSource = config.data.train.parse()?;
        let (mut images, mut held_out_of) = (None, None);
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
                // What learns no classes is tested on whole images, whatever their sizes.
                let has_classes = train.classes().len() > 1 && !config.data.unlabelled;
                let own = !has_classes && config.data.size.is_none();
                let chosen = test.choose(None)?;
                let test = if own {
                    match chosen.clone().open(&OpenOptions { size: None, ..of_test.clone() }) {
                        Err(DataError::MixedSizes { .. }) => {
                            images = Some(chosen.clone().gallery(&of_test)?);
                            chosen.open(&OpenOptions { fit: FitMode::Resize, ..of_test })?
                        }
                        test => test?,
                    }
                } else {
                    named(chosen, &train, learns_classes(config, &train))?.open(&of_test)?
                };
                (train, test)
            }
        };
        Ok(Self { train, test, gallery: images, held_out_of })
    }

    /// What does not go together, and what a user may not have meant.
    pub fn check(&self, config: &TrainConfig) -> Result<(), TrainError> {
        let Self { train, test, .. } = self;
        if learns_classes(config, train) && train.classes() != test.classes() {
            let message = format!(
                "{} has the classes {:?}, {} has {:?}",
                train.name(),
                train.classes(),
                test.name(),
                test.classes()
            );
            return Err(TrainError::Mismatch(message));
        }
        self.check_number_of_classes(config)?;
        let (_, height, width) = train.shape();
        if let Some(side) = config.augment.patch.filter(|side| *side > height.min(width)) {
            let message = format!("augment.patch is {side}, the images are {height}x{width}");
            return Err(TrainError::Mismatch(message));
        }
        Ok(())
    }
}

impl Sets {
    /// Of images that are all of one class nothing can be told apart.
    fn check_number_of_classes(&self, config: &TrainConfig) -> Result<(), TrainError> {
        let train = &self.train;
        let [ce_weight, dsm_weight] = config.loss_weights();
        if train.classes().len() > 1 || config.data.unlabelled || ce_weight == 0.0 {
            return Ok(());
        }
        let (name, class) = (train.name(), train.classes().join(", "));
        let way = "to learn classes, put the images of each into a subfolder of its name";
        let learns_density = dsm_weight > 0.0 || config.loss.objective == ObjectiveName::Jem;
        if !learns_density {
            let message =
                format!("{name}: every image is of one class ({class}), a classifier needs two; {way}");
            return Err(TrainError::Mismatch(message));
        }
        tracing::warn!(
            "{name}: every image is of one class ({class}): the model will denoise and not classify; {way} \
             (data.unlabelled=true says that none are meant)"
        );
        Ok(())
    }
}

/// Whether a model of these images learns to tell classes apart.
fn learns_classes(config: &TrainConfig, train: &Images) -> bool {
    train.classes().len() > 1 && !config.data.unlabelled && config.loss_weights()[0] > 0.0
}

/// What is tested on, with the classes of what is trained on, of which it may have fewer.
fn named(test: Chosen, train: &Images, learns_classes: bool) -> Result<Chosen, TrainError> {
    if !learns_classes || test.classes() == train.classes() {
        return Ok(test);
    }
    if test.is_unlabelled() {
        let message = "data.test has no classes: every image lies in the folder itself; put those of a class into a \
                       subfolder of its name, or set data.unlabelled=true to train a denoiser alone";
        return Err(TrainError::Mismatch(message.to_owned()));
    }
    if test.unknown(train.classes()).is_empty() {
        tracing::info!(
            "data.test has {} of the {} classes, matched by name",
            test.classes().len(),
            train.classes().len()
        );
    }
    Ok(test.in_classes(train.classes())?)
}
