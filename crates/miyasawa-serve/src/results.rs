//! What a request is answered with: the documents of the library's results, and images.

use crate::document::NAME;
use crate::error::ApiError;
use crate::params::Denoise;
use base64::Engine as _;
use miyasawa::image::{Format, Image, ImageError, ImageFile, ImageWriter};
use miyasawa::metrics::{mse, psnr};
use miyasawa::predictor::{Classification, Explanation};
use serde::{Serialize, Serializer};

/// The result of a request.
pub(crate) enum Answer {
    Classified(Classified),
    Denoised(Denoised),
    Explained(Box<Explained>),
}

/// A classification, and those at further noise levels.
#[derive(Serialize)]
pub(crate) struct Classified {
    pub model: String,
    #[serde(flatten)]
    pub found: Classification,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Classification>,
}

/// A denoised image. As a document it holds the image as a data URL.
#[derive(Serialize)]
pub(crate) struct Denoised {
    pub model: String,
    /// The noise level that was removed.
    pub sigma: f64,
    /// Against the image without the noise that was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_noisy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f64>,
    #[serde(serialize_with = "format_name")]
    pub format: Format,
    pub height: usize,
    pub width: usize,
    pub image: Blob,
    /// The image before, with the noise that was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Blob>,
}

/// The file of an image in a document.
pub(crate) struct Blob {
    pub bytes: Vec<u8>,
    pub media: &'static str,
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { bytes, media } = self;
        let mut text = format!("data:{media};base64,");
        base64::engine::general_purpose::STANDARD.encode_string(bytes, &mut text);
        to.serialize_str(&text)
    }
}

fn png(image: &Image) -> Result<Blob, ImageError> {
    Ok(Blob { bytes: image.to_png()?, media: media(Format::Png) })
}

fn format_name<S: Serializer>(format: &Format, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(format.extension())
}

/// The media type of a format.
pub(crate) fn media(format: Format) -> &'static str {
    match format {
        Format::Png => "image/png",
        Format::Jpeg => "image/jpeg",
        Format::WebP => "image/webp",
        Format::Tiff => "image/tiff",
        Format::Bmp => "image/bmp",
        Format::Qoi => "image/x-qoi",
        Format::Pnm => "image/x-portable-anymap",
        Format::Exr => "image/x-exr",
    }
}

impl Denoised {
    /// An answer whose image is still to come.
    pub fn new(model: String, sigma: f64) -> Self {
        let image = Blob { bytes: Vec::new(), media: media(Format::Png) };
        let format = Format::Png;
        let (height, width) = (0, 0);
        Self {
            model,
            sigma,
            psnr_noisy: None,
            psnr: None,
            format,
            height,
            width,
            image,
            before: None,
        }
    }

    /// Notes the image before, and PSNR where the image without noise is known.
    pub fn compare(
        &mut self,
        task: &Denoise,
        truth: Option<&Image>,
        before: Option<&Image>,
        denoised: &Image,
    ) -> Result<(), ApiError> {
        (self.height, self.width) = (denoised.height(), denoised.width());
        if let (Some(truth), Some(before)) = (truth, before) {
            let against = |image: &Image| psnr(mse(image.values(), truth.values()));
            (self.psnr_noisy, self.psnr) = (Some(against(before)), Some(against(denoised)));
        }
        self.before = before.filter(|_| task.before).map(png).transpose()?;
        Ok(())
    }

    /// The file that is to hold the denoised pages.
    pub fn writer(file: &ImageFile, task: &Denoise) -> ImageWriter {
        file.writer(task.format.unwrap_or(file.format())).with_quality(task.quality)
    }

    /// Takes the file with its pages.
    pub fn finish(&mut self, writer: ImageWriter, file: &ImageFile, task: &Denoise) {
        self.format = task.format.unwrap_or(file.format());
        self.image = Blob { bytes: writer.into_bytes(), media: media(self.format) };
    }

    /// The name of a file for the image.
    pub fn file_name(&self) -> String {
        format!("{NAME}-denoised.{}", self.format.extension())
    }
}

/// An explanation with its maps, at the model's size.
#[derive(Serialize)]
pub(crate) struct Explained {
    pub model: String,
    pub class: String,
    #[serde(flatten)]
    pub found: Explanation,
    /// What the last two maps are multiplied with, to be seen; 0 is grey.
    pub factor: f32,
    pub images: Maps,
}

/// The maps as PNG.
#[derive(Serialize)]
pub(crate) struct Maps {
    /// The image as the model sees it.
    pub input: Blob,
    /// `D(y)`.
    pub denoised: Blob,
    /// `D(y, c)`.
    pub class_denoised: Blob,
    /// `D(y, c) - D(y)`, amplified.
    pub difference: Blob,
    /// `sigma^2 grad log p(c | y)`, amplified as much.
    pub gradient: Blob,
}

impl Explained {
    pub fn new(
        model: String,
        class: String,
        input: &Image,
        found: Explanation,
    ) -> Result<Self, ApiError> {
        let (difference, peak) = found.difference.amplified();
        let gradient = found.gradient.values().iter().map(|value| value / peak).collect();
        let gradient = Image::new(found.gradient.shape(), gradient)?;
        let images = Maps {
            input: png(input)?,
            denoised: png(&found.denoised)?,
            class_denoised: png(&found.class_denoised)?,
            difference: png(&difference)?,
            gradient: png(&gradient)?,
        };
        Ok(Self { model, class, found, factor: 1.0 / peak, images })
    }
}
