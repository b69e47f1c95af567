//! Which images of a set are trained on, and which a model is measured on.

use std::collections::BTreeSet;

use super::error::DataError;
use super::notes::Notes;
use super::open::{Images, OpenOptions};
use super::parts::quoted;
use super::source::{Content, DataSource, Found, Part};

/// A set that was found and not opened yet.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub(super) name: String,
    pub(super) content: Content,
    has_parts: bool,
    held_out: Option<[usize; 2]>,
}

impl Chosen {
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
pub struct Both {
    /// What is trained on.
    pub train: Images,
    /// What it is evaluated on.
    pub test: Images,
    /// What tells the set that the test part was held out of, for [`DataSource::choose`]; nothing if it has parts.
    pub held_out_of: Option<String>,
}

impl DataSource {
    /// Opens a part of the data set; see [`DataSource::load`] for what it may be.
    ///
    /// # Errors
    ///
    /// [`DataError`]: what is missing, damaged or of different sizes, by name.
    pub fn open(&self, part: Part, options: &OpenOptions) -> Result<Images, DataError> {
        options.check(&self.to_string())?;
        Images::new(self.find(part)?.content, options)
    }

    /// Finds the images to measure a model on: the test part; if this is the set, wherever it lies, that the model's training
    /// held a tenth out of ([`Both::held_out_of`]), that tenth; any other set without parts whole.
    ///
    /// # Errors
    ///
    /// [`DataError`]: what is missing or damaged, by name.
    pub fn choose(&self, held_out_of: Option<&str>) -> Result<Chosen, DataError> {
        let (name, Found { content, split, .. }) = (self.to_string(), self.find(Part::Test)?);
        let is_that = match held_out_of.filter(|_| !split) {
            Some(digest) => content.digest()? == digest,
            None => false,
        };
        if !is_that {
            return Ok(Chosen { name, content, has_parts: split, held_out: None });
        }
        let (_, held) = content.hold_out()?;
        let counts = [held.len(), content.len()];
        Ok(Chosen { name, content: held, has_parts: false, held_out: Some(counts) })
    }

    /// Opens the training and the test part, which gets the size and channels of the training part and no limit. Of a set
    /// that has no parts a tenth of every class is held out for testing, always the same images.
    ///
    /// # Errors
    ///
    /// As [`DataSource::open`]; also if a set without parts has a single image.
    pub fn open_both(&self, options: &OpenOptions) -> Result<Both, DataError> {
        options.check(&self.to_string())?;
        let found = self.find(Part::Train)?;
        let (train, test, held_out_of) = if found.split {
            let (train, test) = self.aligned(found.content, self.find(Part::Test)?.content)?;
            (train, test, None)
        } else {
            let (train, test) = found.content.hold_out()?;
            (train, test, Some(found.content.digest()?))
        };
        let train = Images::new(train, options)?;
        let test = Images::new(test, &options.for_test(&train))?;
        Ok(Both { train, test, held_out_of })
    }

    /// The two parts with the classes of both: archives tell those of each alone.
    ///
    /// # Errors
    ///
    /// If they are of two lists whose orders have nothing to do with each other.
    pub(super) fn aligned(&self, train: Content, test: Content) -> Result<(Content, Content), DataError> {
        let (of_train, of_test) = (train.classes(), test.classes());
        if of_train == of_test {
            return Ok((train, test));
        }
        let numbers = |classes: &[String]| classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
        let in_order = |classes: &[String]| classes.is_sorted_by(|a, b| a < b);
        let all = if numbers(of_train) && numbers(of_test) {
            if of_train.len() > of_test.len() { of_train.to_vec() } else { of_test.to_vec() }
        } else if in_order(of_train)
            && in_order(of_test)
            && of_train.iter().any(|name| of_test.contains(name))
        {
            of_train.iter().chain(of_test).collect::<BTreeSet<_>>().into_iter().cloned().collect()
        } else {
            let some = |names: &[String]| quoted(&names.iter().map(String::as_str).collect::<Vec<_>>());
            return Err(DataError::invalid(
                &self.to_string(),
                "the same classes in the training and the test part",
                format!("{} ({}) and {} ({})", of_train.len(), some(of_train), of_test.len(), some(of_test)),
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
