//! Which images of a set are trained on, and which a model is measured on.

use std::collections::BTreeSet;

use super::opened::Images;
use super::source::DataSource;
use crate::data::error::DataError;
use crate::data::formats::part_names::quoted;
use crate::data::notes::Notes;
use crate::data::options::OpenOptions;
use crate::data::part::Part;
use crate::data::set::content::{FoundSet, SetContent};

/// A set that was found and not opened yet.
#[derive(Debug, Clone)]
pub struct UnopenedSet {
    pub(in crate::data) name: String,
    pub(in crate::data) content: SetContent,
    has_parts: bool,
    held_out: Option<[usize; 2]>,
}

impl UnopenedSet {
    /// Whether it is the test part of a set.
    pub fn has_parts(&self) -> bool {
        self.has_parts
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        self.content.classes()
    }

    /// If it is what training held out of a set: how many images, and of how many.
    pub fn held_out(&self) -> Option<[usize; 2]> {
        self.held_out
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`DataError`]: what is missing, damaged or of different sizes, by name.
    pub fn open(self, options: &OpenOptions) -> Result<Images, DataError> {
        options.check(&self.name)?;
        Images::new(self.content, options)
    }
}

/// The training and the test part of a set.
#[derive(Debug, Clone)]
pub struct TrainTest {
    /// What is trained on.
    pub train: Images,
    /// What it is evaluated on.
    pub test: Images,
    /// Identifies the set that the test part was held out of, for [`DataSource::choose`]; `None` if
    /// it has parts.
    pub held_out_of: Option<String>,
}

impl DataSource {
    /// Opens a part of the data set.
    ///
    /// A path may be
    /// - an IDX image file with its label file beside it (`images` in its name becomes `labels`,
    ///   `idx3` `idx1`);
    /// - a CIFAR binary file;
    /// - a tar or tar.gz of any of the folders below, or WebDataset shards
    ///   (`name-{00000..00004}.tar`: images with `.cls` files, numbers or names, or a `.json`
    ///   file with a field `label`; class names from `classes.txt` beside them);
    /// - a folder with IDX or CIFAR binary files; with `train*.tar` and `test*.tar` or `val*.tar`,
    ///   or such tars in subfolders of these names; with shards alone; with a tar for each ImageNet
    ///   class (`n01440764.tar`); with a subfolder for each class; or with images alone, which
    ///   are then all of the class `image`.
    ///
    /// `part` chooses in a named set and where the files are divided by their names or by folders:
    /// `train`, `training`, `train_set`, ... and `test`, `testing`, `val`, `valid`, `dev`, `t10k`,
    /// ..., in any case. Anything else is one set whatever the part. What is left out or guessed is
    /// said as a warning, once.
    ///
    /// ```
    /// use miyasawa::data::{DataSource, OpenOptions, Part};
    ///
    /// let source: DataSource = "digits".parse()?;
    /// let test = source.open(Part::Test, &OpenOptions::default())?;
    /// assert_eq!((test.len(), test.classes().len()), (360, 10));
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError`]: what is missing, damaged or of different sizes, by name.
    pub fn open(&self, part: Part, options: &OpenOptions) -> Result<Images, DataError> {
        options.check(&self.to_string())?;
        Images::new(self.find(part)?.content, options)
    }

    /// Finds the images to evaluate a model on: the test part; if this is the set, wherever it
    /// lies, that the model's training held a tenth out of ([`TrainTest::held_out_of`]), that
    /// tenth; of any other set without parts, all.
    ///
    /// ```
    /// use miyasawa::data::{DataSource, OpenOptions};
    ///
    /// let chosen = DataSource::Digits.choose(None)?;
    /// assert!(chosen.has_parts() && !chosen.is_unlabelled());
    /// // Labels as of a model that knows the classes in another order.
    /// let reversed: Vec<String> = (0..10).rev().map(|digit| digit.to_string()).collect();
    /// let test = chosen.in_classes(&reversed)?.open(&OpenOptions::default())?;
    /// assert_eq!(test.classes()[0], "9");
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError`]: what is missing or damaged, by name.
    pub fn choose(&self, held_out_of: Option<&str>) -> Result<UnopenedSet, DataError> {
        let (name, FoundSet { content, split, .. }) = (self.to_string(), self.find(Part::Test)?);
        let is_that = match held_out_of.filter(|_| !split) {
            Some(digest) => content.digest()? == digest,
            None => false,
        };
        if !is_that {
            return Ok(UnopenedSet { name, content, has_parts: split, held_out: None });
        }
        let (_, held) = content.hold_out()?;
        let counts = [held.len(), content.len()];
        Ok(UnopenedSet { name, content: held, has_parts: false, held_out: Some(counts) })
    }

    /// Opens the training and the test part, which gets the size and channels of the training part
    /// and no limit. Of a set that has no parts a tenth of every class is held out for testing,
    /// always the same images.
    ///
    /// ```
    /// use miyasawa::data::{DataSource, OpenOptions, TrainTest};
    ///
    /// let options = OpenOptions { limit: Some(100), ..OpenOptions::default() };
    /// let TrainTest { train, test, held_out_of } = DataSource::Digits.open_both(&options)?;
    /// assert_eq!((train.len(), test.len(), held_out_of), (100, 360, None));
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`DataSource::open`]; also if a set without parts has a single image.
    pub fn open_both(&self, options: &OpenOptions) -> Result<TrainTest, DataError> {
        let (train, test, held_out_of) = self.open_train(options)?;
        let test = test.open(&options.for_test(train.geometry()))?;
        Ok(TrainTest { train, test, held_out_of })
    }

    /// As [`open_both`](Self::open_both), the test part unopened.
    pub(crate) fn open_train(
        &self,
        options: &OpenOptions,
    ) -> Result<(Images, UnopenedSet, Option<String>), DataError> {
        let name = self.to_string();
        options.check(&name)?;
        let found = self.find(Part::Train)?;
        let has_parts = found.split;
        let (train, content, held_out_of) = if has_parts {
            let (train, test) = self.aligned(found.content, self.find(Part::Test)?.content)?;
            (train, test, None)
        } else {
            let (train, test) = found.content.hold_out()?;
            (train, test, Some(found.content.digest()?))
        };
        let test = UnopenedSet { name, content, has_parts, held_out: None };
        Ok((Images::new(train, options)?, test, held_out_of))
    }

    /// The two parts with the classes of both: archives list those of each alone.
    ///
    /// # Errors
    ///
    /// If they are of two lists whose orders have nothing to do with each other.
    pub(in crate::data) fn aligned(
        &self,
        train: SetContent,
        test: SetContent,
    ) -> Result<(SetContent, SetContent), DataError> {
        let (of_train, of_test) = (train.classes(), test.classes());
        if of_train == of_test {
            return Ok((train, test));
        }
        let numbers =
            |classes: &[String]| classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
        let in_order = |classes: &[String]| classes.is_sorted_by(|a, b| a < b);
        let all = if numbers(of_train) && numbers(of_test) {
            if of_train.len() > of_test.len() { of_train.to_vec() } else { of_test.to_vec() }
        } else if in_order(of_train)
            && in_order(of_test)
            && of_train.iter().any(|name| of_test.contains(name))
        {
            of_train.iter().chain(of_test).collect::<BTreeSet<_>>().into_iter().cloned().collect()
        } else {
            let some =
                |names: &[String]| quoted(&names.iter().map(String::as_str).collect::<Vec<_>>());
            return Err(DataError::invalid(
                &self.to_string(),
                "the same classes in the training and the test part",
                format!(
                    "{} ({}) and {} ({})",
                    of_train.len(),
                    some(of_train),
                    of_test.len(),
                    some(of_test)
                ),
            ));
        };
        let unlearnt: Vec<&str> =
            all.iter().filter(|name| !of_train.contains(name)).map(String::as_str).collect();
        if !unlearnt.is_empty() {
            let mut notes = Notes::default();
            notes.say(format!("no images to train on of {}", quoted(&unlearnt)));
            notes.warn(&self.to_string());
        }
        Ok((train.with_classes(&all), test.with_classes(&all)))
    }
}
