use super::{
    Outcome,
    each::each,
    measured::bar,
    model::{self, Level},
};
use crate::args::{Session, WrongCall};
use crate::output::shown;
use anyhow::Context;
use clap::Args;
use miyasawa::{infer, metrics, picture::Picture};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// Remove noise from pictures: the Tweedie-Miyasawa denoiser at the picture's own size.
///
/// Grey pictures stay grey and colour stays colour, whichever the model was trained on; 16 bits stay 16 where the format
/// (PNG, TIFF) can hold them. Of several pictures one that cannot be read costs that one, and the exit status is 1.
///
/// Examples:
///   miyasawa denoise noisy.png -o clean.png
///   miyasawa denoise model.safetensors noisy.png --sigma 0.2 -o clean.png
///   miyasawa denoise model.safetensors clean.png --add-noise 0.2 -o restored.png
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, override_usage = "miyasawa denoise [OPTIONS] --out <OUT> [MODEL] IMAGE...")]
pub struct Denoise {
    /// [MODEL] IMAGE...: a checkpoint, then pictures (PNG, JPEG, WebP, TIFF, BMP, GIF)
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
    /// The denoised picture; a folder if several are given
    #[arg(short, long)]
    out: PathBuf,
}

pub fn run(args: &Denoise, session: &Session) -> anyhow::Result<Outcome> {
    let (path, images) = model::split_model(&args.paths);
    let images = model::some_images(images)?;
    if images.len() > 1 && args.out.is_file() {
        return Err(WrongCall("several pictures are given: --out must be a folder".into()).into());
    }
    model::check_noise(args.add_noise)?;
    let targets = targets(&args.out, images)?;
    let loaded = model::load(path, session)?;
    loaded.must_denoise()?;
    let level = args.sigma.unwrap_or(args.add_noise.map_or(Level::Auto, Level::Given));
    let given = loaded.given(level)?;
    if args.class.is_some() {
        loaded.joint("denoise for a class")?;
    }
    let label = args.class.as_deref().map(|class| loaded.class(class)).transpose()?;
    if images.len() > 1 {
        std::fs::create_dir_all(&args.out)
            .with_context(|| format!("{}: cannot be made", args.out.display()))?;
    }
    let one = |image: &Path, out: &Path| -> anyhow::Result<Value> {
        let clean = Picture::open(image)?;
        let noisy = match args.add_noise {
            Some(level) => model::add_noise(clean.clone(), level, session.seed.unwrap_or(0))?,
            None => clean.clone(),
        };
        let sigma = given.unwrap_or_else(|| loaded.told_level(&noisy, image));
        // Drawn for pictures of several parts only: others take no time.
        let bar = bar(session);
        let mut progress = |share: f64| {
            bar.set_message(image.display().to_string());
            bar.set_position((1000.0 * share) as u64);
        };
        let (model, info, device) = (&loaded.model, &loaded.info, &loaded.device);
        let denoised = infer::denoise_any(model, info, &noisy, sigma, label, device, &mut progress)?;
        bar.finish_and_clear();
        let finite = |picture: &Picture| picture.values().iter().all(|value| value.is_finite());
        let Some(denoised) = denoised.filter(finite) else {
            anyhow::bail!("{}: the model gives no numbers at noise level {sigma}", image.display());
        };
        let denoised = denoised.with_depth(clean.depth());
        denoised.save(out)?;
        // Only where the noise is ours is the clean picture known.
        let psnr = args.add_noise.map(|_| {
            let of = |values: &[f32]| metrics::psnr(metrics::mse(values, clean.values()));
            (of(noisy.values()), of(denoised.values()))
        });
        if !session.json {
            match psnr {
                Some((before, after)) => {
                    outln!("{}: {before:.2} dB noisy, {after:.2} dB denoised", out.display());
                }
                None => outln!("{}", out.display()),
            }
        }
        Ok(json!({
            "image": shown(image), "out": shown(out), "sigma": sigma, "psnr_noisy": psnr.map(|p| p.0),
            "psnr": psnr.map(|p| p.1),
        }))
    };
    let (documents, outcome) = each(images, |i, image| one(image, &targets[i]))?;
    if session.json {
        session.print_json(&json!({ "model": loaded.name, "sigma": given, "images": documents }))?;
    }
    Ok(outcome)
}

/// The file of every denoised picture; in a folder, the picture's name with the extension png.
fn targets(out: &Path, images: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if images.len() == 1 && !out.is_dir() {
        model::check_output(out)?;
        return Ok(vec![out.to_owned()]);
    }
    let name = |image: &PathBuf| {
        out.join(format!("{}.png", image.file_stem().unwrap_or_default().to_string_lossy()))
    };
    let targets: Vec<PathBuf> = images.iter().map(name).collect();
    let sources: HashSet<PathBuf> = images.iter().filter_map(|image| image.canonicalize().ok()).collect();
    let mut seen = HashSet::new();
    for (target, image) in targets.iter().zip(images) {
        // Names are made here, not asked for: they must not cost the caller a picture.
        if target.canonicalize().is_ok_and(|target| sources.contains(&target)) {
            let text = format!("{}: --out would replace a picture that is given", target.display());
            return Err(WrongCall(text).into());
        }
        if !seen.insert(target) {
            let text = format!("{}: another picture goes to {} too", image.display(), target.display());
            return Err(WrongCall(text).into());
        }
    }
    Ok(targets)
}
