//! What is done to every image, and to its pages.

use super::super::{
    images::{self, Notes},
    outputs::Target,
};
use super::extras::{Extras, UNCERTAINTY_BYTES, Written};
use super::noise::{AddNoise, NoisePlan, Noisy};
use super::{Denoise, LightArg};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use anyhow::{Context, Result};
use miyasawa::{
    image::{Image, noise_level::NoiseKind},
    metrics,
    predictor::{MAX_STRENGTH, Noise, Predictor, Strength},
};
use miyasawa_kernels::memory;
use serde::Serialize;
use std::path::Path;

/// Milliseconds for which freed memory is kept while an image is denoised: tiles reuse it.
const KEPT: u16 = 1000;

/// An image and its denoised file. The numbers are those of the first page.
#[derive(Serialize)]
pub struct DenoisedFile {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<String>,
    #[serde(flatten)]
    first: DenoisedPage,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pages: Vec<DenoisedPage>,
    #[serde(flatten)]
    extras: Written,
}

/// The noise level of a page; with `--add-noise`, PSNR before and after.
#[derive(Clone, Copy, Serialize)]
struct DenoisedPage {
    sigma: f64,
    psnr_noisy: Option<f64>,
    psnr: Option<f64>,
    /// Where the level comes from, if `--noise` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    noise: Option<NoiseKind>,
}

/// The arguments, checked against the model.
pub struct Plan<'p> {
    pub predictor: &'p Predictor,
    pub session: &'p Session,
    pub noise: NoisePlan,
    pub class: Option<usize>,
    pub strength: Strength,
    add_noise: Option<AddNoise>,
    /// Whether the kind of the noise is reported.
    report_kind: bool,
    quality: Option<u8>,
    light: LightArg,
    pub extras: Extras<'p>,
}

/// The strengths of `--strength`, `--luma` and `--chroma`.
pub fn strength(args: &Denoise) -> Result<Strength> {
    let Denoise { strength, luma, chroma, .. } = *args;
    for (option, found) in [("strength", strength), ("luma", luma), ("chroma", chroma)] {
        if let Some(found) = found.filter(|found| !(0.0..=MAX_STRENGTH).contains(found)) {
            let text = format!("--{option} is {found}, expected a number from 0 to {MAX_STRENGTH}");
            return Err(WrongCall(text).into());
        }
    }
    let Strength { luma: of_luma, chroma: of_chroma } = Strength::new(strength.unwrap_or(1.0));
    Ok(Strength { luma: luma.unwrap_or(of_luma), chroma: chroma.unwrap_or(of_chroma) })
}

impl<'p> Plan<'p> {
    pub fn new(
        args: &Denoise,
        extras: Extras<'p>,
        predictor: &'p Predictor,
        session: &'p Session,
    ) -> Result<Self> {
        predictor.require_denoiser()?;
        let noise = NoisePlan::new(predictor, (args.noise, args.sigma), args.add_noise)?;
        if args.class.is_some() {
            predictor.joint("denoise for a class")?;
        }
        let class = args.class.as_deref().map(|class| predictor.class(class)).transpose()?;
        let strength = strength(args)?;
        if strength.luma.max(strength.chroma) > 1.0 && predictor.info().network.is_blind() {
            let name = predictor.name();
            tracing::warn!(
                "{name}: a blind model is not conditioned on the noise level: strengths above 1 \
                 are 1"
            );
        }
        let Denoise { add_noise, quality, light, .. } = *args;
        let report_kind = args.noise.is_some();
        Ok(Self {
            predictor,
            session,
            noise,
            class,
            strength,
            add_noise,
            report_kind,
            quality,
            light,
            extras,
        })
    }

    /// A page with its noise, its level, and what is reported of it.
    fn noisy(&self, page: Image, name: &Path) -> Result<(Noisy, DenoisedPage)> {
        let noisy = match self.add_noise {
            Some(noise) => noise
                .add(page, self.session.seed.unwrap_or(0))
                .with_context(|| name.display().to_string())?,
            None => Noisy { image: page, truth: None },
        };
        let (sigma, kind) = self.noise.of(self.predictor, &noisy, name)?;
        let noise = self.report_kind.then_some(kind);
        let psnr_noisy = noisy.psnr(&noisy.image);
        Ok((noisy, DenoisedPage { sigma, psnr_noisy, psnr: None, noise }))
    }

    /// An image, denoised.
    fn denoise(&self, noisy: Image, sigma: f64, name: &Path) -> Result<Image> {
        // The bar is drawn for images of several tiles only: others take too little time.
        let mut bar = crate::progress::Progress::share(self.session);
        bar.set_message(name.display().to_string());
        let (level, class) = (Noise::Level(sigma), self.class);
        let found = self.predictor.denoise_by(noisy, level, class, self.strength, &mut bar);
        bar.finish_and_clear();
        let found = found.with_context(|| name.display().to_string())?;
        Ok(found.context("stopped")?.into_image())
    }

    /// Bytes per pixel of a colour image that the options take.
    fn more_bytes(&self) -> u64 {
        let Strength { luma, chroma } = self.strength;
        let added = if self.add_noise.is_some() { 12 } else { 0 };
        let parts = if luma < 1.0 || chroma < 1.0 || luma != chroma { 24 } else { 0 };
        let uncertainty = if self.extras.uncertain() { UNCERTAINTY_BYTES } else { 0 };
        added + uncertainty.max(parts)
    }

    /// All pages of a file that the format of the output can hold, and the figures of the first;
    /// these alone without a target.
    pub fn file(
        &self,
        index: usize,
        image: &Path,
        target: Option<&Target>,
        notes: &mut Notes,
    ) -> Result<DenoisedFile> {
        // What reading and writing take besides the image would be half as much again as that.
        memory::return_pages();
        let file = images::open(image)?;
        let mut file = match self.light {
            LightArg::Auto => file,
            light => file.with_linear(light == LightArg::Linear),
        };
        notes.of_file(image, &file);
        let format = target.and_then(|target| target.format).unwrap_or(file.format());
        let mut writer = target.map(|_| file.writer(format).with_quality(self.quality));
        let (count, page_name) = (file.pages(), file.page_name());
        if self.extras.any() && count > 1 {
            let text =
                format!("--preview and --uncertainty are of the first of {count} {page_name}s");
            notes.tell(image, &text);
        }
        let (mut pages, mut extras) = (Vec::new(), None);
        for number in 0..if target.is_some() { count } else { 1 } {
            if writer.as_ref().is_some_and(|writer| !writer.has_room()) {
                let (left, format) = (count - number, format.name());
                let all = if page_name == "image" { "PNG and WebP hold" } else { "TIFF holds" };
                let text =
                    format!("{format} holds one {page_name}: {left} more are left out, {all} all");
                notes.say(image, &text);
                break;
            }
            images::check_memory(image, file.pixels(number)?, self.more_bytes())?;
            let page = file.page(number)?;
            if page.is_linear() {
                let text = "linear light: denoised as display values, by the curve of sRGB";
                notes.tell(image, text);
            }
            for lost in page.lost_in(format).into_iter().filter(|_| target.is_some()) {
                notes.say(image, &format!("lost in {}: {lost}", format.name()));
            }
            let name = match count {
                1 => image.to_owned(),
                _ => format!("{}, {page_name} {}", image.display(), number + 1).into(),
            };
            if number + 1 == count {
                file.release();
            }
            memory::keep_pages_for(KEPT);
            let page = page.map_image(|page| {
                let (noisy, mut found) = self.noisy(page, &name)?;
                if number == 0 {
                    let (y, sigma) = (&noisy.image, found.sigma);
                    extras = Some(self.extras.write(self, index, y, sigma, &name)?);
                }
                let Noisy { image, truth } = noisy;
                let image = match &writer {
                    Some(_) => self.denoise(image, found.sigma, &name)?,
                    None => image,
                };
                found.psnr = truth.filter(|_| writer.is_some()).map(|(t, _)| psnr(&image, &t));
                pages.push(found);
                anyhow::Ok(image)
            })?;
            memory::return_pages();
            if let (Some(writer), Some(target)) = (&mut writer, target) {
                writer.add(&target.path, &page)?;
            }
        }
        if let (Some(writer), Some(target)) = (writer, target) {
            target.write(writer)?;
        }
        let first = pages[0];
        if pages.len() == 1 {
            pages.clear();
        }
        let extras = extras.unwrap_or(Written { preview: None, uncertainty: None });
        let out = target.map(|target| shown(&target.path));
        Ok(DenoisedFile { image: shown(image), out, first, pages, extras })
    }
}

fn psnr(image: &Image, truth: &Image) -> f64 {
    metrics::psnr(metrics::mse(image.values(), truth.values()))
}

impl Noisy {
    /// PSNR against the truth, where it is known.
    fn psnr(&self, image: &Image) -> Option<f64> {
        self.truth.as_ref().map(|(truth, _)| psnr(image, truth))
    }
}

impl DenoisedFile {
    /// A line for every file that was written, none for standard output: with PSNR before and after
    /// where the truth is known.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.extras.lines();
        let Some(out) = self.out.as_ref().filter(|out| *out != "-") else { return lines };
        let pages =
            if self.pages.is_empty() { std::slice::from_ref(&self.first) } else { &self.pages };
        for (i, page) in pages.iter().enumerate() {
            let number = if pages.len() > 1 { format!(", page {}", i + 1) } else { String::new() };
            match (page.psnr_noisy, page.psnr) {
                (Some(before), Some(after)) => lines
                    .push(format!("{out}{number}: {before:.2} dB noisy, {after:.2} dB denoised")),
                _ if i == 0 => lines.push(out.clone()),
                _ => {}
            }
        }
        lines
    }
}
