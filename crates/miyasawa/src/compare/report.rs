//! The report of a comparison: HTML, Markdown and JSON.

use super::{
    Comparison, RunResult,
    measure::{Measures, strip, strip_of},
    run_dir,
    shown::{ShownQuantity, Spread, caption, limits, marked, quantities},
    write_json,
};
use crate::atomic::write_atomic;
use crate::experiment::ExperimentError;
use crate::image::{Grid, GridRow, Image};
use crate::metrics::Best;
use crate::report::{DENSITY, PERCENT, Page, Plot, Provenance, Series, TableOptions, render_svg};
use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, path::Path};

/// Width of a plot.
const WIDTH: u32 = 720;
/// The side that small images are enlarged towards and the size of captions, in pixels of a page.
const CELL: usize = 96;
const TEXT: f32 = 15.0;

/// How minutes are converted to steps.
const PLANNED: &str = " at the speed measured beforehand";

/// A table for both pages; marked cells are bold in Markdown.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    marked: Vec<(usize, usize)>,
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
        self.html.table_with(
            &header,
            &table.rows,
            &TableOptions { caption, marked: table.marked.clone() },
        );
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        self.markdown.push('\n');
        self.markdown.push_str(&line(&table.header));
        self.markdown.push_str(&line(&vec!["---".to_owned(); table.header.len()]));
        for (number, row) in table.rows.iter().enumerate() {
            let cell =
                |(column, cell): (usize, &String)| match table.marked.contains(&(number, column)) {
                    true => format!("**{cell}**"),
                    false => cell.clone(),
                };
            self.markdown.push_str(&line(&row.iter().enumerate().map(cell).collect::<Vec<_>>()));
        }
        if !table.caption.is_empty() {
            let _ = write!(self.markdown, "\n{}\n", table.caption);
        }
    }
}

/// The height of a plot with `lines` lines, including the legend.
fn height(lines: usize) -> u32 {
    360 + 10 * lines as u32
}

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
            format!(
                "{images} images seen, or {minutes} minutes of training{PLANNED} if that is less,"
            )
        }
        (Some(images), None) => format!("{images} images seen"),
        (_, minutes) => format!("{} minutes of training{PLANNED}", minutes.unwrap_or(0.0)),
    };
    let machines: BTreeSet<&str> = comparison.runs.iter().map(|run| run.machine.as_str()).collect();
    let machines = machines.into_iter().collect::<Vec<_>>().join("; ");
    pages.paragraph(&format!(
        "Budget: {budget} for each of {} models, seeds {:?} except for models with their own \
         seeds. Measured on {} images of {}; times on {}. Noise levels are in units of the [-1, 1] \
         range, PSNR uses the peak-to-peak range 2. For several seeds: mean \u{b1} sample standard \
         deviation.",
        comparison.config.models.len(),
        comparison.config.seeds,
        comparison.count,
        comparison.data,
        machines
    ));
    pages.paragraph(&limits(comparison));
    models(&mut pages, comparison);
    for shown in quantities(comparison) {
        against_noise(&mut pages, comparison, &shown)?;
    }
    robust(&mut pages, comparison, measures)?;
    let grid = grid(comparison, measures, out)?;
    if let Some(grid) = &grid {
        let png = grid.to_png()?;
        write_atomic(&out.join("denoised.png"), |file| file.write_all(&png))?;
        pages.heading("Images");
        let caption = "The same noisy images, denoised by each model (first seed).";
        pages.html.figure_png(&png, caption);
        let _ = write!(pages.markdown, "\n![{caption}](denoised.png)\n");
    }
    pages.heading("Configuration");
    let text = toml::to_string(&comparison.config).unwrap_or_default();
    pages.html.code(&text);
    let _ = write!(pages.markdown, "\n```toml\n{text}```\n");
    if let Some(from) = &comparison.provenance {
        provenance(&mut pages, comparison, from);
    }
    write_json(&out.join("report.json"), comparison)?;
    write_atomic(&out.join("report.md"), |file| file.write_all(pages.markdown.as_bytes()))?;
    Ok(write_atomic(&out.join("report.html"), |file| {
        file.write_all(pages.html.render().as_bytes())
    })?)
}

/// Adds the provenance at the end of the report.
fn provenance(pages: &mut Pages, comparison: &Comparison, from: &Provenance) {
    let model = |run: &RunResult| {
        let seed = run.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        (format!("{}{seed}", run.name), run.sha256.clone())
    };
    let models: Vec<(String, String)> = comparison.runs.iter().map(model).collect();
    pages.html.provenance(from, &models);
    let Provenance { program, date, call } = from;
    let _ = write!(pages.markdown, "\n---\n\n{program}, {date}\n\n```sh\n{call}\n```\n\n");
    for (name, hash) in models {
        let _ = writeln!(pages.markdown, "* {name}: SHA-256 `{hash}`");
    }
}

fn models(pages: &mut Pages, comparison: &Comparison) {
    // Three significant digits.
    let scaled = |count: u64, unit: f64| {
        // It is unknown for a given checkpoint.
        if count == 0 {
            return "-".to_owned();
        }
        let value = count as f64 / unit;
        let digits =
            if value >= 100.0 { 0 } else { (2.0 - value.max(1e-9).log10().floor()) as usize };
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
                Spread::of_values(runs.iter().map(|run| Some(run.images as f64)))
                    .map(|s| format!("{:.0}", s.mean)),
            ),
            format!("{diverged} of {}, {rollbacks} rollbacks", runs.len()),
        ]);
        let speed =
            |of: fn(&RunResult) -> Option<f64>| Spread::of_values(runs.iter().map(|run| of(run)));
        let minutes =
            |run: &RunResult| Some(run.images as f64 / run.costs.train_images_per_second? / 60.0);
        let milliseconds = |s: Spread| format!("{:.3}", 1e3 * s.mean);
        cost.push(vec![
            name.to_owned(),
            million(first.costs.train_macs),
            scaled(first.costs.epoch_macs, 1e12),
            optional(
                speed(|run| run.costs.train_images_per_second).map(|s| format!("{:.1}", s.mean)),
            ),
            optional(speed(minutes).map(|s| format!("{:.1}", s.mean))),
            optional(first.costs.classify_macs.map(million)),
            optional(speed(|run| run.costs.classify_seconds).map(milliseconds)),
            optional(first.costs.denoise_macs.map(million)),
            optional(speed(|run| run.costs.denoise_seconds).map(milliseconds)),
        ]);
    }
    let text = |header: &[&str]| header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
    pages.heading("Models");
    pages.table(&Table {
        header: text(&[
            "model",
            "network",
            "learned from",
            "parameters",
            "images seen",
            "diverged",
        ]),
        rows,
        marked: Vec::new(),
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
            "training, 10^6 MACs an image",
            "10^12 an epoch",
            "images/s",
            "minutes",
            "classify, 10^6",
            "ms",
            "denoise, 10^6",
            "ms",
        ]),
        rows: cost,
        marked: Vec::new(),
        caption: "MACs of the convolutions. Measured: the median step of the training, its \
                  minutes for all images seen, and inference in batches of 16."
            .to_owned(),
    });
}

fn against_noise(
    pages: &mut Pages,
    comparison: &Comparison,
    shown: &ShownQuantity,
) -> Result<(), ExperimentError> {
    let sigmas = &comparison.config.eval.sigmas;
    let (factor, digits, unit) = shown.format;
    let mut header = vec!["model".to_owned()];
    header.extend(sigmas.iter().map(|sigma| format!("\u{3c3} = {sigma}")));
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let mut columns = vec![Vec::new(); sigmas.len()];
    for (name, runs) in by_model(comparison) {
        let of = |k: usize| {
            Spread::of_estimates(runs.iter().map(|run| comparison.estimate(run, k, shown.quantity)))
        };
        let spreads: Vec<Option<Spread>> = (0..sigmas.len()).map(of).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let points = sigmas
            .iter()
            .zip(&spreads)
            .filter_map(|(s, v)| Some((*s, (*v)?.estimate.scaled(factor))));
        lines.push(Series::estimated(name, &points.collect::<Vec<_>>()));
        columns.iter_mut().zip(&spreads).for_each(|(column, s)| column.push(s.map(|s| s.estimate)));
        let cell = |spread: &Option<Spread>| {
            spread.map_or("-".to_owned(), |s| s.text(factor, digits, unit))
        };
        rows.push(std::iter::once(name.to_owned()).chain(spreads.iter().map(cell)).collect());
    }
    if rows.is_empty() {
        return Ok(());
    }
    pages.heading(shown.title);
    let marked = marked(&columns, shown.best);
    let caption = caption(&columns, &marked).to_owned();
    pages.table(&Table { header, rows, marked, caption });
    let high = height(lines.len());
    let mut plot = Plot::new("", "noise level", shown.axis, lines);
    plot.log_x = sigmas.iter().all(|sigma| *sigma > 0.0);
    plot.x_ticks = Some(sigmas.clone());
    plot.y_range = shown.range;
    pages.html.figure_svg(&render_svg(&plot, WIDTH, high)?, "");
    Ok(())
}

fn robust(
    pages: &mut Pages,
    comparison: &Comparison,
    measures: &Measures<'_>,
) -> Result<(), ExperimentError> {
    let attack = &comparison.config.attack;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let mut columns = vec![Vec::new(); attack.eps.len()];
    for (name, runs) in by_model(comparison) {
        let of = |k: usize| {
            Spread::of_estimates(runs.iter().map(|run| comparison.robust_estimate(run, k)))
        };
        let spreads: Vec<Spread> = (0..attack.eps.len()).filter_map(of).collect();
        if spreads.len() != attack.eps.len() || spreads.is_empty() {
            continue;
        }
        let points =
            attack.eps.iter().zip(&spreads).map(|(eps, s)| (*eps, s.estimate.scaled(100.0)));
        lines.push(Series::estimated(name, &points.collect::<Vec<_>>()));
        columns.iter_mut().zip(&spreads).for_each(|(column, s)| column.push(Some(s.estimate)));
        let cells = spreads.iter().map(|s| s.text(100.0, 1, "%"));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    if rows.is_empty() {
        return Ok(());
    }
    pages.heading("Robust accuracy");
    let mut header = vec!["model".to_owned()];
    header.extend(attack.eps.iter().map(|eps| format!("eps = {eps}")));
    let marked = marked(&columns, Best::Highest);
    let measured = format!(
        "{}-step {:?} PGD on {} images; eps in units of the [0, 1] range.",
        attack.steps,
        attack.norm,
        comparison
            .runs
            .iter()
            .find_map(|run| run.attacked)
            .unwrap_or(attack.count.min(measures.test.len()))
    );
    let caption = format!("{measured} {}", caption(&columns, &marked)).trim_end().to_owned();
    pages.table(&Table { header, rows, marked, caption });
    let high = height(lines.len());
    let mut plot = Plot::new("", "eps", "robust accuracy, %", lines);
    plot.x_ticks = Some(attack.eps.clone());
    plot.y_range = Some(PERCENT);
    pages.html.figure_svg(&render_svg(&plot, WIDTH, high)?, "");
    Ok(())
}

/// A few images: clean, noisy, and denoised by every model that denoises.
fn grid(
    comparison: &Comparison,
    measures: &Measures<'_>,
    out: &Path,
) -> Result<Option<Image>, ExperimentError> {
    let shown = measures.shown()?;
    let [_, _, height, width] = shown.x.dims();
    let mut rows = vec![
        ("clean".to_owned(), strip(shown.x)?),
        (format!("noisy, {}", measures.shown_sigma()), strip(shown.y)?),
    ];
    for (name, runs) in by_model(comparison) {
        let Some(run) = runs.first().filter(|run| run.costs.denoise_seconds.is_some()) else {
            continue;
        };
        rows.push((name.to_owned(), strip_of(&run_dir(out, name, run.seed))?));
    }
    if rows.len() == 2 {
        return Ok(None);
    }
    let rows = rows
        .iter()
        .map(|(caption, strip)| GridRow { caption: caption.clone(), images: vec![strip] });
    let (cell, text) = (CELL * DENSITY as usize, TEXT * DENSITY as f32);
    let scale = (cell / height.max(width)).max(1);
    Ok(Some(Grid { rows: rows.collect(), scale, text, ..Grid::default() }.draw()?))
}
