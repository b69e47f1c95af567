//! The HTML page of the trust report, for one model or several side by side.

use super::{Trust, TrustOptions, summary};
use crate::eval::Quantity;
use crate::metrics::{Best, ClassificationMetrics, Estimate, distinct_best};
use crate::ood;
use crate::report::{
    PERCENT, Page, Plot, Provenance, ReportError, Series, TableOptions, percent_within,
    reliability, render_svg, rounded_range, short_names, with_error,
};

/// Width and height of a plot, and of one of two side by side.
const WIDE: (u32, u32) = (720, 320);
const HALF: (u32, u32) = (434, 420);

/// The page under construction.
struct TrustPage<'a> {
    page: Page,
    models: &'a [Trust],
    /// Short names of the models.
    names: Vec<String>,
    options: &'a TrustOptions,
}

/// A table and a plot that compare the models: a row for each key, a column for each model.
struct SideBySide<'v> {
    title: &'v str,
    x: &'v str,
    y: &'v str,
    keys: &'v [f64],
    caption: &'v str,
    /// A model's value at a key.
    value: &'v dyn Fn(&Trust, f64) -> Option<Estimate>,
    show: &'v dyn Fn(Estimate) -> String,
    /// The value in the plot's units.
    factor: f64,
    range: Option<(f64, f64)>,
    /// The reference that all models are compared with.
    reference: Option<Reference<'v>>,
}

/// The name and the values of a reference.
type Reference<'v> = (&'v str, &'v dyn Fn(f64) -> Option<f64>);

impl TrustPage<'_> {
    fn side_by_side(&mut self, shown: &SideBySide<'_>) -> Result<(), ReportError> {
        let SideBySide { title, x, y, keys, caption, value, show, factor, range, reference } =
            shown;
        self.page.subheading(title);
        let dash = || "-".to_owned();
        let mut header = vec![*x];
        header.extend(reference.iter().map(|(name, _)| *name));
        header.extend(self.names.iter().map(String::as_str));
        let (mut rows, mut marked) = (Vec::new(), Vec::new());
        for (number, key) in keys.iter().enumerate() {
            let mut row = vec![key.to_string()];
            if let Some((_, of)) = reference {
                row.push(of(*key).map_or_else(dash, |v| show(Estimate::within(v, None))));
            }
            let values: Vec<Option<Estimate>> =
                self.models.iter().map(|m| value(m, *key)).collect();
            marked.extend(
                distinct_best(&values, Best::Highest).map(|best| (number, row.len() + best)),
            );
            row.extend(values.into_iter().map(|v| v.map_or_else(dash, show)));
            rows.push(row);
        }
        let caption = (!caption.is_empty()).then(|| (*caption).to_owned());
        self.page.table_with(&header, &rows, &TableOptions { caption, marked });

        let mut lines: Vec<Series> = Vec::new();
        if let Some((name, of)) = reference {
            let points = keys.iter().filter_map(|key| Some((*key, factor * of(*key)?)));
            lines.push(Series::reference(*name, points.collect()));
        }
        lines.extend(self.models.iter().zip(&self.names).map(|(model, name)| {
            let points =
                keys.iter().filter_map(|key| Some((*key, value(model, *key)?.scaled(*factor))));
            Series::estimated(name.clone(), &points.collect::<Vec<_>>())
        }));
        let mut plot = Plot::new("", *x, *y, lines);
        plot.x_ticks = Some(keys.to_vec());
        plot.log_x = keys.iter().all(|k| *k > 0.0);
        plot.y_range = *range;
        self.page.figure_svg(&render_svg(&plot, WIDE.0, WIDE.1)?, "");
        Ok(())
    }

    fn summary(&mut self, data: &str) {
        self.page.heading("Summary");
        for (model, name) in self.models.iter().zip(&self.names) {
            let found = summary::summarise(model, self.options);
            if self.models.len() > 1 {
                self.page.subheading(name);
            }
            self.page.answer(&found.answer);
            let header = ["Question", "Result", "95% interval", "Images"];
            self.page.table(&header, &found.rows);
        }
        self.page.subheading(&format!("What {} images can show", summary::fewest(self.models)));
        for paragraph in summary::limits(self.models, self.options, data) {
            self.page.paragraph(&paragraph);
        }
    }

    fn models(&mut self) {
        self.page.heading("Models");
        let rows: Vec<Vec<String>> = self
            .models
            .iter()
            .zip(&self.names)
            .map(|(m, name)| {
                let learned =
                    match (m.robust.is_empty(), m.levels.iter().any(|row| row.psnr.is_some())) {
                        (false, true) => "classifies and denoises",
                        (false, false) => "classifies",
                        (true, _) => "denoises",
                    };
                let short: String = m.sha256.chars().take(16).collect();
                vec![
                    name.clone(),
                    m.model.clone(),
                    learned.to_owned(),
                    m.clean_sigma.to_string(),
                    short,
                ]
            })
            .collect();
        let header = [
            "short name",
            "checkpoint",
            "tasks",
            "noise level for clean images",
            "SHA-256 (first 16 digits)",
        ];
        self.page.table(&header, &rows);
    }

    fn noise(&mut self) -> Result<(), ReportError> {
        self.page.heading("Under noise");
        let models = self.models;
        let sigmas = &self.options.sigmas;
        self.side_by_side(&SideBySide {
            title: "Accuracy",
            x: "noise level",
            y: "accuracy, %",
            keys: sigmas,
            caption: "With the 95% interval; marked if one model exceeds all others by more than \
                      the interval of the difference.",
            value: &|m, sigma| m.at(sigma, Quantity::Accuracy),
            show: &percent_within,
            factor: 100.0,
            range: Some(PERCENT),
            reference: None,
        })?;
        let noisy = |sigma: f64| {
            models
                .iter()
                .flat_map(|m| &m.levels)
                .find(|row| row.sigma == sigma)
                .and_then(|row| row.psnr_noisy)
        };
        let psnr = |m: &Trust, sigma: f64| m.at(sigma, Quantity::Psnr);
        let all = models.iter().flat_map(|m| sigmas.iter().filter_map(|s| psnr(m, *s)));
        let all = all.flat_map(|e| e.interval().unwrap_or([e.value; 2]));
        if !models.iter().any(|m| m.levels.iter().any(|row| row.psnr.is_some())) {
            return Ok(());
        }
        self.side_by_side(&SideBySide {
            title: "PSNR of D(y)",
            x: "noise level",
            y: "PSNR, dB",
            keys: sigmas,
            caption: "Mean \u{b1} standard error over the images, with the peak-to-peak range 2; \
                      a dash where a model was not trained to denoise.",
            value: &psnr,
            show: &|e| with_error(e.value, standard_error(e), 2, " dB"),
            factor: 1.0,
            range: rounded_range(all.chain(sigmas.iter().filter_map(|s| noisy(*s))), 5.0),
            reference: Some(("noisy image", &noisy)),
        })
    }

    fn calibration(&mut self) -> Result<(), ReportError> {
        if self.models.iter().all(|m| m.calibration.is_empty()) {
            return Ok(());
        }
        self.page.heading("Calibration");
        self.page.paragraph(
            "Measured on every second image; the temperature T is fitted to the others, at each \
             noise level and without attacks. An arrow leads from the value at T = 1 to the value \
             at the fitted T. On few images even a perfectly calibrated model has some calibration \
             error (ECE): 95% of perfectly calibrated models with the same confidences stay below \
             the limit.",
        );
        for (m, name) in
            self.models.iter().zip(&self.names).filter(|(m, _)| !m.calibration.is_empty())
        {
            self.page.subheading(name);
            let header = ["condition", "accuracy", "ECE", "limit", "T", "Brier", "NLL"];
            let change = |of: fn(&ClassificationMetrics) -> f64,
                          before: &ClassificationMetrics,
                          after: &ClassificationMetrics| {
                format!("{:.3} \u{2192} {:.3}", of(before), of(after))
            };
            let rows: Vec<Vec<String>> = m
                .calibration
                .iter()
                .map(|r| {
                    let (b, a) = (&r.before, &r.after);
                    vec![
                        r.condition().replace(' ', "\u{a0}"),
                        percent_within(Estimate::within(b.accuracy, b.accuracy_interval)),
                        change(|c| c.ece, b, a),
                        b.ece_by_chance.map_or("-".to_owned(), |[_, limit]| format!("{limit:.3}")),
                        format!("{:.2}", r.temperature),
                        change(|c| c.brier, b, a),
                        change(|c| c.nll, b, a),
                    ]
                })
                .collect();
            let caption = Some(format!("On {} images.", m.calibration[0].before.count));
            self.page.table_with(
                &header,
                &rows,
                &TableOptions { caption, ..TableOptions::default() },
            );
            let plots = reliability(&m.calibration);
            let drawn = plots.iter().map(|plot| render_svg(plot, HALF.0, HALF.1));
            self.page.figure_svgs(
                &drawn.collect::<Result<Vec<_>, _>>()?,
                "Reliability: the share of correct answers at each confidence, with its 95% \
                 interval. The area of a marker is the number of images; the bars count them at T \
                 = 1.",
            );
        }
        Ok(())
    }

    fn out_of_distribution(&mut self) {
        let models = self.models;
        let Some(most) = models
            .iter()
            .map(|m| &m.out_of_distribution)
            .max_by_key(|f| f.len())
            .filter(|f| !f.is_empty())
        else {
            return;
        };
        self.page.heading("Out-of-distribution images");
        self.page.paragraph(
            "How well a score distinguishes in-distribution from out-of-distribution images: the \
             area under the ROC curve (AUROC) at the noise level where it is largest, with its 95% \
             interval. AUROC is the share of pairs, one image of each kind, that the score orders \
             correctly: 0.5 is chance; below 0.5 out-of-distribution images score higher, which is \
             known of densities if those images are simpler. The level was chosen on the same \
             images, which makes the number slightly too high.",
        );
        let sets: Vec<&str> = most.iter().map(|f| f.data.as_str()).collect();
        for (k, set) in sets.iter().enumerate() {
            self.page.subheading(set);
            self.detection_tables(k);
        }
    }

    /// The tables of the out-of-distribution data set number `k`: AUROC, then AUPR and FPR95.
    fn detection_tables(&mut self, k: usize) {
        let found: Vec<Vec<ood::OodRow>> = self
            .models
            .iter()
            .map(|m| m.out_of_distribution.get(k).map(|f| ood::best(&f.rows)).unwrap_or_default())
            .collect();
        let longest = found.iter().max_by_key(|rows| rows.len());
        let scores: Vec<ood::Score> = longest.into_iter().flatten().map(|r| r.score).collect();
        let row_of =
            |model: usize, score: ood::Score| found[model].iter().find(|r| r.score == score);
        let table = |cell: &dyn Fn(&ood::OodRow) -> String| -> Vec<Vec<String>> {
            let row = |score: &ood::Score| {
                let cells = (0..found.len())
                    .map(|m| row_of(m, *score).map_or_else(|| "-".to_owned(), cell));
                std::iter::once(score.name().to_owned()).chain(cells).collect()
            };
            scores.iter().map(row).collect()
        };
        let level =
            |r: &ood::OodRow| r.sigma.map_or("all levels".to_owned(), |s| format!("level {s}"));
        let marked = (0..found.len()).filter_map(|m| {
            let auroc = |s: &ood::Score| row_of(m, *s).map(|r| r.detection.estimate());
            let values: Vec<Option<Estimate>> = scores.iter().map(auroc).collect();
            Some((distinct_best(&values, Best::Highest)?, m + 1))
        });
        let options = TableOptions {
            caption: Some(
                "AUROC with its 95% interval. Marked if a score exceeds a model's other \
                     scores by more than the interval of the difference."
                    .to_owned(),
            ),
            marked: marked.collect(),
        };
        let mut header = vec!["score"];
        header.extend(self.names.iter().map(String::as_str));
        let cells =
            |r: &ood::OodRow| format!("{}, {}", auroc_within(r.detection.estimate()), level(r));
        self.page.table_with(&header, &table(&cells), &options);
        let caption =
            "AUPR, and FPR95: the share of out-of-distribution images that are accepted when 95% \
             of the in-distribution images are."
                .to_owned();
        let cells = |r: &ood::OodRow| format!("{:.3}, {:.3}", r.detection.aupr, r.detection.fpr95);
        let options = TableOptions { caption: Some(caption), ..TableOptions::default() };
        self.page.table_with(&header, &table(&cells), &options);
    }

    fn robustness(&mut self) -> Result<(), ReportError> {
        if self.models.iter().all(|m| m.robust.is_empty()) {
            return Ok(());
        }
        self.page.heading("Robust accuracy");
        let TrustOptions { eps, sigmas, .. } = self.options;
        self.page.paragraph(&format!(
            "{}, on clean images; the model is conditioned on a noise level that the attack \
             knows. Attacks give an upper bound: the true robust accuracy is at most the number \
             here.",
            summary::attack_name(self.options)
        ));
        let mut sizes = vec![0.0];
        sizes.extend(eps.iter().filter(|e| **e > 0.0));
        let models = self.models;
        // The smallest level differs between models; the other levels are the same for all.
        let others =
            |sigma: &f64| models.iter().any(|m| m.robust.iter().skip(1).any(|l| l.sigma == *sigma));
        let levels = std::iter::once(None).chain(sigmas.iter().copied().filter(others).map(Some));
        for sigma in levels.collect::<Vec<_>>() {
            let title = sigma
                .map_or("Conditioned on the smallest noise level".to_owned(), |sigma| {
                    format!("Conditioned on noise {sigma}")
                });
            self.side_by_side(&SideBySide {
                title: &title,
                x: "eps",
                y: "robust accuracy, %",
                keys: &sizes,
                caption: "",
                value: &|m, eps| {
                    let level = match sigma {
                        None => m.robust.first(),
                        Some(sigma) => m.robust.iter().find(|l| l.sigma == sigma),
                    };
                    level?.accuracy(eps)
                },
                show: &percent_within,
                factor: 100.0,
                range: Some(PERCENT),
                reference: None,
            })?;
        }
        for (m, name) in self.models.iter().zip(&self.names) {
            for level in &m.robust {
                for warning in &level.outcome.warnings {
                    self.page.paragraph(&format!(
                        "{name}, conditioned on noise {}: {warning}",
                        level.sigma
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The standard error that an interval was computed from.
pub(super) fn standard_error(e: Estimate) -> Option<f64> {
    e.interval().map(|_| e.half_width() / crate::metrics::Z95)
}

pub(super) fn auroc_within(e: Estimate) -> String {
    let range = |[low, high]: [f64; 2]| format!(" ({low:.3}\u{2013}{high:.3})");
    format!("{:.3}{}", e.value, e.interval().map(range).unwrap_or_default())
}

/// Renders the trust report of one or more models as a self-contained HTML page.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn page(
    models: &[Trust],
    options: &TrustOptions,
    data: &str,
    from: &Provenance,
) -> Result<String, ReportError> {
    let names = short_names(&models.iter().map(|m| m.model.clone()).collect::<Vec<_>>());
    let mut report = TrustPage { page: Page::new("Can it be trusted?"), models, names, options };
    report.page.paragraph(&format!(
        "{} on {} images of {data}. Noise levels are in units of the [-1, 1] range, attacks in \
         units of the [0, 1] range.",
        crate::report::listed(&report.names),
        summary::fewest(models),
    ));
    report.summary(data);
    report.models();
    report.noise()?;
    report.calibration()?;
    report.out_of_distribution();
    report.robustness()?;
    let hashes: Vec<(String, String)> =
        report.names.iter().cloned().zip(models.iter().map(|m| m.sha256.clone())).collect();
    report.page.provenance(from, &hashes);
    Ok(report.page.render())
}
