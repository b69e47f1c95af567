//! The images of a run.

use super::TrainError;
use crate::data::{DataSource, Images, OpenOptions, Part, ResizeMode, TestSet, UnopenedSet};
use crate::train::config::{ObjectiveName, TrainConfig};

/// What a run learns from and is tested on.
pub(in crate::train) struct Sets {
    pub train: Images,
    pub test: Images,
    /// What is evaluated on: `test`, or images of different sizes.
    pub measured: TestSet,
    pub held_out_of: Option<String>,
    /// Whether they are taken for natural photographs: see [`are_photographs`].
    pub photographs: bool,
}

impl Sets {
    /// Opens what the configuration names.
    pub fn load(config: &TrainConfig) -> Result<Self, TrainError> {
        let options = config.open_options();
        let source: DataSource = config.data.train.parse()?;
        let mut gallery = None;
        let patches = config.augment.patch.is_some();
        let (train, chosen, held_out_of) = match &config.data.test {
            None => source.open_train(&options)?,
            Some(test) => {
                let test: DataSource = test.parse()?;
                let train = source.open(Part::Train, &options)?;
                (train, test.choose(None)?, None)
            }
        };
        let of_test = options.for_test(train.geometry());
        // What learns no classes is tested on entire images, whatever their sizes.
        let has_classes = train.classes().len() > 1 && !config.data.unlabelled;
        let other = config.data.test.is_some();
        let own = (patches || other) && !has_classes && config.data.size.is_none();
        let test = if own {
            match chosen.clone().open_as_stored(&of_test)? {
                TestSet::Set(test) => test,
                images => {
                    gallery = Some(images);
                    chosen.open(&OpenOptions { resize_mode: ResizeMode::Resize, ..of_test })?
                }
            }
        } else if other {
            named(chosen, &train, learns_classes(config, &train))?.open(&of_test)?
        } else {
            chosen.open(&of_test)?
        };
        let measured = gallery.unwrap_or_else(|| TestSet::Set(test.clone()));
        let photographs = are_photographs(&source, train.geometry().channels);
        Ok(Self { train, test, measured, held_out_of, photographs })
    }

    /// Images that the caller has opened or made.
    pub fn from_images(train: Images, test: Images) -> Result<Self, TrainError> {
        let [of_train, of_test] =
            [&train, &test].map(|set| <(usize, usize, usize)>::from(set.geometry()));
        if of_train != of_test {
            let message = format!(
                "{} has images {of_train:?}, {} has {of_test:?}",
                train.name(),
                test.name()
            );
            return Err(TrainError::Mismatch(message));
        }
        let measured = TestSet::Set(test.clone());
        Ok(Self { train, test, measured, held_out_of: None, photographs: false })
    }

    /// As [`from_images`](Self::from_images); without a set to test on a tenth of every class
    /// is held out.
    pub fn of_callers(train: Images, test: Option<Images>) -> Result<Self, TrainError> {
        if let Some(test) = test {
            return Self::from_images(train, test);
        }
        let data = train.in_memory().filter(|data| data.len() > 1).ok_or_else(|| {
            let name = train.name();
            let why = "of a single image, or of a stream, none can be held out to test on";
            TrainError::Mismatch(format!("{name}: {why}; give some with test()"))
        })?;
        let (rest, held) = data.split((data.len() / 10).max(1), HOLD_OUT_SEED)?;
        Self::from_images(rest.into(), held.into())
    }

    /// The classes that the model learns.
    pub fn class_names(&self, config: &TrainConfig) -> Vec<String> {
        if config.data.unlabelled {
            vec!["image".to_owned()]
        } else {
            self.train.classes().to_vec()
        }
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
        Ok(())
    }

    /// Those sets, with patches to learn from if the configuration wants them.
    pub fn in_patches(self, config: &TrainConfig) -> Result<Self, TrainError> {
        let Some(side) = config.augment.patch else { return Ok(self) };
        Ok(Self { train: self.train.patches(side)?, ..self })
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
            let message = format!(
                "{name}: every image is of one class ({class}), a classifier needs two; {way}"
            );
            return Err(TrainError::Mismatch(message));
        }
        tracing::warn!(
            "{name}: every image is of one class ({class}): the model will denoise and not \
             classify; {way} (data.unlabelled=true says that none are meant)"
        );
        Ok(())
    }
}

/// Fixes which images are held out: the set's, not a run's.
const HOLD_OUT_SEED: u64 = 0;

/// Whether a set is taken for natural photographs, in which left and right mean nothing: colour
/// images in a folder or archive, CIFAR, Tiny ImageNet. Digits, clothes and whatever is grey are
/// not.
fn are_photographs(source: &DataSource, channels: usize) -> bool {
    let may_be = match source {
        DataSource::Path(_)
        | DataSource::Cifar10(_)
        | DataSource::Cifar100(_)
        | DataSource::TinyImageNet(_) => true,
        DataSource::Digits | DataSource::Mnist(_) | DataSource::FashionMnist(_) => false,
    };
    may_be && channels == 3
}

/// Whether a model of these images learns to tell classes apart.
fn learns_classes(config: &TrainConfig, train: &Images) -> bool {
    train.classes().len() > 1 && !config.data.unlabelled && config.loss_weights()[0] > 0.0
}

/// What is tested on, with the classes of what is trained on, of which it may have fewer.
fn named(
    test: UnopenedSet,
    train: &Images,
    learns_classes: bool,
) -> Result<UnopenedSet, TrainError> {
    if !learns_classes || test.classes() == train.classes() {
        return Ok(test);
    }
    if test.is_unlabelled() {
        let message = "data.test has no classes: every image lies in the folder itself; put those \
                       of a class into a subfolder of its name, or set data.unlabelled=true to \
                       train a denoiser alone";
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
