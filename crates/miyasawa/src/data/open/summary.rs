//! What a data set holds, counted and measured.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::source::DataSource;
use crate::data::batch::decode::resized;
use crate::data::error::DataError;
use crate::data::notes::plural;
use crate::data::options::TargetSize;
use crate::data::part::Part;
use crate::data::set::content::SetContent;
use crate::data::set::histogram::Histogram;
use crate::data::set::sampling::spread;
use crate::image::Geometry;
use crate::progress::{Monitor, Progress};

/// A part of a data set, measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Images.
    pub count: usize,
    /// Those that were measured.
    pub measured: usize,
    /// Those of them that cannot be decoded.
    pub broken: usize,
    /// 1 if all measured images are grey, 3 otherwise.
    pub channels: usize,
    /// Smallest and largest height.
    pub height: [usize; 2],
    /// Smallest and largest width.
    pub width: [usize; 2],
    /// Images of each class.
    pub class_counts: Vec<usize>,
    /// Mean of each channel, in [0, 1].
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, in [0, 1].
    pub std: Vec<f64>,
    /// Standard deviation over all values in the [-1, 1] range: `sigma_data` of a model.
    pub sigma_data: f64,
}

/// A data set, its parts listed; images are read when they are asked for.
pub struct Description {
    name: String,
    parts: Vec<(Option<Part>, SetContent)>,
}

/// The statistics of one image.
struct ImageStats {
    geometry: Geometry,
    planes: Vec<Histogram>,
}

impl ImageStats {
    fn from_values(values: &[u8], geometry: Geometry) -> Self {
        let planes = values.chunks_exact(geometry.height * geometry.width).map(|plane| {
            let mut histogram = Histogram::default();
            histogram.add(plane);
            histogram
        });
        Self { geometry, planes: planes.collect() }
    }
}

/// The statistics of several images.
#[derive(Default)]
struct StatsSum {
    measured: usize,
    corrupt: usize,
    /// What is wrong with the first corrupt one.
    wrong: Option<DataError>,
    channels: usize,
    height: Option<RangeInclusive<usize>>,
    width: Option<RangeInclusive<usize>>,
    /// Of images in colour.
    colour: [Histogram; 3],
    /// Of grey ones.
    grey: Histogram,
}

fn widen(range: &mut Option<RangeInclusive<usize>>, value: usize) {
    *range = Some(match range.take() {
        None => value..=value,
        Some(range) => value.min(*range.start())..=value.max(*range.end()),
    });
}

fn ends(range: &Option<RangeInclusive<usize>>) -> [usize; 2] {
    range.as_ref().map_or([0, 0], |range| [*range.start(), *range.end()])
}

impl StatsSum {
    fn add(&mut self, seen: Result<ImageStats, DataError>) {
        self.measured += 1;
        let ImageStats { geometry, planes } = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.corrupt += 1;
                self.wrong.get_or_insert(error);
                return;
            }
        };
        self.channels = self.channels.max(geometry.channels);
        widen(&mut self.height, geometry.height);
        widen(&mut self.width, geometry.width);
        match &planes[..] {
            [grey] => self.grey = std::mem::take(&mut self.grey).merge(grey),
            planes => {
                for (total, plane) in self.colour.iter_mut().zip(planes) {
                    *total = std::mem::take(total).merge(plane);
                }
            }
        }
    }

    fn summary(self, count: usize, class_counts: Vec<usize>) -> Summary {
        let channels: Vec<Histogram> = match self.channels {
            3 => self.colour.into_iter().map(|plane| plane.merge(&self.grey)).collect(),
            _ => vec![self.grey],
        };
        let all = channels.iter().fold(Histogram::default(), Histogram::merge);
        let (mean, std): (Vec<f64>, Vec<f64>) = channels.iter().map(Histogram::mean_std).unzip();
        Summary {
            count,
            measured: self.measured,
            broken: self.corrupt,
            channels: channels.len(),
            height: ends(&self.height),
            width: ends(&self.width),
            class_counts,
            mean: mean.into_iter().map(|m| m / 2.0 + 0.5).collect(),
            std: std.into_iter().map(|s| s / 2.0).collect(),
            sigma_data: all.mean_std().1,
        }
    }
}

/// A part, where the set has parts, and what was measured of it.
pub type PartSummary = (Option<Part>, Summary);

impl DataSource {
    /// Lists the parts of the data set; one without a name if it has none.
    ///
    /// ```
    /// let digits = miyasawa::data::DataSource::Digits.describe()?;
    /// let parts = digits.measure(None, &mut ())?.expect("nobody stops it");
    /// let (_, train) = &parts[0];
    /// assert_eq!((train.count, train.channels, train.height), (1437, 1, [8, 8]));
    /// # Ok::<(), miyasawa::data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`DataSource::open`].
    pub fn describe(&self) -> Result<Description, DataError> {
        let train = self.find(Part::Train)?;
        let mut parts = Vec::new();
        if train.split {
            let (train, test) = self.aligned(train.content, self.find(Part::Test)?.content)?;
            parts.push((Some(Part::Train), train));
            parts.push((Some(Part::Test), test));
        } else {
            parts.push((None, train.content));
        }
        Ok(Description { name: self.to_string(), parts })
    }
}

impl Description {
    /// The DATA argument.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        self.parts[0].1.classes()
    }

    pub(in crate::data) fn parts(&self) -> &[(Option<Part>, SetContent)] {
        &self.parts
    }

    /// Measures every part on at most `limit` images, evenly spaced; `None` as soon as the monitor
    /// stops it. Images that cannot be decoded are counted, with a warning that names one.
    ///
    /// # Errors
    ///
    /// If an archive cannot be read, or no image of a part can be decoded.
    pub fn measure(
        &self,
        limit: Option<usize>,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Vec<PartSummary>>, DataError> {
        let chosen = |content: &SetContent| spread(content.len(), limit.unwrap_or(usize::MAX));
        let total: usize = self.parts.iter().map(|(_, content)| chosen(content).len()).sum();
        let (mut done, mut summaries) = (0, Vec::new());
        for (part, content) in &self.parts {
            let mut measured = StatsSum::default();
            // In pieces, so that progress is reported and statistics do not pile up.
            for piece in chosen(content).chunks(1024) {
                if monitor.stop() {
                    return Ok(None);
                }
                let seen: Vec<Result<Result<ImageStats, DataError>, DataError>> =
                    piece.par_iter().map(|&i| see(content, i as usize)).collect();
                for seen in seen {
                    measured.add(seen?);
                }
                done += piece.len();
                monitor.progress(&Progress::new("measuring", done as f64 / total as f64));
            }
            if let Some(wrong) = measured.wrong.take() {
                if measured.corrupt == measured.measured {
                    return Err(wrong);
                }
                tracing::warn!(
                    "{} corrupt {}: {wrong}",
                    measured.corrupt,
                    plural("image", measured.corrupt)
                );
            }
            let mut counts = vec![0; content.classes().len()];
            content.labels().iter().for_each(|&label| counts[label as usize] += 1);
            summaries.push((*part, measured.summary(content.len(), counts)));
        }
        Ok(Some(summaries))
    }
}

/// The statistics of image `i`; within, why it is corrupt.
fn see(content: &SetContent, i: usize) -> Result<Result<ImageStats, DataError>, DataError> {
    Ok(match content {
        SetContent::Raw(data) => Ok(ImageStats::from_values(data.image(i), data.geometry())),
        SetContent::Files(set) => {
            let image = set.decode(i, |decoded| resized(decoded, TargetSize::AsStored))?;
            image.map(|image| ImageStats::from_values(&image.values, image.geometry))
        }
    })
}
