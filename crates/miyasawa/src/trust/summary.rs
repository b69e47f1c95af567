//! The summary in words: the results of a model, and how much can be concluded from this many
//! images.

use super::{OutOfDistribution, Trust, TrustOptions, page::auroc_within};
use crate::attack::Method;
use crate::eval::{EvalRow, Quantity};
use crate::metrics::{Estimate, wilson};
use crate::ood;
use crate::report::{listed, percent, with_error};

/// The summary of a model.
#[derive(Debug)]
pub(super) struct Summary {
    /// Verdicts, each with its justification.
    pub answer: Vec<(String, String)>,
    /// Rows of question, result, its interval, and number of images.
    pub rows: Vec<Vec<String>>,
}

/// The number of in-distribution images; the smallest if models differ.
pub(super) fn fewest(models: &[Trust]) -> usize {
    models.iter().map(|m| m.count).min().unwrap_or(0)
}

/// The name of the attack, for example `20-step PGD in L2`.
pub(super) fn attack_name(options: &TrustOptions) -> String {
    let TrustOptions { method, norm, steps, .. } = options;
    let name = match method {
        Method::AutoAttack => "AutoAttack".to_owned(),
        method => method.to_string().to_uppercase(),
    };
    format!("{steps}-step {name} in {norm:?}")
}

/// Summarises the measurements of a model.
pub(super) fn summarise(model: &Trust, options: &TrustOptions) -> Summary {
    let mut summary = Summary { answer: Vec::new(), rows: Vec::new() };
    accuracy(model, &mut summary);
    calibration(model, &mut summary);
    robustness(model, options, &mut summary);
    denoising(model, &mut summary);
    model
        .out_of_distribution
        .iter()
        .for_each(|out_of_distribution| detection(out_of_distribution, &mut summary));
    summary
}

impl Summary {
    fn row(&mut self, question: String, result: String, interval: Option<String>, images: String) {
        self.rows.push(vec![question, result, interval.unwrap_or_else(|| "-".to_owned()), images]);
    }
}

/// `low to high`, with non-breaking spaces.
fn spread(low: &str, high: &str) -> String {
    format!("{low} to {high}").replace(' ', "\u{a0}")
}

fn range(e: Estimate) -> Option<String> {
    e.interval().map(|[low, high]| spread(&percent(low), &percent(high)))
}

/// `, 95% interval 80.2% to 93.0%`.
fn in_words(e: Estimate) -> String {
    range(e).map(|range| format!(", 95% interval {range}")).unwrap_or_default()
}

/// The first, the middle and the last element, to keep the summary short.
fn ends_and_middle<T: Copy>(all: &[T]) -> Vec<T> {
    let last = all.len().saturating_sub(1);
    let mut indices = vec![0, last / 2, last];
    indices.dedup();
    indices.into_iter().filter_map(|index| all.get(index).copied()).collect()
}

fn accuracy(model: &Trust, summary: &mut Summary) {
    let Some(clean) = model.clean() else { return };
    let chance = 1.0 / model.classes.max(1) as f64;
    let often = match 1.0 - clean.value {
        wrong if wrong <= 0.0 => "no image is misclassified".to_owned(),
        wrong if wrong < 0.4 => format!("about 1 image in {:.0} is misclassified", 1.0 / wrong),
        wrong => format!("{} of the images are misclassified", percent(wrong)),
    };
    let guessing = match clean.interval() {
        Some([low, _]) if low <= chance => {
            format!(", which is not significantly better than chance ({})", percent(chance))
        }
        _ => String::new(),
    };
    let mut text =
        format!("Measured on {} images{}: {often}{guessing}.", model.count, in_words(clean));
    let images = model.count.to_string();
    let correct = |share: Estimate| percent(share.value) + " correct";
    summary.row(
        "How accurate is it on clean images?".into(),
        correct(clean),
        range(clean),
        images.clone(),
    );
    let loudest = model.levels.iter().max_by(|a, b| a.sigma.total_cmp(&b.sigma));
    if let Some((row, share)) =
        loudest.and_then(|row| Some((row, row.estimate(Quantity::Accuracy)?)))
    {
        let (sigma, value) = (row.sigma, percent(share.value));
        text += &format!(
            " Under noise of level {sigma} it classifies {value} correctly{}.",
            in_words(share)
        );
        let question = format!("How accurate is it under noise of level {sigma}?");
        summary.row(question, correct(share), range(share), images);
    }
    summary
        .answer
        .push((format!("It classifies {} of clean images correctly.", percent(clean.value)), text));
}

fn calibration(model: &Trust, summary: &mut Summary) {
    let Some(row) = model.calibration.first() else { return };
    let (found, confidence) = (&row.before, row.mean_confidence());
    let (Some([_, limit]), true) = (found.ece_by_chance, found.ece.is_finite()) else { return };
    let above = confidence - found.accuracy;
    let says =
        format!("mean confidence {}, accuracy {}", percent(confidence), percent(found.accuracy));
    let (verdict, word) = if found.ece <= limit {
        let verdict =
            format!("Its probabilities are calibrated, as far as {} images can show.", found.count);
        (verdict, "no miscalibration shown")
    } else if above.abs() < 0.01 {
        let verdict = "Its probabilities are too high for some images and too low for others.";
        (verdict.to_owned(), "miscalibrated")
    } else {
        let word = if above > 0.0 { "overconfident" } else { "underconfident" };
        (format!("Its probabilities are miscalibrated: it is {word}."), word)
    };
    let mut text = format!(
        "On these images: {says}. The calibration error (ECE) is {:.3}; a perfectly calibrated \
         model has up to {limit:.3} by chance.",
        found.ece
    );
    if found.ece > limit {
        let (temperature, after) = (row.temperature, row.after.ece);
        text += &format!(" With a temperature of {temperature:.2} the error is {after:.3}.");
    }
    summary.answer.push((verdict, text));
    summary.row(
        "How calibrated are its probabilities?".into(),
        format!("ECE {:.3}, {word}: {says}", found.ece),
        Some(format!("if calibrated: up\u{a0}to\u{a0}{limit:.3}")),
        found.count.to_string(),
    );
}

fn robustness(model: &Trust, options: &TrustOptions, summary: &mut Summary) {
    let (Some(level), Some(clean)) = (model.robust.first(), model.clean()) else { return };
    let mut sizes: Vec<f64> = options.eps.iter().copied().filter(|eps| *eps > 0.0).collect();
    sizes.sort_by(f64::total_cmp);
    let attack = attack_name(options);
    for eps in ends_and_middle(&sizes) {
        let Some(share) = level.accuracy(eps) else { continue };
        let question = format!("How robust is it against changes of {eps} ({attack})?");
        summary.row(
            question,
            percent(share.value) + " stay correct",
            range(share),
            model.count.to_string(),
        );
    }
    let smallest = sizes.first().and_then(|eps| Some((eps, level.accuracy(*eps)?)));
    let Some((eps, share)) = smallest.filter(|_| clean.value > 0.0) else { return };
    let ends = share.interval().unwrap_or([share.value; 2]);
    let verdict = match ends.map(|end| end / clean.value) {
        [_, high] if high < 0.5 => "It is not robust to attacks.".to_owned(),
        [low, _] if low >= 0.9 => format!("It is robust to attacks of size {eps}."),
        _ => "It is partly robust to attacks.".to_owned(),
    };
    let mut text = format!(
        "A change of at most {eps} ({attack}) makes it misclassify {} of the images that it \
         classifies correctly: {} of all images stay correct{}. Stronger attacks may find more.",
        percent(1.0 - share.value / clean.value),
        percent(share.value),
        in_words(share)
    );
    if !level.outcome.warnings.is_empty() {
        text +=
            " The attack gave warnings (see Robust accuracy): the true robustness may be lower.";
    }
    summary.answer.push((verdict, text));
}

fn denoising(model: &Trust, summary: &mut Summary) {
    let gains: Vec<(&EvalRow, f64)> =
        model.levels.iter().filter_map(|row| Some((row, row.psnr? - row.psnr_noisy?))).collect();
    let Some((middle, gain)) = gains.get(gains.len().saturating_sub(1) / 2) else { return };
    let worse: Vec<String> =
        gains.iter().filter(|g| g.1 <= 0.0).map(|g| g.0.sigma.to_string()).collect();
    let verdict = match worse.len() {
        0 => "It denoises at every measured level.".to_owned(),
        all if all == gains.len() => "It does not denoise.".to_owned(),
        _ => format!("It denoises, but makes images worse at level {}.", listed(&worse)),
    };
    let removed = percent(1.0 - 10f64.powf(-gain / 10.0));
    let change = match *gain > 0.0 {
        true => format!("it removes {removed} of the squared error"),
        false => "it does not reduce the error".to_owned(),
    };
    let text = format!(
        "At level {} {change}: {} (mean and standard error) from {:.2} dB.",
        middle.sigma,
        with_error(middle.psnr.unwrap_or(f64::NAN), middle.errors.psnr_error, 2, " dB"),
        middle.psnr_noisy.unwrap_or(f64::NAN)
    );
    summary.answer.push((verdict, text));
    for (row, gain) in ends_and_middle(&gains) {
        let question = format!("How well does it denoise at level {}?", row.sigma);
        let word = if gain > 0.0 { "gained" } else { "lost" };
        let found = format!("{:.2} dB, {:.2} dB {word}", row.psnr.unwrap_or(f64::NAN), gain.abs());
        let interval = row.estimate(Quantity::Psnr).and_then(Estimate::interval);
        let interval =
            interval.map(|[low, high]| spread(&format!("{low:.2}"), &format!("{high:.2} dB")));
        summary.row(question, found, interval, model.count.to_string());
    }
}

fn detection(out_of_distribution: &OutOfDistribution, summary: &mut Summary) {
    let best = ood::best(&out_of_distribution.rows);
    let Some(row) = best.iter().max_by(|a, b| a.detection.auroc.total_cmp(&b.detection.auroc))
    else {
        return;
    };
    let (name, estimate) = (&out_of_distribution.data, row.detection.estimate());
    let [low, high] = estimate.interval().unwrap_or([estimate.value; 2]);
    let verdict = match () {
        () if low >= 0.95 => format!("It detects images of {name} as out-of-distribution."),
        () if low > 0.5 => format!("It partly detects images of {name} as out-of-distribution."),
        () if high < 0.5 => format!("It mistakes images of {name} for in-distribution images."),
        () => format!("It does not detect images of {name} as out-of-distribution."),
    };
    let text = format!(
        "Its best score, {}, orders {} of the pairs with in-distribution images correctly: AUROC \
         {}.",
        row.score.name(),
        percent(estimate.value),
        auroc_within(estimate)
    );
    summary.answer.push((verdict, text));
    let counts = row.detection.counts;
    summary.row(
        format!("Does it detect images of {name}?"),
        format!("AUROC {:.3}, {}", estimate.value, row.score.name()),
        estimate.interval().map(|[low, high]| spread(&format!("{low:.3}"), &format!("{high:.3}"))),
        counts.map_or_else(|| "-".to_owned(), |[own, other]| format!("{own} and {other}")),
    );
}

/// Which conclusions this many images allow, and which not.
pub(super) fn limits(models: &[Trust], options: &TrustOptions, data: &str) -> Vec<String> {
    let count = fewest(models);
    if count == 0 {
        return Vec::new();
    }
    let [low, high] = wilson(0.5, count);
    let half = Estimate::share(0.5, count).half_width();
    // The smallest difference around a half that exceeds its interval.
    let apart = (1..=1000).map(|step| 0.0005 * f64::from(step)).find(|d| {
        Estimate::share(0.5 + d / 2.0, count).exceeds(Estimate::share(0.5 - d / 2.0, count))
    });
    let apart = apart
        .map_or("more than 50 points".to_owned(), |d| format!("about {:.0} points", 100.0 * d));
    let mut known = format!(
        "On {count} images a share is known to within {:.0} points at most: a model that \
         classifies half of all images correctly shows {} to {} in 95% of such samples. Two models \
         can be distinguished if they differ by {apart} or more; smaller differences in this \
         report are no evidence, and no cell is marked for them.",
        (100.0 * half).ceil(),
        percent(low),
        percent(high),
    );
    let calibrated =
        models.iter().filter_map(|m| m.calibration.first()).map(|row| row.before.count).min();
    if let Some(calibrated) = calibrated {
        known += &format!(" Calibration is measured on {calibrated} of them.");
    }
    known += " Half the interval needs four times as many images (--limit).";
    let mut not = format!(
        "These results do not cover images of other kinds than {data}, noise other than Gaussian, \
         or the same training with another seed."
    );
    if models.iter().any(|m| !m.robust.is_empty()) {
        not += &format!(
            " An attack ({}) gives an upper bound of the robustness; the command certify gives a \
             lower one.",
            attack_name(options)
        );
    }
    let how = "Intervals: Wilson's score interval for shares; for the area under the ROC curve \
               that of Newcombe with the standard error of Hanley and McNeil; for PSNR 1.96 \
               standard errors over the images. The interval of a difference treats both \
               measurements as independent (Newcombe's hybrid score interval), which is \
               conservative for models measured on the same images.";
    vec![known, not, how.to_owned()]
}

#[cfg(test)]
mod tests;
