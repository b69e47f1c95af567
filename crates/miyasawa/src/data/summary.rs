//! What a data set holds, counted and measured.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::dataset::{Histogram, spread};
use super::error::DataError;
use super::images::{Bring, tile};
use super::notes::plural;
use super::source::{Content, DataSource, Part};
use crate::image::{Grid, GridRow, Image, ImageError};

/// The side that images of different sizes are brought to in a [`Description::grid`].
const CELL: usize = 96;

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
    parts: Vec<(Option<Part>, Content)>,
}

/// What one image tells.
struct Seen {
    channels: usize,
    size: (usize, usize),
    planes: Vec<Histogram>,
}

impl Seen {
    fn of(values: &[u8], channels: usize, size: (usize, usize)) -> Self {
        let planes = values.chunks_exact(size.0 * size.1).map(|plane| {
            let mut histogram = Histogram::default();
            histogram.add(plane);
            histogram
        });
        Self { channels, size, planes: planes.collect() }
    }
}

/// What several images tell.
#[derive(Default)]
struct Total {
    measured: usize,
    broken: usize,
    /// What is wrong with the first broken one.
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

impl Total {
    fn add(&mut self, seen: Result<Seen, DataError>) {
        self.measured += 1;
        let Seen { channels, size, planes } = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.broken += 1;
                self.wrong.get_or_insert(error);
                return;
            }
        };
        self.channels = self.channels.max(channels);
        widen(&mut self.height, size.0);
        widen(&mut self.width, size.1);
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
            broken: self.broken,
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

impl DataSource {
    /// Lists the parts of the data set; one without a name if it has none.
    ///
    /// # Errors
    ///
    /// As [`DataSource::load`].
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

    pub(super) fn parts(&self) -> &[(Option<Part>, Content)] {
        &self.parts
    }

    /// Measures every part on at most `limit` images, evenly spaced; `progress` is told the share of the work done.
    /// Images that cannot be decoded are counted, with a warning that names one.
    ///
    /// # Errors
    ///
    /// If an archive cannot be read, or no image of a part can be decoded.
    pub fn measure(
        &self,
        limit: Option<usize>,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<(Option<Part>, Summary)>, DataError> {
        let chosen = |content: &Content| spread(content.len(), limit.unwrap_or(usize::MAX));
        let total: usize = self.parts.iter().map(|(_, content)| chosen(content).len()).sum();
        let (mut done, mut summaries) = (0, Vec::new());
        for (part, content) in &self.parts {
            let mut measured = Total::default();
            // In pieces, so that progress is told and what images tell does not pile up.
            for piece in chosen(content).chunks(1024) {
                let seen: Vec<Result<Result<Seen, DataError>, DataError>> =
                    piece.par_iter().map(|&i| see(content, i as usize)).collect();
                for seen in seen {
                    measured.add(seen?);
                }
                done += piece.len();
                progress(done as f64 / total as f64);
            }
            if let Some(wrong) = measured.wrong.take() {
                if measured.broken == measured.measured {
                    return Err(wrong);
                }
                tracing::warn!("{} broken {}: {wrong}", measured.broken, plural("image", measured.broken));
            }
            let mut counts = vec![0; content.classes().len()];
            content.labels().iter().for_each(|&label| counts[label as usize] += 1);
            summaries.push((*part, measured.summary(content.len(), counts)));
        }
        Ok(summaries)
    }

    /// A figure with images of the first part: a row for each of at most `classes` classes, evenly spaced, with at most
    /// `columns` images.
    ///
    /// # Errors
    ///
    /// If a file cannot be read; within, if the figure would be too large. A class whose images are all broken is left out.
    pub fn grid(&self, classes: usize, columns: usize) -> Result<Result<Image, ImageError>, DataError> {
        let content = &self.parts[0].1;
        let labels = content.labels();
        let mut rows = Vec::new();
        for class in spread(content.classes().len(), classes) {
            let of_class: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
            let mut images = Vec::new();
            for at in spread(of_class.len(), columns) {
                images.extend(show(content, of_class[at as usize])?);
            }
            if !images.is_empty() {
                rows.push((class, images));
            }
        }
        let shapes = || rows.iter().flat_map(|(_, images)| images).map(|p| (p.height(), p.width()));
        let mixed = shapes().any(|shape| Some(shape) != shapes().next());
        let side = shapes().map(|(height, width)| height.max(width)).max().unwrap_or(1);
        if mixed || side > 2 * CELL {
            for image in rows.iter_mut().flat_map(|(_, images)| images) {
                match image.center_fit(CELL, CELL) {
                    Ok(fitted) => *image = fitted,
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        let grid = Grid {
            rows: rows
                .iter()
                .map(|(class, images)| GridRow {
                    caption: content.classes()[*class as usize].clone(),
                    images: images.iter().collect(),
                })
                .collect(),
            scale: (CELL / side.max(1)).clamp(1, 8),
            ..Grid::default()
        };
        Ok(grid.draw())
    }
}

/// What image `i` tells; within, why it is broken.
fn see(content: &Content, i: usize) -> Result<Result<Seen, DataError>, DataError> {
    Ok(match content {
        Content::Raw(data) => Ok(Seen::of(data.image(i), data.channels(), (data.height(), data.width()))),
        Content::Encoded(set) => {
            let tile = set.decode(i, |bytes| tile(bytes, Bring::Keep))?;
            tile.map(|t| Seen::of(&t.values, t.channels, t.size))
        }
    })
}

/// An image of the set, `None` if it is broken.
fn show(content: &Content, i: usize) -> Result<Option<Image>, DataError> {
    let (shape, values) = match content {
        Content::Raw(data) => ((data.channels(), data.height(), data.width()), data.image(i).to_vec()),
        Content::Encoded(set) => match set.decode(i, |bytes| tile(bytes, Bring::Keep))? {
            Ok(tile) => ((tile.channels, tile.size.0, tile.size.1), tile.values),
            Err(_) => return Ok(None),
        },
    };
    Ok(Image::from_bytes(shape, &values).ok())
}
