use super::{
    Outcome,
    each::each,
    measured::bar,
    model::{self, Level},
    outputs::{Request, Target},
    pictures::{self, Notes},
};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use clap::Args;
use miyasawa::{
    infer, metrics,
    picture::{Picture, PictureWriter},
};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

/// Remove noise from pictures: the Tweedie-Miyasawa denoiser at the picture's own size.
///
/// Grey pictures stay grey and colour stays colour, whichever the model was trained on; 16 bits stay 16 where the format
/// (PNG, TIFF) can hold them. Transparency, colour profile, EXIF and resolution are kept; all pages of a TIFF are denoised,
/// and its numbers stay of their kind. Of several pictures one that cannot be read costs that one, and the exit status is 1.
///
/// Examples:
///   miyasawa denoise noisy.png -o clean.png
///   miyasawa denoise photos -o clean          # a folder: its pictures, under their names, in their formats
///   miyasawa denoise model.safetensors noisy.png --sigma 0.2 -o clean.png
///   miyasawa denoise model.safetensors clean.png --add-noise 0.2 -o restored.png
///   scan | miyasawa denoise - -o - > clean.tif
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, override_usage = "miyasawa denoise [OPTIONS] --out <OUT> [MODEL] IMAGE...")]
pub struct Denoise {
    /// [MODEL] IMAGE...: a checkpoint, then pictures (PNG, JPEG, WebP, TIFF, BMP, GIF), folders of them, or - for standard
    /// input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Standard deviation of the noise, in units of the [-1, 1] range (25 of 255 is 0.196); `auto` tells it from each
    /// picture [default: that of --add-noise, else auto]
    #[arg(long, value_name = "S", value_parser = model::parse_level)]
    sigma: Option<Level>,
    /// Add noise of this level to the picture first, to try the denoiser on a clean one
    #[arg(long, value_name = "S")]
    add_noise: Option<f64>,
    /// Use D(y, C): the picture is known to show this class, by name or number
    #[arg(long, value_name = "C")]
    class: Option<String>,
    /// The denoised picture, in the format of its name; - for standard output; a folder if several are given, or for one
    /// with a / at its end: there they keep their names and formats
    #[arg(short, long)]
    out: PathBuf,
    /// Let a denoised picture take the place of the one that it was made of
    #[arg(long)]
    overwrite: bool,
}

/// PSNR before and after.
type Gain = (f64, f64);

pub fn run(args: &Denoise, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    model::check_noise(args.add_noise)?;
    let inputs = pictures::expand(model::some_images(images)?)?;
    let Denoise { out, overwrite, .. } = args;
    let plan = Request { out, inputs: &inputs, model: path, overwrite: *overwrite }.plan()?;
    if session.json && plan.targets.iter().any(Target::is_standard) {
        return Err(WrongCall("--json and --out - would both write to standard output".into()).into());
    }
    let loaded = model::load(path, session)?;
    loaded.must_denoise()?;
    let level = args.sigma.unwrap_or(args.add_noise.map_or(Level::Auto, Level::Given));
    let given = loaded.given(level)?;
    if args.class.is_some() {
        loaded.joint("denoise for a class")?;
    }
    let label = args.class.as_deref().map(|class| loaded.class(class)).transpose()?;
    plan.make_folder()?;
    // A page with its noise level, denoised; and where the noise is ours, what was gained.
    let denoise = |clean: &Picture, name: &Path| -> anyhow::Result<(Picture, f64, Option<Gain>)> {
        let noisy = match args.add_noise {
            Some(level) => Cow::Owned(model::add_noise(clean.clone(), level, session.seed.unwrap_or(0))?),
            None => Cow::Borrowed(clean),
        };
        let sigma = given.unwrap_or_else(|| loaded.estimate_sigma(&noisy, name));
        // Drawn for pictures of several parts only: others take no time.
        let bar = bar(session);
        let mut progress = |share: f64| {
            bar.set_message(name.display().to_string());
            bar.set_position((1000.0 * share) as u64);
        };
        let (model, info, device) = (&loaded.model, &loaded.info, &loaded.device);
        let denoised = infer::denoise_any(model, info, &noisy, sigma, label, device, &mut progress)?;
        bar.finish_and_clear();
        let finite = |picture: &Picture| picture.values().iter().all(|value| value.is_finite());
        let Some(denoised) = denoised.filter(finite) else {
            anyhow::bail!("{}: the model gives no numbers at noise level {sigma}", name.display());
        };
        // Only where the noise is ours is the clean picture known.
        let psnr = args.add_noise.map(|_| {
            let of = |values: &[f32]| metrics::psnr(metrics::mse(values, clean.values()));
            (of(noisy.values()), of(denoised.values()))
        });
        Ok((denoised, sigma, psnr))
    };
    let mut notes = Notes::default();
    let mut one = |image: &Path, target: &Target| -> anyhow::Result<Value> {
        let file = pictures::open(image)?;
        notes.of_file(image, &file);
        let format = target.format.unwrap_or(file.format());
        let mut writer = PictureWriter::new(format);
        let mut pages = Vec::new();
        for number in 0..file.pages() {
            if !writer.has_room() {
                let left = file.pages() - number;
                let text =
                    format!("{} holds one page: {left} more are left out, TIFF holds all", format.name());
                notes.say(image, &text);
                break;
            }
            pictures::check_memory(image, file.pixels(number)?)?;
            let page = file.page(number)?;
            for lost in page.lost_in(format) {
                notes.say(image, &format!("lost in {}: {lost}", format.name()));
            }
            let name = match file.pages() {
                1 => image.to_owned(),
                _ => format!("{}, page {}", image.display(), number + 1).into(),
            };
            let (denoised, sigma, psnr) = denoise(page.picture(), &name)?;
            writer.add(&target.path, &page.with_picture(denoised)?)?;
            pages.push((sigma, psnr));
        }
        target.write(writer)?;
        if !session.json && !session.quiet && !target.is_standard() {
            let out = target.path.display();
            for (i, (_, psnr)) in pages.iter().enumerate() {
                let page = if pages.len() > 1 { format!(", page {}", i + 1) } else { String::new() };
                match psnr {
                    Some((before, after)) => {
                        outln!("{out}{page}: {before:.2} dB noisy, {after:.2} dB denoised");
                    }
                    None if i == 0 => outln!("{out}"),
                    None => {}
                }
            }
        }
        let page = |(sigma, psnr): &(f64, Option<Gain>)| json!({ "sigma": sigma, "psnr_noisy": psnr.map(|p| p.0), "psnr": psnr.map(|p| p.1) });
        // The numbers of a picture are those of its first page.
        let mut document = page(&pages[0]);
        document["image"] = json!(shown(image));
        document["out"] = json!(shown(&target.path));
        if pages.len() > 1 {
            document["pages"] = pages.iter().map(page).collect();
        }
        Ok(document)
    };
    let (documents, outcome) = each(&inputs.images, |i, image| one(image, &plan.targets[i]))?;
    notes.finish();
    if session.json {
        session.print_json(&json!({ "model": loaded.name, "sigma": given, "images": documents }))?;
    }
    Ok(outcome)
}
