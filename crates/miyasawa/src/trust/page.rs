//! The page of one model or several side by side.

use super::{Trust, TrustOptions};
use crate::ood;
use crate::report::{
    Best, Page, Plot, ReportError, Series, TableOptions, plots_png, reliability, render_svg,
};

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn table(page: &mut Page, header: &[String], rows: &[Vec<String>], caption: &str, best: Vec<(usize, Best)>) {
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let caption = (!caption.is_empty()).then(|| caption.to_owned());
    page.table_with(&header, rows, &TableOptions { caption, best });
}

/// A table with a line for each `keys` and a column for each model, and a plot of the same.
fn side_by_side(
    page: &mut Page,
    models: &[Trust],
    [title, x, y]: [&str; 3],
    keys: &[f64],
    caption: &str,
    value: &dyn Fn(&Trust, f64) -> Option<f64>,
    show: &dyn Fn(f64) -> String,
) -> Result<(), ReportError> {
    page.subheading(title);
    let header: Vec<String> =
        std::iter::once(x.to_owned()).chain(models.iter().map(|m| m.model.clone())).collect();
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let cells = models.iter().map(|m| value(m, *key).map_or_else(|| "-".to_owned(), show));
            std::iter::once(format!("{key}")).chain(cells).collect()
        })
        .collect();
    table(page, &header, &rows, caption, Vec::new());
    let lines = models.iter().map(|m| {
        let points = keys.iter().filter_map(|key| Some((*key, value(m, *key)?)));
        Series::new(m.model.clone(), points.collect())
    });
    let mut plot = Plot::new("", x, y, lines.collect());
    plot.x_ticks = Some(keys.to_vec());
    plot.log_x = keys.iter().all(|k| *k > 0.0);
    page.figure_svg(&render_svg(&plot, 720, 320)?, "");
    Ok(())
}

/// One self-contained page.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn page(models: &[Trust], options: &TrustOptions, data: &str) -> Result<String, ReportError> {
    let mut page = Page::new("Can it be trusted?");
    let names: Vec<&str> = models.iter().map(|m| m.model.as_str()).collect();
    page.paragraph(&format!(
        "{} on {} pictures of {data}. Noise levels are in units of the [-1, 1] range, attacks in units of the [0, 1] range.",
        names.join(", "),
        models.first().map_or(0, |m| m.count)
    ));

    page.heading("Under noise");
    let row = |m: &Trust, sigma: f64| m.levels.iter().find(|r| r.sigma == sigma).cloned();
    let sigmas = &options.sigmas;
    side_by_side(
        &mut page,
        models,
        ["Accuracy", "noise level", "accuracy, %"],
        sigmas,
        "",
        &|m, sigma| Some(100.0 * row(m, sigma)?.accuracy?),
        &|v| format!("{v:.1}%"),
    )?;
    side_by_side(
        &mut page,
        models,
        ["PSNR of D(y)", "noise level", "dB"],
        sigmas,
        "With the peak-to-peak range 2; a dash where a model was not trained to denoise.",
        &|m, sigma| row(m, sigma)?.psnr,
        &|v| format!("{v:.2} dB"),
    )?;

    page.heading("Calibration");
    page.paragraph(
        "Measured on every second picture; the temperature is fitted to the others, at each noise level and without \
         attacks.",
    );
    for m in models {
        page.subheading(&m.model);
        let header =
            ["condition", "accuracy", "ECE", "Brier", "NLL", "T", "ECE with T", "Brier with T", "NLL with T"];
        let rows: Vec<Vec<String>> = m
            .calibration
            .iter()
            .map(|r| {
                let condition = match (r.noisy, r.eps > 0.0) {
                    (true, _) => format!("noise {}", r.sigma),
                    (false, true) => format!("attack, eps {:.4}", r.eps),
                    (false, false) => "clean".to_owned(),
                };
                let mut cells = vec![condition, percent(r.before.accuracy)];
                let three =
                    |c: &crate::metrics::Classification| [c.ece, c.brier, c.nll].map(|v| format!("{v:.4}"));
                cells.extend(three(&r.before));
                cells.push(format!("{:.2}", r.temperature));
                cells.extend(three(&r.after));
                cells
            })
            .collect();
        table(&mut page, &header.map(str::to_owned), &rows, "", Vec::new());
        if !m.calibration.is_empty() {
            page.figure_png(&plots_png(&reliability(&m.calibration))?, "Reliability diagrams.");
        }
    }

    page.heading("Foreign pictures");
    page.paragraph(
        "How well a score tells the model's own kind of pictures from others: area under the ROC curve at the noise \
         level where it is best. 0.5 tells nothing; below it the score takes the others for its own, which densities are \
         known for where the others are simpler.",
    );
    let most = models.iter().map(|m| &m.foreign).max_by_key(|f| f.len());
    let sets: Vec<&str> =
        most.map_or(Vec::new(), |foreign| foreign.iter().map(|f| f.data.as_str()).collect());
    for (k, set) in sets.iter().enumerate() {
        page.subheading(set);
        let mut header = vec!["score".to_owned()];
        for m in models {
            header.extend(["AUROC", "AUPR", "FPR95", "level"].map(|h| format!("{h}, {}", m.model)));
        }
        let found: Vec<_> = models.iter().map(|m| m.foreign.get(k).map(|f| ood::best(&f.rows))).collect();
        let scores: Vec<ood::Score> = found
            .iter()
            .flatten()
            .max_by_key(|rows| rows.len())
            .map_or(Vec::new(), |rows| rows.iter().map(|r| r.score).collect());
        let rows: Vec<Vec<String>> = scores
            .iter()
            .map(|score| {
                let mut cells = vec![score.name().to_owned()];
                for rows in &found {
                    match rows.iter().flatten().find(|r| r.score == *score) {
                        Some(r) => {
                            let d = r.detection;
                            cells.extend([d.auroc, d.aupr, d.fpr95].map(|v| format!("{v:.3}")));
                            cells.push(r.sigma.map_or("all".to_owned(), |s| s.to_string()));
                        }
                        None => cells.extend(["-"; 4].map(str::to_owned)),
                    }
                }
                cells
            })
            .collect();
        let best = (0..models.len()).map(|i| (1 + 4 * i, Best::Highest)).collect();
        table(&mut page, &header, &rows, "", best);
    }

    page.heading("Robust accuracy");
    page.paragraph(&format!(
        "{} in {}, {} steps, on clean pictures; the model is told a noise level, and the attack knows it.",
        options.method, options.norm, options.steps
    ));
    let mut sizes = vec![0.0];
    sizes.extend(options.eps.iter().filter(|e| **e > 0.0));
    // What is "smallest" differs between models; the other levels are those that a model was told besides.
    let besides = |sigma: &f64| models.iter().any(|m| m.robust.iter().skip(1).any(|l| l.sigma == *sigma));
    let told = std::iter::once(None)
        .chain(options.sigmas.iter().copied().filter(besides).map(Some))
        .filter(|_| models.iter().any(|m| !m.robust.is_empty()));
    for sigma in told {
        let title =
            sigma.map_or("told the smallest noise level".to_owned(), |sigma| format!("told noise {sigma}"));
        side_by_side(
            &mut page,
            models,
            [&title, "eps", "accuracy, %"],
            &sizes,
            "",
            &|m, eps| {
                let level = match sigma {
                    None => m.robust.first(),
                    Some(sigma) => m.robust.iter().find(|l| l.sigma == sigma),
                };
                let outcome = &level?.outcome;
                let found = outcome.rows.iter().find(|r| r.eps == eps).map(|r| r.robust_accuracy);
                let share = if eps == 0.0 { Some(outcome.clean_accuracy) } else { found };
                share.map(|s| 100.0 * s)
            },
            &|v| format!("{v:.1}%"),
        )?;
    }
    for m in models {
        for level in &m.robust {
            for warning in &level.outcome.warnings {
                page.paragraph(&format!("{}, told noise {}: {warning}", m.model, level.sigma));
            }
        }
    }
    Ok(page.render())
}
