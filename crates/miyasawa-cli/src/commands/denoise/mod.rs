//! `miyasawa denoise`: its arguments, and what is done with all images.

mod extras;
mod noise;
mod plan;

use super::{
    Outcome,
    each::{Each, each},
    images::{self, Notes},
    model::{self, Level},
    outputs::{Request, Target},
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use clap::{Args, ValueEnum};
use extras::Extras;
use miyasawa::{bundled::BundledModel, predictor::Strength};
use noise::{AddNoise, NoiseArg};
use plan::{DenoisedFile, Plan};
use serde::Serialize;
use std::path::PathBuf;

/// Remove noise from images: the Tweedie-Miyasawa denoiser at the image's own size.
///
/// Grey images stay grey and colour stays colour, whichever the model was trained on. 16 bits and
/// floats stay what they are where the format (PNG, TIFF, PNM, OpenEXR) can hold them.
/// Transparency, colour profile, EXIF, XMP, IPTC and resolution are kept, linear light comes back
/// as linear light. All pages of a TIFF and all images of an animation are denoised. What a format
/// cannot hold is reported.
///
/// In a folder, images that are there already are left as they are, so that an interrupted call
/// goes on when it is repeated. If one of several images cannot be read, the others are still
/// denoised, and the exit status is 1.
///
/// --strength, --luma and --chroma say how strongly the luma and the colour around it are denoised.
/// Up to 1 it is the share of the correction that is applied: 0 leaves a part as it is. Above 1 the
/// model is conditioned on that multiple of the noise level. Colour noise is never wanted, so
/// --strength leaves the colour at 1 where the luma's is below.
///
/// Examples:
///   miyasawa denoise noisy.png -o clean.png
///   miyasawa denoise photo.jpg --suffix -denoised    # beside it: photo-denoised.jpg
#[doc = "   miyasawa denoise photos -o clean          \
         # a folder: its images, under their names, in their formats"]
///   miyasawa denoise photos --recursive -o clean     # with the folders in it
///   miyasawa denoise model.safetensors noisy.png --sigma 0.2 -o clean.png
///   miyasawa denoise model.safetensors clean.png --add-noise 0.2 -o restored.png
///   miyasawa denoise photo.jpg --preview look.png    # before, after, difference: a part of it
///   miyasawa denoise photo.jpg --strength 0.7 -o clean.jpg
///   miyasawa denoise clean.png --add-noise camera:3200 -o restored.png
///   scan | miyasawa denoise - -o - > clean.tif
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "miyasawa denoise [OPTIONS] --out <OUT> [MODEL] IMAGE..."
)]
pub struct Denoise {
    /// [MODEL] IMAGE...: a checkpoint, then images (PNG, JPEG, WebP, TIFF, BMP, GIF, QOI, PNM,
    /// JPEG XL, OpenEXR), folders of them, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    bundled: model::BundledArg,
    /// Standard deviation of the noise, in units of the [-1, 1] range (25 of 255 is 0.196); `auto`
    /// estimates it from each image [default: that of --add-noise, else auto]
    #[arg(long, value_name = "S", value_parser = model::parse_level)]
    sigma: Option<Level>,
    /// Kind of the noise: `white`, `white:S` (as --sigma S), or `camera`, for noise that depends on
    /// the intensity and is correlated, also by JPEG; `auto` asks the image, or is white for models
    /// that have not learned the noise of cameras [default: auto]
    #[arg(long, value_name = "KIND", value_parser = noise::parse_noise, conflicts_with = "sigma")]
    noise: Option<NoiseArg>,
    /// Add noise to the image first, to test the denoiser on a clean image: white noise of the
    /// level S, or camera:ISO for that of a simulated camera (PSNR is then against what the camera
    /// shows without noise)
    #[arg(long, value_name = "S", value_parser = noise::parse_add_noise)]
    add_noise: Option<AddNoise>,
    /// How strongly to denoise, 0 to 1.5: below 1 the luma's detail comes back and the colour noise
    /// does not; above 1 the model is conditioned on F times the noise level [default: 1]
    #[arg(long, value_name = "F")]
    strength: Option<f64>,
    /// Strength for the luma, and for grey images, 0 to 1.5 [default: that of --strength]
    #[arg(long, value_name = "F")]
    luma: Option<f64>,
    /// Strength for the colour, 0 to 1.5 [default: that of --strength, at least 1]
    #[arg(long, value_name = "F")]
    chroma: Option<f64>,
    #[command(flatten)]
    views: model::ViewsArg,
    /// Class of the images, by name or number, for D(y, C) [default: unknown]
    #[arg(long, value_name = "C")]
    class: Option<String>,
    /// File for the denoised image, whose name gives the format; - for standard output; a folder if
    /// several images are given or if it ends in /, where images keep their names and formats
    #[arg(short, long)]
    out: Option<PathBuf>,
    /// Draw a part of the image, of 256 by 256 pixels, before and after denoising, and what is
    /// removed, amplified; without --out, nothing else is done
    #[arg(long, value_name = "FILE")]
    preview: Option<PathBuf>,
    /// Write the standard deviation of the clean image given the noisy one, pixel by pixel, as PNG,
    /// TIFF or PNM of 16 bits: black is 0, what white is is printed; takes as long as 16 images; a
    /// folder if several images are given
    #[arg(long, value_name = "FILE")]
    uncertainty: Option<PathBuf>,
    /// Put this after the names of the denoised images, before the ending; without --out, they go
    /// beside their sources
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    suffix: Option<String>,
    /// Take the images of folders in folders too; --out gets the same folders
    #[arg(short, long)]
    recursive: bool,
    /// Replace denoised images that are there already, and allow one to replace its source
    #[arg(long)]
    overwrite: bool,
    /// Quality of JPEG, 1 to 100 [default: that of the image, at least 90; 95 for other formats]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
    /// What the values of the images are: linear light, or display values; `auto` asks the file
    #[arg(long, value_name = "LIGHT", default_value = "auto")]
    light: LightArg,
}

/// `--light`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LightArg {
    // A comment for documentation would be printed as a list in the help.
    Auto,
    Linear,
    Display,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Report {
    model: String,
    /// The level of all images; nothing where it is estimated for each image.
    sigma: Option<f64>,
    /// Where it is not 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<Strength>,
    images: Vec<Each<Item>>,
}

/// What became of an image.
#[derive(Serialize)]
#[serde(untagged)]
enum Item {
    Denoised(DenoisedFile),
    /// Its denoised file was there already.
    There {
        image: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        out: Option<String>,
        skipped: bool,
    },
}

pub fn run(args: &Denoise, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    args.add_noise.map_or(Ok(()), AddNoise::check)?;
    plan::strength(args)?;
    let Denoise { out, suffix, recursive, overwrite, .. } = args;
    let (out, suffix) = (out.as_deref(), suffix.as_deref());
    let advice = "--recursive takes their images too";
    let outs = out.into_iter().chain(args.uncertainty.as_deref()).collect();
    let search = images::Search { recursive: *recursive, out: outs, suffix, advice };
    let inputs = images::expand(model::some_images(images)?, &search)?;
    let extras = Extras::new(args, &inputs, path)?;
    let request = Request { out, suffix, inputs: &inputs, model: path, overwrite: *overwrite };
    // Without a name for denoised images, those of the figures are enough.
    let named = out.is_some() || suffix.is_some() || !extras.any();
    let outputs = if named { Some(request.plan()?) } else { None };
    let targets = outputs.as_ref().map_or(&[][..], |outputs| &outputs.targets);
    if session.json && targets.iter().any(Target::is_standard) {
        return Err(
            WrongCall("--json and --out - would both write to standard output".into()).into()
        );
    }
    if let [target] = targets {
        extras.check_out(&target.path)?;
    }
    out.map_or(Ok(()), |out| extras.check_out(out))?;
    let source = args.bundled.or_file(path, BundledModel::Photo)?;
    let predictor = model::load_with(source, args.views, session)?;
    let plan = Plan::new(args, extras, &predictor, session)?;
    outputs.as_ref().map_or(Ok(()), super::outputs::Plan::make_folder)?;
    plan.extras.make_folder()?;
    let mut there = 0;
    let mut notes = Notes::default();
    let (images, outcome) = each(&inputs.images, |i, image| {
        let target = targets.get(i);
        let open = target.filter(|target| !target.done);
        if open.is_none() && !plan.extras.of(i) {
            there += 1;
            let out = target.map(|target| shown(&target.path));
            return Ok(Item::There { image: shown(image), out, skipped: true });
        }
        let found = plan.file(i, image, open, &mut notes)?;
        let standard = target.is_some_and(Target::is_standard);
        for line in found.lines().into_iter().filter(|_| !session.json && !session.quiet) {
            // Standard output is the image's.
            if standard { tracing::info!("{line}") } else { outln!("{line}") }
        }
        Ok(Item::Denoised(found))
    })?;
    notes.finish();
    let all = images.len();
    if there > 0 {
        tracing::info!("{there} of {all} images were there already; --overwrite makes them anew");
    }
    let failed = images.iter().filter(|image| matches!(image, Each::Failed { .. })).count();
    if failed > 0 {
        tracing::warn!("{failed} of {all} images failed; the same call tries them again");
    }
    if session.json {
        let model = predictor.name().to_owned();
        let strength = (plan.strength != Strength::default()).then_some(plan.strength);
        let report = Report { model, sigma: plan.noise.sigma, strength, images };
        session.print_json(&report)?;
    }
    Ok(outcome)
}
