//! OpenEXR: linear light in floating point. A file is kept with all of its layers, channels and
//! attributes, and only the colours of one layer change.

use std::io::Cursor;
use std::sync::Arc;

use exr::image::{AnyChannel, AnyChannels, Encoding, FlatImage, FlatSamples, Layer};
use exr::meta::MetaData;
use exr::meta::header::{ImageAttributes, LayerAttributes};
use exr::prelude::{ReadChannels as _, ReadLayers as _, WritableImage as _};
use half::f16;

use super::Depth;
use super::decode::{Bound, DecodeError, one_line};
use super::encodable::Encodable;
#[cfg(feature = "data")]
use super::light::display;
use super::raster::{Opacity, Raster, Samples};

/// The most channels of all layers: more than any renderer writes.
const MOST_CHANNELS: usize = 1024;

/// A file that was read.
pub(super) struct ExrFile {
    image: Arc<FlatImage>,
    colours: Colours,
    /// Notes for the user.
    notes: Vec<String>,
}

/// The layer whose colours are denoised, and its channels.
#[derive(Debug, Clone)]
pub(super) struct Colours {
    layer: usize,
    channels: Vec<usize>,
    alpha: Option<usize>,
}

/// What a page needs to be written as the file was.
pub(super) type Kept = (Arc<FlatImage>, Colours);

fn damaged(error: impl std::fmt::Display) -> DecodeError {
    DecodeError::Damaged { format: "OpenEXR", found: one_line(error) }
}

fn unsupported(found: impl Into<String>) -> DecodeError {
    DecodeError::Unsupported { format: "OpenEXR", found: found.into() }
}

fn explained(error: exr::error::Error) -> DecodeError {
    match error {
        exr::error::Error::NotSupported(found) => unsupported(found.into_owned()),
        error => damaged(error),
    }
}

impl ExrFile {
    /// Reads all layers of a file.
    pub fn open(bytes: &[u8], bound: Bound) -> Result<Self, DecodeError> {
        // Sizes are checked before memory is asked for.
        let header = MetaData::read_from_buffered(Cursor::new(bytes), false).map_err(explained)?;
        let (mut values, mut channels) = (0u64, 0);
        for header in &header.headers {
            let (width, height) = (header.layer_size.width(), header.layer_size.height());
            let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
            bound.check_size("OpenEXR", (side(width), side(height)))?;
            channels += header.channels.list.len();
            values =
                values.saturating_add((width * height * header.channels.list.len().max(1)) as u64);
        }
        if values > 4 * bound.pixels || channels > MOST_CHANNELS {
            return Err(unsupported(format!(
                "{channels} channels of {values} values together: split the file"
            )));
        }
        let image = exr::prelude::read()
            .no_deep_data()
            .largest_resolution_level()
            .all_channels()
            .all_layers()
            .all_attributes()
            .from_buffered(Cursor::new(bytes))
            .map_err(explained)?;
        let colours = colours(&image)?;
        let (layer, taken) = (&image.layer_data[colours.layer], colours.channels.len());
        let more = layer.channel_data.list.len() - taken - usize::from(colours.alpha.is_some());
        let mut notes = Vec::new();
        if image.layer_data.len() > 1 || more > 0 {
            notes.push(format!(
                "OpenEXR with {} layers: the colours of one are denoised, other layers and \
                 channels stay as they are",
                image.layer_data.len()
            ));
        }
        Ok(Self { image: Arc::new(image), colours, notes })
    }

    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    pub fn kept(&self) -> Kept {
        (Arc::clone(&self.image), self.colours.clone())
    }

    /// (width, height).
    pub fn size(&self) -> (usize, usize) {
        let size = self.image.layer_data[self.colours.layer].size;
        (size.width(), size.height())
    }

    /// The colours, scaled so that `low` is 0 and `high` is 1, and these two: 0 and 1 unless values
    /// lie beyond them.
    pub fn raster(&self) -> (Raster, (f64, f64)) {
        let (width, height) = self.size();
        let list = &self.image.layer_data[self.colours.layer].channel_data.list;
        let channel = |at: &usize| -> Vec<f32> { list[*at].sample_data.values_as_f32().collect() };
        let planes: Vec<Vec<f32>> = self.colours.channels.iter().map(channel).collect();
        let finite = planes.iter().flatten().copied().filter(|v| v.is_finite());
        let (low, high) = finite.fold((0.0f32, 1.0f32), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = (f64::from(low), f64::from(high));
        let alpha = self.colours.alpha.as_ref().map(channel);
        let mut samples = Vec::with_capacity(width * height * (planes.len() + 1));
        for at in 0..width * height {
            let scaled = |plane: &Vec<f32>| ((f64::from(plane[at]) - low) / (high - low)) as f32;
            samples.extend(planes.iter().map(scaled));
            samples.extend(alpha.as_ref().map(|alpha| alpha[at]));
        }
        let raster = Raster {
            channels: planes.len(),
            opacity: alpha.map(|_| Opacity::Premultiplied),
            height,
            width,
            samples: Samples::Float(samples),
            turned: false,
        };
        (raster, (low, high))
    }
}

impl ExrFile {
    /// The colours as values of sRGB with 16 bits; what is brighter than white is white.
    #[cfg(feature = "data")]
    pub fn srgb(&self) -> Raster {
        let (mut raster, (low, high)) = self.raster();
        let depth = raster.depth();
        if let Samples::Float(samples) = &raster.samples {
            let value = |(i, v): (usize, &f32)| {
                let light = low + f64::from(*v) * (high - low);
                let value =
                    if i % depth < raster.channels { display(light) } else { f64::from(*v) };
                (value.clamp(0.0, 1.0) * 65535.0).round() as u16
            };
            let sixteen = samples.iter().enumerate().map(value).collect();
            raster.samples = Samples::Sixteen(sixteen);
        }
        raster
    }
}

/// Finds the first layer with the channels R, G and B, else with Y.
fn colours(image: &FlatImage) -> Result<Colours, DecodeError> {
    let full = |channel: &AnyChannel<FlatSamples>| channel.sampling.area() == 1;
    for names in [&["R", "G", "B"][..], &["Y"]] {
        for (layer, found) in image.layer_data.iter().enumerate() {
            let list = &found.channel_data.list;
            let find = |name: &str| list.iter().position(|c| c.name.eq(name) && full(c));
            let channels: Option<Vec<usize>> = names.iter().map(|name| find(name)).collect();
            if let Some(channels) = channels {
                return Ok(Colours { layer, channels, alpha: find("A") });
            }
        }
    }
    let names = image.layer_data.iter().flat_map(|layer| &layer.channel_data.list);
    let names: Vec<String> = names.take(8).map(|channel| channel.name.to_string()).collect();
    Err(unsupported(format!("expected channels R, G, B or Y, found {}", names.join(", "))))
}

/// Writes an image as OpenEXR: into the file that it came from, or as a new one. `light` gives the
/// linear light of a value.
pub(super) fn encode(
    content: &Encodable<'_>,
    kept: Option<&Kept>,
    light: impl Fn(f32) -> f64,
) -> Result<Vec<u8>, String> {
    let (width, height) = (content.image.width(), content.image.height());
    let planes = content.image.values().chunks_exact(width * height);
    let planes = planes.map(|plane| plane.iter().map(|v| light(*v) as f32).collect::<Vec<f32>>());
    let image = match kept {
        Some((image, colours)) => {
            let mut image = FlatImage::clone(image);
            let list = &mut image.layer_data[colours.layer].channel_data.list;
            for (at, plane) in colours.channels.iter().zip(planes) {
                let samples = &mut list[*at].sample_data;
                *samples = as_kind(samples, plane);
            }
            image
        }
        None => {
            let names: &[&str] =
                if content.image.channels() == 1 { &["Y"] } else { &["R", "G", "B"] };
            // Half precision holds 11 bits.
            let kind = match content.image.depth() {
                Depth::Eight => FlatSamples::F16(Vec::new()),
                Depth::Sixteen => FlatSamples::F32(Vec::new()),
            };
            let mut planes: Vec<_> = planes.collect();
            if let Some((alpha, Opacity::Straight)) = content.alpha {
                // Colours of OpenEXR are multiplied by alpha.
                for plane in &mut planes {
                    plane.iter_mut().zip(alpha).for_each(|(value, alpha)| *value *= alpha);
                }
            }
            let alpha = content.alpha.map(|(alpha, _)| ("A", alpha.to_vec()));
            let all = names.iter().copied().zip(planes).chain(alpha);
            let channels = all.map(|(name, plane)| AnyChannel::new(name, as_kind(&kind, plane)));
            let channels = AnyChannels::sort(channels.collect());
            let attributes = LayerAttributes::default();
            let encoding = Encoding::SMALL_FAST_LOSSLESS;
            let layer = Layer::new((width, height), attributes, encoding, channels);
            let window = ImageAttributes::with_size((width, height));
            FlatImage::from_layers(window, vec![layer])
        }
    };
    let mut bytes = Cursor::new(Vec::new());
    image.write().to_buffered(&mut bytes).map_err(one_line)?;
    Ok(bytes.into_inner())
}

/// Samples of the type of others.
fn as_kind(kind: &FlatSamples, plane: Vec<f32>) -> FlatSamples {
    match kind {
        FlatSamples::F16(_) => FlatSamples::F16(plane.into_iter().map(f16::from_f32).collect()),
        FlatSamples::F32(_) => FlatSamples::F32(plane),
        // Casts of floats to integers saturate.
        FlatSamples::U32(_) => {
            FlatSamples::U32(plane.into_iter().map(|v| v.round() as u32).collect())
        }
    }
}
