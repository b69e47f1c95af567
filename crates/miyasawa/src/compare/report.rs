//! The comparison as pages: HTML to look at, Markdown to keep, JSON to compute with.

use super::{
    Comparison, RunResult,
    measure::{Measures, strip, strip_of},
    run_dir, write_json,
};
use crate::atomic::write_atomic;
use crate::eval::Row;
use crate::experiment::ExperimentError;
use crate::picture::{Grid, GridRow, Picture};
use crate::report::{Best, Page, Plot, Series, TableOptions, render_svg};
use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, path::Path};

/// How minutes become steps.
const PLANNED: &str = " at the speed measured beforehand";

/// A table for both pages, columns of which the best is marked.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    best: Vec<(usize, Best)>,
    caption: String,
}

/// Both pages at once.
struct Pages {
    html: Page,
    markdown: String,
}

impl Pages {
    fn heading(&mut self, text: &str) {
        self.html.heading(text);
        let _ = write!(self.markdown, "\n## {text}\n");
    }

    fn paragraph(&mut self, text: &str) {
        self.html.paragraph(text);
        let _ = write!(self.markdown, "\n{text}\n");
    }

    fn table(&mut self, table: &Table) {
        let header: Vec<&str> = table.header.iter().map(String::as_str).collect();
        let caption = Some(table.caption.clone()).filter(|caption| !caption.is_empty());
        self.html.table_with(&header, &table.rows, &TableOptions { caption, best: table.best.clone() });
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        self.markdown.push('\n');
        self.markdown.push_str(&line(&table.header));
        self.markdown.push_str(&line(&vec!["---".to_owned(); table.header.len()]));
        table.rows.iter().for_each(|row| self.markdown.push_str(&line(row)));
        if !table.caption.is_empty() {
            let _ = write!(self.markdown, "\n{}\n", table.caption);
        }
    }
}

/// Mean and spread of a quantity over a model's runs.
#[derive(Clone, Copy)]
struct Spread {
    mean: f64,
    /// Sample standard deviation; none of a single run.
    deviation: Option<f64>,
}

impl Spread {
    fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let values: Vec<f64> = values.flatten().collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (square / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }

    fn text(self, factor: f64, digits: usize, unit: &str) -> String {
        let mean = factor * self.mean;
        match self.deviation {
            Some(deviation) => format!("{mean:.digits$}{unit} \u{b1} {:.digits$}", factor * deviation),
            None => format!("{mean:.digits$}{unit}"),
        }
    }
}

/// A quantity of a noise level.
type OfRow = fn(&Row) -> Option<f64>;

/// The runs of each model, in the order of the configuration.
fn by_model(comparison: &Comparison) -> Vec<(&str, Vec<&RunResult>)> {
    let runs_of = |name: &str| comparison.runs.iter().filter(|run| run.name == name).collect();
    comparison.config.models.iter().map(|m| (m.name.as_str(), runs_of(&m.name))).collect()
}

pub(super) fn write(
    comparison: &Comparison,
    measures: &Measures<'_>,
    out: &Path,
) -> Result<(), ExperimentError> {
    let mut pages = Pages { html: Page::new("Comparison"), markdown: "# Comparison\n".to_owned() };
    let budget = match (comparison.config.budget.images, comparison.config.budget.minutes) {
        (Some(images), Some(minutes)) => {
            format!("{images} pictures seen, or {minutes} minutes of training{PLANNED} where that is less,")
        }
        (Some(images), None) => format!("{images} pictures seen"),
        (_, minutes) => format!("{} minutes of training{PLANNED}", minutes.unwrap_or(0.0)),
    };
    let machines: BTreeSet<&str> = comparison.runs.iter().map(|run| run.machine.as_str()).collect();
    let machines = machines.into_iter().collect::<Vec<_>>().join("; ");
    pages.paragraph(&format!(
        "Budget: {budget} for each of {} models, seeds {:?} where a model has none of its own. Measured on {} pictures of {}; times on {}. Noise \
         levels are in units of the [-1, 1] range, PSNR uses the peak-to-peak range 2. Of several seeds: mean \u{b1} \
         sample standard deviation.",
        comparison.config.models.len(),
        comparison.config.seeds,
        comparison.count,
        comparison.data,
        machines
    ));
    models(&mut pages, comparison);
    let quantities: [(&str, &str, OfRow, f64, usize, &str, Best); 5] = [
        ("Accuracy", "accuracy, %", |r| r.accuracy, 100.0, 2, "%", Best::Highest),
        ("PSNR of D(y)", "PSNR, dB", |r| r.psnr, 1.0, 2, "", Best::Highest),
        ("PSNR of D(y, true class)", "PSNR, dB", |r| r.psnr_given_label, 1.0, 2, "", Best::Highest),
        ("SSIM of D(y)", "SSIM", |r| r.ssim, 1.0, 4, "", Best::Highest),
        ("Calibration error (ECE, 15 bins)", "ECE", |r| r.ece, 1.0, 4, "", Best::Lowest),
    ];
    for (title, axis, quantity, factor, digits, unit, best) in quantities {
        against_noise(&mut pages, comparison, title, axis, quantity, (factor, digits, unit), best)?;
    }
    robust(&mut pages, comparison, measures)?;
    let grid = grid(comparison, measures, out)?;
    if let Some(grid) = &grid {
        let png = grid.to_png()?;
        write_atomic(&out.join("denoised.png"), |file| file.write_all(&png))?;
        pages.heading("Pictures");
        let caption = "The same noisy pictures, denoised by each model (first seed).";
        pages.html.figure_pixels(&png, caption);
        let _ = write!(pages.markdown, "\n![{caption}](denoised.png)\n");
    }
    pages.heading("Configuration");
    let text = toml::to_string(&comparison.config).unwrap_or_default();
    pages.html.code(&text);
    let _ = write!(pages.markdown, "\n```toml\n{text}```\n");
    write_json(&out.join("report.json"), comparison)?;
    write_atomic(&out.join("report.md"), |file| file.write_all(pages.markdown.as_bytes()))?;
    Ok(write_atomic(&out.join("report.html"), |file| file.write_all(pages.html.render().as_bytes()))?)
}

fn models(pages: &mut Pages, comparison: &Comparison) {
    // Three digits that say something.
    let scaled = |count: u64, unit: f64| {
        // Of a checkpoint that was given it is not known.
        if count == 0 {
            return "-".to_owned();
        }
        let value = count as f64 / unit;
        let digits = if value >= 100.0 { 0 } else { (2.0 - value.max(1e-9).log10().floor()) as usize };
        format!("{value:.digits$}")
    };
    let million = |count: u64| scaled(count, 1e6);
    let optional = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut cost = Vec::new();
    let mut rows = Vec::new();
    for (name, runs) in by_model(comparison) {
        let Some(first) = runs.first() else { continue };
        let diverged = runs.iter().filter(|run| run.diverged.is_some()).count();
        let rollbacks: u64 = runs.iter().map(|run| run.rollbacks).sum();
        rows.push(vec![
            name.to_owned(),
            first.network.clone(),
            first.learned.clone(),
            first.parameters.to_string(),
            optional(
                Spread::of(runs.iter().map(|run| Some(run.images as f64))).map(|s| format!("{:.0}", s.mean)),
            ),
            format!("{diverged} of {}, {rollbacks} rollbacks", runs.len()),
        ]);
        let speed = |of: fn(&RunResult) -> Option<f64>| Spread::of(runs.iter().map(|run| of(run)));
        let minutes = |run: &RunResult| Some(run.images as f64 / run.costs.train_images_per_second? / 60.0);
        let milliseconds = |s: Spread| format!("{:.3}", 1e3 * s.mean);
        cost.push(vec![
            name.to_owned(),
            million(first.costs.train_multiply_adds),
            scaled(first.costs.epoch_multiply_adds, 1e12),
            optional(speed(|run| run.costs.train_images_per_second).map(|s| format!("{:.1}", s.mean))),
            optional(speed(minutes).map(|s| format!("{:.1}", s.mean))),
            optional(first.costs.classify_multiply_adds.map(million)),
            optional(speed(|run| run.costs.classify_seconds).map(milliseconds)),
            optional(first.costs.denoise_multiply_adds.map(million)),
            optional(speed(|run| run.costs.denoise_seconds).map(milliseconds)),
        ]);
    }
    let text = |header: &[&str]| header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
    pages.heading("Models");
    pages.table(&Table {
        header: text(&["model", "network", "learned from", "parameters", "pictures seen", "diverged"]),
        rows,
        best: Vec::new(),
        caption: String::new(),
    });
    let notes: Vec<String> = comparison
        .runs
        .iter()
        .filter_map(|run| {
            let seed = run.seed.unwrap_or_default();
            Some(format!("{}, seed {seed}: {}", run.name, run.diverged.as_ref()?))
        })
        .collect();
    for note in notes {
        pages.paragraph(&note);
    }
    pages.heading("Cost");
    pages.table(&Table {
        header: text(&[
            "model",
            "training, 10^6 multiply-adds a picture",
            "10^12 an epoch",
            "pictures/s",
            "minutes",
            "classify, 10^6",
            "ms",
            "denoise, 10^6",
            "ms",
        ]),
        rows: cost,
        best: Vec::new(),
        caption:
            "Multiply-adds of the convolutions. Measured: the median step of the training, its minutes for all \
                  pictures seen, and inference in batches of 16."
                .to_owned(),
    });
}

fn against_noise(
    pages: &mut Pages,
    comparison: &Comparison,
    title: &str,
    axis: &str,
    quantity: OfRow,
    (factor, digits, unit): (f64, usize, &str),
    best: Best,
) -> Result<(), ExperimentError> {
    let sigmas = &comparison.config.eval.sigmas;
    let mut header = vec!["model".to_owned()];
    header.extend(sigmas.iter().map(|sigma| format!("\u{3c3} = {sigma}")));
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (name, runs) in by_model(comparison) {
        let spread = |k: usize| Spread::of(runs.iter().map(|run| run.rows.get(k).and_then(quantity)));
        let spreads: Vec<Option<Spread>> = (0..sigmas.len()).map(spread).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let points = sigmas.iter().zip(&spreads).filter_map(|(s, v)| Some((*s, factor * (*v)?.mean)));
        lines.push(Series::new(name, points.collect()));
        let cell = |spread: &Option<Spread>| spread.map_or("-".to_owned(), |s| s.text(factor, digits, unit));
        rows.push(std::iter::once(name.to_owned()).chain(spreads.iter().map(cell)).collect());
    }
    if rows.is_empty() {
        return Ok(());
    }
    pages.heading(title);
    let best = (1..=sigmas.len()).map(|column| (column, best)).collect();
    pages.table(&Table { header, rows, best, caption: String::new() });
    let mut plot = Plot::new(title, "noise level", axis, lines);
    plot.log_x = sigmas.iter().all(|sigma| *sigma > 0.0);
    plot.x_ticks = Some(sigmas.clone());
    pages.html.figure_svg(&render_svg(&plot, 720, 360)?, "");
    Ok(())
}

fn robust(
    pages: &mut Pages,
    comparison: &Comparison,
    measures: &Measures<'_>,
) -> Result<(), ExperimentError> {
    let attack = &comparison.config.attack;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (name, runs) in by_model(comparison) {
        let at = |run: &RunResult, k: usize| run.robust.get(k).map(|row| row.robust_accuracy);
        let spread = |k: usize| Spread::of(runs.iter().map(|run| at(run, k)));
        let spreads: Vec<Spread> = (0..attack.eps.len()).filter_map(spread).collect();
        if spreads.len() != attack.eps.len() || spreads.is_empty() {
            continue;
        }
        let points = attack.eps.iter().zip(&spreads).map(|(eps, s)| (*eps, 100.0 * s.mean)).collect();
        lines.push(Series::new(name, points));
        let cells = spreads.iter().map(|s| s.text(100.0, 1, "%"));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    if rows.is_empty() {
        return Ok(());
    }
    pages.heading("Robust accuracy");
    let mut header = vec!["model".to_owned()];
    header.extend(attack.eps.iter().map(|eps| format!("eps = {eps}")));
    let best = (1..=attack.eps.len()).map(|column| (column, Best::Highest)).collect();
    let caption = format!(
        "{}-step {:?} PGD on {} pictures; eps in units of the [0, 1] range.",
        attack.steps,
        attack.norm,
        comparison.runs.iter().find_map(|run| run.attacked).unwrap_or(attack.count.min(measures.test.len()))
    );
    pages.table(&Table { header, rows, best, caption });
    let plot = Plot::new("Robust accuracy", "eps", "accuracy, %", lines);
    pages.html.figure_svg(&render_svg(&plot, 720, 360)?, "");
    Ok(())
}

/// A few pictures clean, noisy, and denoised by every model that can.
fn grid(
    comparison: &Comparison,
    measures: &Measures<'_>,
    out: &Path,
) -> Result<Option<Picture>, ExperimentError> {
    let shown = measures.shown()?;
    let [_, _, height, width] = shown.x.dims();
    let mut rows = vec![
        ("clean".to_owned(), strip(shown.x)?),
        (format!("noisy, {}", measures.shown_sigma()), strip(shown.y)?),
    ];
    for (name, runs) in by_model(comparison) {
        let Some(run) = runs.first().filter(|run| run.costs.denoise_multiply_adds.is_some()) else {
            continue;
        };
        rows.push((name.to_owned(), strip_of(&run_dir(out, name, run.seed))?));
    }
    if rows.len() == 2 {
        return Ok(None);
    }
    let rows =
        rows.iter().map(|(caption, strip)| GridRow { caption: caption.clone(), pictures: vec![strip] });
    let scale = (96 / height.max(width)).clamp(1, 12);
    Ok(Some(Grid { rows: rows.collect(), scale, ..Grid::default() }.draw()?))
}
