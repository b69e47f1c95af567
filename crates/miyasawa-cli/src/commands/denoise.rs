use super::{
    Outcome,
    each::{Each, each},
    images::{self, Notes},
    model::{self, Level},
    outputs::{Request, Target},
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use anyhow::Context;
use clap::{Args, ValueEnum};
use miyasawa::{
    image::Image,
    metrics,
    predictor::{Noise, Predictor},
};
use miyasawa_kernels::memory;
use serde::Serialize;
use std::path::{Path, PathBuf};

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
/// Examples:
///   miyasawa denoise noisy.png -o clean.png
///   miyasawa denoise photo.jpg --suffix -denoised    # beside it: photo-denoised.jpg
#[doc = "   miyasawa denoise photos -o clean          \
         # a folder: its images, under their names, in their formats"]
///   miyasawa denoise photos --recursive -o clean     # with the folders in it
///   miyasawa denoise model.safetensors noisy.png --sigma 0.2 -o clean.png
///   miyasawa denoise model.safetensors clean.png --add-noise 0.2 -o restored.png
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
    /// Standard deviation of the noise, in units of the [-1, 1] range (25 of 255 is 0.196); `auto`
    /// estimates it from each image [default: that of --add-noise, else auto]
    #[arg(long, value_name = "S", value_parser = model::parse_level)]
    sigma: Option<Level>,
    /// Add noise of this level to the image first, to test the denoiser on a clean image
    #[arg(long, value_name = "S")]
    add_noise: Option<f64>,
    /// Class of the images, by name or number, for D(y, C) [default: unknown]
    #[arg(long, value_name = "C")]
    class: Option<String>,
    /// File for the denoised image, whose name gives the format; - for standard output; a folder if
    /// several images are given or if it ends in /, where images keep their names and formats
    #[arg(short, long)]
    out: Option<PathBuf>,
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
        out: String,
        skipped: bool,
    },
}

/// Milliseconds for which freed memory is kept while an image is denoised: tiles reuse it.
const KEPT: u16 = 1000;

/// An image and its denoised file. The numbers are those of the first page.
#[derive(Serialize)]
struct DenoisedFile {
    image: String,
    out: String,
    #[serde(flatten)]
    first: DenoisedPage,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pages: Vec<DenoisedPage>,
}

/// The noise level of a page; with `--add-noise`, PSNR before and after.
#[derive(Clone, Copy, Serialize)]
struct DenoisedPage {
    sigma: f64,
    psnr_noisy: Option<f64>,
    psnr: Option<f64>,
}

/// What is done to every page: the arguments, checked against the model.
struct Plan<'p> {
    predictor: &'p Predictor,
    /// The level of all pages; nothing where it is estimated.
    sigma: Option<f64>,
    class: Option<usize>,
    add_noise: Option<f64>,
    quality: Option<u8>,
    light: LightArg,
    session: &'p Session,
}

impl<'p> Plan<'p> {
    fn new(args: &Denoise, predictor: &'p Predictor, session: &'p Session) -> anyhow::Result<Self> {
        predictor.require_denoiser()?;
        let level = args.sigma.unwrap_or(args.add_noise.map_or(Level::Auto, Level::Given));
        let sigma = model::given(predictor, level)?;
        if args.class.is_some() {
            predictor.joint("denoise for a class")?;
        }
        let class = args.class.as_deref().map(|class| predictor.class(class)).transpose()?;
        let Denoise { add_noise, quality, light, .. } = *args;
        Ok(Self { predictor, sigma, class, add_noise, quality, light, session })
    }

    /// A page, denoised.
    fn denoise(&self, page: Image, name: &Path) -> anyhow::Result<(Image, DenoisedPage)> {
        // The clean image is known only if the noise is added here.
        let clean = self.add_noise.map(|_| page.clone());
        let noisy = match self.add_noise {
            Some(level) => model::add_noise(page, level, self.session.seed.unwrap_or(0))?,
            None => page,
        };
        let psnr = |image: &Image| {
            let clean = clean.as_ref()?;
            Some(metrics::psnr(metrics::mse(image.values(), clean.values())))
        };
        let psnr_noisy = psnr(&noisy);
        let estimate = || model::estimate_sigma(self.predictor, &noisy, name);
        let sigma = self.sigma.unwrap_or_else(estimate);
        // The bar is drawn for images of several tiles only: others take too little time.
        let mut bar = crate::progress::Progress::share(self.session);
        bar.set_message(name.display().to_string());
        let found = self.predictor.denoise_owned(noisy, Noise::Level(sigma), self.class, &mut bar);
        bar.finish_and_clear();
        let found = found.with_context(|| name.display().to_string())?;
        let found = found.context("stopped")?;
        let page = DenoisedPage { sigma, psnr_noisy, psnr: psnr(found.image()) };
        Ok((found.into_image(), page))
    }

    /// All pages of a file that the format of the output can hold.
    fn file(
        &self,
        image: &Path,
        target: &Target,
        notes: &mut Notes,
    ) -> anyhow::Result<DenoisedFile> {
        // What reading and writing take besides the image would be half as much again as that.
        memory::return_pages();
        let file = images::open(image)?;
        let mut file = match self.light {
            LightArg::Auto => file,
            light => file.with_linear(light == LightArg::Linear),
        };
        notes.of_file(image, &file);
        let format = target.format.unwrap_or(file.format());
        let mut writer = file.writer(format).with_quality(self.quality);
        let mut pages = Vec::new();
        for number in 0..file.pages() {
            if !writer.has_room() {
                let left = file.pages() - number;
                let (format, name) = (format.name(), file.page_name());
                let all = if name == "image" { "PNG and WebP hold" } else { "TIFF holds" };
                let text =
                    format!("{format} holds one {name}: {left} more are left out, {all} all");
                notes.say(image, &text);
                break;
            }
            images::check_memory(image, file.pixels(number)?)?;
            let page = file.page(number)?;
            if page.is_linear() {
                let text = "linear light: denoised as display values, by the curve of sRGB";
                notes.tell(image, text);
            }
            for lost in page.lost_in(format) {
                notes.say(image, &format!("lost in {}: {lost}", format.name()));
            }
            let name = match file.pages() {
                1 => image.to_owned(),
                _ => format!("{}, {} {}", image.display(), file.page_name(), number + 1).into(),
            };
            if number + 1 == file.pages() {
                file.release();
            }
            memory::keep_pages_for(KEPT);
            let page = page.map_image(|image| {
                let (denoised, found) = self.denoise(image, &name)?;
                pages.push(found);
                anyhow::Ok(denoised)
            })?;
            memory::return_pages();
            writer.add(&target.path, &page)?;
        }
        target.write(writer)?;
        let first = pages[0];
        if pages.len() == 1 {
            pages.clear();
        }
        Ok(DenoisedFile { image: shown(image), out: shown(&target.path), first, pages })
    }
}

/// Prints the output file, and PSNR before and after where the clean image is known.
fn print(found: &DenoisedFile) {
    let out = &found.out;
    let pages =
        if found.pages.is_empty() { std::slice::from_ref(&found.first) } else { &found.pages };
    for (i, page) in pages.iter().enumerate() {
        let number = if pages.len() > 1 { format!(", page {}", i + 1) } else { String::new() };
        match (page.psnr_noisy, page.psnr) {
            (Some(before), Some(after)) => {
                outln!("{out}{number}: {before:.2} dB noisy, {after:.2} dB denoised");
            }
            _ if i == 0 => outln!("{out}"),
            _ => {}
        }
    }
}

pub fn run(args: &Denoise, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    model::check_noise(args.add_noise)?;
    let Denoise { out, suffix, recursive, overwrite, .. } = args;
    let (out, suffix) = (out.as_deref(), suffix.as_deref());
    let advice = "--recursive takes their images too";
    let search = images::Search { recursive: *recursive, out, suffix, advice };
    let inputs = images::expand(model::some_images(images)?, &search)?;
    let request = Request { out, suffix, inputs: &inputs, model: path, overwrite: *overwrite };
    let outputs = request.plan()?;
    if session.json && outputs.targets.iter().any(Target::is_standard) {
        return Err(
            WrongCall("--json and --out - would both write to standard output".into()).into()
        );
    }
    let predictor = model::load(path, session)?;
    let plan = Plan::new(args, &predictor, session)?;
    outputs.make_folder()?;
    let mut notes = Notes::default();
    let (images, outcome) = each(&inputs.images, |i, image| {
        let target = &outputs.targets[i];
        if target.done {
            let (image, out) = (shown(image), shown(&target.path));
            return Ok(Item::There { image, out, skipped: true });
        }
        let found = plan.file(image, target, &mut notes)?;
        if !session.json && !session.quiet && !target.is_standard() {
            print(&found);
        }
        Ok(Item::Denoised(found))
    })?;
    notes.finish();
    let all = images.len();
    let there = outputs.targets.iter().filter(|target| target.done).count();
    if there > 0 {
        tracing::info!("{there} of {all} images were there already; --overwrite makes them anew");
    }
    let failed = images.iter().filter(|image| matches!(image, Each::Failed { .. })).count();
    if failed > 0 {
        tracing::warn!("{failed} of {all} images failed; the same call tries them again");
    }
    if session.json {
        let report = Report { model: predictor.name().to_owned(), sigma: plan.sigma, images };
        session.print_json(&report)?;
    }
    Ok(outcome)
}
