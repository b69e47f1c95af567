//! The demonstration: a joint model and a plain classifier of the same size on the embedded digits,
//! compared, with one report.
//!
//! ```
//! use miyasawa::{Device, demo::{DemoOptions, run}, report::Provenance};
//! let folder = tempfile::tempdir()?;
//! let (out, from) = (folder.path().join("demo"), Provenance::now(std::env::args_os()));
//! // A few steps, to be quick.
//! let options = DemoOptions { out: out.clone(), steps: Some(2), attacked: 8, seed: 0, from };
//! let found = run(&options, &Device::flex(), &mut |_, _| ())?.expect("nobody stops it");
//! assert!(found.identity_error < 1e-3 && out.join("report.html").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::atomic::write_atomic;
use crate::attack::{Norm, Pgd, robust_accuracy};
use crate::checkpoint::Checkpoint;
use crate::classifier::Posterior;
use crate::data::Dataset;
use crate::eval::noisy_batch;
use crate::experiment::ExperimentError;
use crate::explain::explain;
use crate::infer::to_images;
use crate::metrics::{Best, Estimate, distinct_best, wilson};
use crate::model::{GradResNet, JointModel, Model};
use crate::report::{
    self, PERCENT, Page, Plot, Provenance, Series, TableOptions, percent_within, with_error,
};
use crate::train::{Observer, TrainConfig, Trainer, config::ConfigError, discard_run};
use burn::tensor::Device;
use std::path::{Path, PathBuf};

/// Steps of the attack.
const PGD_STEPS: usize = 20;
/// Sizes of the attack, in units of the [0, 1] pixel range.
const EPS: [f64; 5] = [0.0, 0.25, 0.5, 1.0, 1.5];
/// Noise level of the explanation.
const EXPLAINED_SIGMA: f64 = 0.4;

/// The settings of the demonstration.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The folder for models, images and the report.
    pub out: PathBuf,
    /// Training steps of each model; `None` for about a minute on two cores.
    pub steps: Option<u64>,
    /// Images that are attacked.
    pub attacked: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// The provenance of the report.
    pub from: Provenance,
}

/// Both models at a noise level.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DemoNoiseRow {
    /// The noise level.
    pub sigma: f64,
    /// Accuracy of the joint model.
    pub joint_accuracy: f64,
    /// Its 95% interval ([`wilson`]).
    pub joint_interval: Option<[f64; 2]>,
    /// Accuracy of the plain classifier.
    pub plain_accuracy: f64,
    /// Its 95% interval.
    pub plain_interval: Option<[f64; 2]>,
    /// PSNR of the noisy image, in decibel.
    pub psnr_noisy: f64,
    /// PSNR of the joint model's `D(y)`, in decibel.
    pub psnr: f64,
    /// Its standard error.
    pub psnr_error: Option<f64>,
}

/// Both models under attack.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DemoRobustRow {
    /// Size of the attack, in units of the [0, 1] pixel range.
    pub eps: f64,
    /// Robust accuracy of the joint model.
    pub joint: f64,
    /// Its 95% interval ([`wilson`]).
    pub joint_interval: [f64; 2],
    /// Robust accuracy of the plain classifier.
    pub plain: f64,
    /// Its 95% interval.
    pub plain_interval: [f64; 2],
}

/// The result of the demonstration.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DemoResult {
    /// A row for every noise level.
    pub rows: Vec<DemoNoiseRow>,
    /// A row for every size of the attack.
    pub robust: Vec<DemoRobustRow>,
    /// Steps of the attack.
    pub pgd_steps: usize,
    /// Images that were attacked.
    pub attacked: usize,
    /// Largest deviation of the adversarial gradient from the difference of denoisers, relative.
    pub identity_error: f64,
    /// Images that both models were measured on without an attack.
    pub count: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Hashes of the joint model and of the plain classifier.
    pub sha256: [String; 2],
    /// The provenance of the report.
    pub provenance: Provenance,
}

/// The configuration of the joint model; the plain classifier is trained without denoising and
/// noise.
fn joint_config(options: &DemoOptions) -> Result<TrainConfig, ConfigError> {
    let mut config = TrainConfig::load(None, &[])?;
    config.seed = options.seed;
    config.network.width = 16;
    config.network.blocks = vec![1, 1, 1];
    config.schedule.steps = Some(options.steps.unwrap_or(500));
    config.schedule.batch = 64;
    config.optimizer.ema = 0.99;
    config.augment.crop = Some(1);
    config.eval.every = config.schedule.steps;
    Ok(config)
}

fn plain_config(joint: &TrainConfig) -> TrainConfig {
    let mut config = joint.clone();
    config.network.blind = true;
    config.loss.dsm_weight = 0.0;
    (config.noise.min, config.noise.max) = (0.0, 0.0);
    config
}

struct Trained {
    model: JointModel<GradResNet>,
    rows: Vec<crate::eval::EvalRow>,
    test: Dataset,
    sigma: f64,
    sha256: String,
}

fn train<O: Observer>(
    config: TrainConfig,
    out: &Path,
    device: &Device,
    observe: &mut dyn FnMut(&TrainConfig, u64) -> O,
) -> Result<Option<Trained>, ExperimentError> {
    // The demonstration never resumes.
    discard_run(out)?;
    let trainer = Trainer::new(config.clone(), device)?;
    let mut observer = observe(&config, trainer.total_steps());
    let finish = trainer.run(out, false, &mut observer)?;
    if !finish.complete {
        return Ok(None);
    }
    let path = out.join("model.safetensors");
    let (checkpoint, sha256) = Checkpoint::load_with_hash(&path)?;
    let Model::Joint(model) = checkpoint.model(device, &path)? else { return Ok(None) };
    let sigma = config.noise.min;
    let test = trainer.test_set().sample(usize::MAX)?;
    Ok(Some(Trained { model, rows: finish.rows, test, sigma, sha256 }))
}

/// Trains both models, compares them and writes the report; `observe` returns an observer for each
/// training. Returns `None` if an observer stopped one.
///
/// # Errors
/// If a file cannot be written or a training diverges.
pub fn run<O: Observer>(
    options: &DemoOptions,
    device: &Device,
    observe: &mut dyn FnMut(&TrainConfig, u64) -> O,
) -> Result<Option<DemoResult>, ExperimentError> {
    let config = joint_config(options)?;
    let out = &options.out;
    let Some(joint) = train(config.clone(), &out.join("joint"), device, observe)? else {
        return Ok(None);
    };
    let Some(plain) = train(plain_config(&config), &out.join("plain"), device, observe)? else {
        return Ok(None);
    };
    let rows = joint.rows.iter().zip(&plain.rows).map(|(joint, plain)| DemoNoiseRow {
        sigma: joint.sigma,
        joint_accuracy: joint.accuracy.unwrap_or(f64::NAN),
        joint_interval: joint.errors.accuracy_interval,
        plain_accuracy: plain.accuracy.unwrap_or(f64::NAN),
        plain_interval: plain.errors.accuracy_interval,
        psnr_noisy: joint.psnr_noisy.unwrap_or(f64::NAN),
        psnr: joint.psnr.unwrap_or(f64::NAN),
        psnr_error: joint.errors.psnr_error,
    });
    let rows: Vec<DemoNoiseRow> = rows.collect();
    let attacked = joint.test.subset(options.attacked)?;
    let robust = |trained: &Trained, eps: f64| {
        let shape = [attacked.channels(), attacked.height(), attacked.width()];
        let classifier = Posterior::new(&trained.model, trained.sigma, shape, device);
        robust_accuracy(
            &classifier,
            &attacked,
            &Pgd::new(Norm::L2, eps, PGD_STEPS, options.seed),
            64,
        )
    };
    let row = |&eps: &f64| {
        let [joint, plain] = [robust(&joint, eps), robust(&plain, eps)];
        let [joint_interval, plain_interval] =
            [joint, plain].map(|share| wilson(share, attacked.len()));
        DemoRobustRow { eps, joint, joint_interval, plain, plain_interval }
    };
    let robust: Vec<DemoRobustRow> = EPS.iter().map(row).collect();

    let grid = report::denoising_grid(&joint.model, &joint.test, &config.eval.sigmas, device)?;
    grid.save_png(out.join("denoised.png"))?;
    // An image of one digit, explained for another.
    let batch = noisy_batch(&joint.test, [0, 1], EXPLAINED_SIGMA, [options.seed, 0], device);
    let y = to_images(batch.y).remove(0);
    let other = (joint.test.labels()[0] as usize + 5) % joint.test.classes().len();
    let explained = explain(&joint.model, &y, EXPLAINED_SIGMA, &[other], device);
    let figure = report::explanation(&y, &explained, joint.test.classes())?;
    figure.save_png(out.join("explained.png"))?;

    let comparison = DemoResult {
        rows,
        robust,
        pgd_steps: PGD_STEPS,
        attacked: attacked.len(),
        identity_error: explained[0].relative_error,
        count: joint.test.len(),
        seed: options.seed,
        sha256: [joint.sha256, plain.sha256],
        provenance: options.from.clone(),
    };
    let html = page(&comparison, &config, &grid.to_png()?, &figure.to_png()?)?;
    write_atomic(&out.join("report.html"), |w| std::io::Write::write_all(w, html.as_bytes()))?;
    Ok(Some(comparison))
}

fn page(
    found: &DemoResult,
    config: &TrainConfig,
    grid: &[u8],
    explanation: &[u8],
) -> Result<String, ExperimentError> {
    let mut page = Page::new("Miyasawa: one network classifies and denoises");
    page.paragraph(
        "A joint model of a noisy image and its class, and a plain classifier of the same size, \
         trained here on 1,437 handwritten digits of 8x8 pixels and measured on 360 others. \
         Classifying is a softmax over classes; denoising is the gradient of the same network.",
    );
    page.heading("Denoised by the classifier");
    page.figure_png(grid, "For each digit: noisy, denoised, clean. A row for each noise level.");
    page.heading("Noise");
    let joint = |row: &DemoNoiseRow| Estimate::within(row.joint_accuracy, row.joint_interval);
    let plain = |row: &DemoNoiseRow| Estimate::within(row.plain_accuracy, row.plain_interval);
    let header = ["noise level", "joint accuracy", "plain accuracy", "noisy PSNR", "denoised PSNR"];
    let cells = |row: &DemoNoiseRow| {
        vec![
            row.sigma.to_string(),
            percent_within(joint(row)),
            percent_within(plain(row)),
            format!("{:.2} dB", row.psnr_noisy),
            with_error(row.psnr, row.psnr_error, 2, " dB"),
        ]
    };
    let caption = format!(
        "On {} images; accuracies with their 95% interval, PSNR with its standard error. Marked \
         if one model exceeds the other by more than the interval of the difference. Noise levels \
         are in units of the [-1, 1] range; PSNR uses the peak-to-peak range 2.",
        found.count
    );
    let both: Vec<_> = found.rows.iter().map(|row| (row.sigma, [joint(row), plain(row)])).collect();
    let rows: Vec<Vec<String>> = found.rows.iter().map(cells).collect();
    page.table_with(
        &header,
        &rows,
        &TableOptions { caption: Some(caption), marked: marked(&both) },
    );
    let mut plot = accuracies("Accuracy under noise", "noise level", &both);
    plot.log_x = true;
    page.figure_svg(&report::render_svg(&plot, 720, 360)?, "");
    page.heading("Attack");
    let both: Vec<_> = found
        .robust
        .iter()
        .map(|row| {
            let joint = Estimate::within(row.joint, Some(row.joint_interval));
            (row.eps, [joint, Estimate::within(row.plain, Some(row.plain_interval))])
        })
        .collect();
    let cells = |(eps, [joint, plain]): &(f64, [Estimate; 2])| {
        vec![eps.to_string(), percent_within(*joint), percent_within(*plain)]
    };
    let caption = format!(
        "Robust accuracy under {}-step L2 PGD on {} images, with its 95% interval; eps in units \
         of the [0, 1] range. Marked as above.",
        found.pgd_steps, found.attacked
    );
    let rows: Vec<Vec<String>> = both.iter().map(cells).collect();
    let options = TableOptions { caption: Some(caption), marked: marked(&both) };
    page.table_with(&["eps", "joint", "plain"], &rows, &options);
    let plot = accuracies("Robust accuracy", "eps", &both);
    page.figure_svg(&report::render_svg(&plot, 720, 360)?, "");
    page.heading("The adversarial gradient is a difference of denoisers");
    page.figure_png(explanation, "sigma^2 * grad log p(c|y) = D(y,c) - D(y), computed both ways.");
    page.heading("Train a model yourself");
    page.paragraph(
        "This command trains a joint model on your own images. The configuration of the joint \
         model above follows.",
    );
    page.code(
        "miyasawa train --set data.train=PHOTOS --set data.size=[32,32] --set data.fit=resize \
         --out RUN",
    );
    if let Ok(toml) = config.to_toml() {
        page.code(&toml);
    }
    let names = ["joint", "plain"].map(str::to_owned);
    let hashes: Vec<(String, String)> = names.into_iter().zip(found.sha256.clone()).collect();
    page.provenance(&found.provenance, &hashes);
    Ok(page.render())
}

/// The cells of the better model, after the first column, if it is better by more than the interval
/// of the difference.
fn marked(both: &[(f64, [Estimate; 2])]) -> Vec<(usize, usize)> {
    let best = |(number, (_, pair)): (usize, &(f64, [Estimate; 2]))| {
        Some((number, 1 + distinct_best(&pair.map(Some), Best::Highest)?))
    };
    both.iter().enumerate().filter_map(best).collect()
}

/// A plot of the accuracies of both models.
fn accuracies(title: &str, x: &str, both: &[(f64, [Estimate; 2])]) -> Plot {
    let line = |name: &str, model: usize| {
        let points: Vec<_> = both.iter().map(|(x, pair)| (*x, pair[model].scaled(100.0))).collect();
        Series::estimated(name, &points)
    };
    let mut plot = Plot::new(title, x, "accuracy, %", vec![line("joint", 0), line("plain", 1)]);
    plot.x_ticks = Some(both.iter().map(|(x, _)| *x).collect());
    plot.y_range = Some(PERCENT);
    plot
}
