//! One panel drawn into an area of an image.
//!
//! The layout is computed here, not by the drawing crate: the legend is above the lines instead of
//! over them, and margins are as wide as their labels.

use super::{
    Histogram, Plot, Series, SeriesStyle,
    axis::{Axis, shows},
    legend::{LABEL_SIZE, draw_legend_row, legend},
    pen::{AXIS, Area, Canvas, GRID, INK, Pen, colour_of, pale},
};
use crate::report::ReportError;
use plotters::{
    prelude::DrawingBackend,
    style::text_anchor::{HPos, VPos},
};

const TITLE_SIZE: f64 = 17.0;
/// Size of the numbers of a histogram.
const COUNT_SIZE: f64 = 11.0;
/// The largest number of points that are drawn with markers.
pub(super) const MOST_MARKERS: usize = 40;
/// Height of a histogram below a frame, and the room between them.
const STRIP: f64 = 58.0;
const STRIP_GAP: f64 = 12.0;
/// Half the width of the ends of an interval.
const CAP: f64 = 3.0;

impl Plot {
    /// Whether the axes can show a point.
    pub(super) fn shows(&self, (x, y): (f64, f64)) -> bool {
        shows(x, self.log_x) && shows(y, self.log_y)
    }

    /// The horizontal and the vertical axis.
    fn axes(&self) -> (Axis, Axis) {
        let series = || self.series.iter();
        let points =
            || series().flat_map(|s| &s.points).filter(|p| p.0.is_finite() && p.1.is_finite());
        let given = |range: Option<(f64, f64)>, log| {
            range.and_then(|(low, high)| Axis::between(low, high, log))
        };
        let x_values = || points().map(|p| p.0).chain(self.x_ticks.iter().flatten().copied());
        let ends = series().flat_map(|s| &s.intervals).flatten().flatten().copied();
        let y_values = || points().map(|p| p.1).chain(ends);
        (
            given(self.x_range, self.log_x).unwrap_or_else(|| Axis::over(x_values(), self.log_x)),
            given(self.y_range, self.log_y).unwrap_or_else(|| Axis::over(y_values(), self.log_y)),
        )
    }
}

/// A rectangle in pixels.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    fn x(&self, position: f64) -> f64 {
        self.left + position * (self.right - self.left)
    }

    fn y(&self, position: f64) -> f64 {
        self.bottom - position * (self.bottom - self.top)
    }
}

/// Draws `plot` into `area`.
pub(super) fn draw_plot<DB: DrawingBackend>(
    plot: &Plot,
    area: &Area<DB>,
    canvas: Canvas,
) -> Result<(), ReportError> {
    let pen = Pen { area, canvas };
    let (width, height) = area.dim_in_pixel();
    let (width, height) = (f64::from(width) / canvas.scale, f64::from(height) / canvas.scale);

    let (x_axis, y_axis) = plot.axes();
    let entries = legend(plot, &pen, width - 32.0)?;
    let mut top = 12.0;
    if !plot.title.is_empty() {
        let title = pen.fitted(&plot.title, TITLE_SIZE, width - 16.0)?;
        pen.text(&title, (width / 2.0, top), TITLE_SIZE, INK, (HPos::Center, VPos::Top))?;
        top += TITLE_SIZE + 7.0;
    }
    for row in &entries {
        draw_legend_row(row, &pen, (width, top + LABEL_SIZE / 2.0))?;
        top += LABEL_SIZE + 5.0;
    }
    let foot = height - if plot.x_label.is_empty() { 32.0 } else { 52.0 };
    let bottom = foot - plot.histogram.as_ref().map_or(0.0, |_| STRIP + STRIP_GAP);
    let y_ticks = y_axis.ticks(((bottom - top) / 38.0) as usize);
    let mut widest: f64 = 0.0;
    for (_, text) in &y_ticks {
        widest = widest.max(pen.width(text, LABEL_SIZE)?);
    }
    let left = 18.0 + widest + if plot.y_label.is_empty() { 0.0 } else { 24.0 };
    let frame = Frame { left, top: top + 4.0, right: width - 20.0, bottom };
    if frame.right - frame.left < 20.0 || frame.bottom - frame.top < 20.0 {
        // No room for a frame: a thumbnail shows the title and the legend at most.
        return Ok(());
    }

    let strip = Frame { top: foot - STRIP, bottom: foot, ..frame };
    draw_axes(plot, &pen, [frame, strip], (&x_axis, &y_axis), &y_ticks)?;
    if let Some(histogram) = &plot.histogram {
        draw_histogram(histogram, &pen, strip, &x_axis)?;
    }
    let mut colour = 0;
    for series in &plot.series {
        draw_series(series, &pen, frame, (&x_axis, &y_axis), colour)?;
        colour += usize::from(matches!(series.style, SeriesStyle::Solid | SeriesStyle::Points));
    }
    if !plot.series.iter().flat_map(|s| &s.points).any(|p| p.0.is_finite() && p.1.is_finite()) {
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        pen.text("no data", middle, LABEL_SIZE, AXIS, (HPos::Center, VPos::Center))?;
    }
    Ok(())
}

/// Grid, frame, ticks and their labels. The horizontal axis is labelled below the strip of the
/// histogram if there is one.
fn draw_axes<DB: DrawingBackend>(
    plot: &Plot,
    pen: &Pen<'_, DB>,
    [frame, strip]: [Frame; 2],
    (x_axis, y_axis): (&Axis, &Axis),
    y_ticks: &[(f64, String)],
) -> Result<(), ReportError> {
    let foot = if plot.histogram.is_some() { strip.bottom } else { frame.bottom };
    let x_ticks = match &plot.x_ticks {
        Some(values) => x_axis.ticks_at(values),
        None => x_axis.ticks(((frame.right - frame.left) / 70.0) as usize),
    };
    let mut free = f64::NEG_INFINITY;
    for (value, text) in &x_ticks {
        let Some(x) = x_axis.position(*value).map(|p| frame.x(p)) else { continue };
        pen.line(&[(x, frame.top), (x, frame.bottom)], 1.0, GRID)?;
        pen.line(&[(x, foot), (x, foot + 4.0)], 1.0, AXIS)?;
        // Given ticks may be closer than their labels are wide; a label that would overlap is
        // omitted.
        let half = pen.width(text, LABEL_SIZE)? / 2.0;
        if x - half > free {
            pen.text(text, (x, foot + 8.0), LABEL_SIZE, INK, (HPos::Center, VPos::Top))?;
            free = x + half + 5.0;
        }
    }
    for (value, text) in y_ticks {
        let Some(y) = y_axis.position(*value).map(|p| frame.y(p)) else { continue };
        pen.line(&[(frame.left, y), (frame.right, y)], 1.0, GRID)?;
        pen.line(&[(frame.left - 4.0, y), (frame.left, y)], 1.0, AXIS)?;
        pen.text(text, (frame.left - 8.0, y), LABEL_SIZE, INK, (HPos::Right, VPos::Center))?;
    }
    let outline =
        [(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)];
    pen.line(&outline, 1.0, AXIS)?;
    let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
    if !plot.x_label.is_empty() {
        let at = (middle.0, foot + 28.0);
        pen.text(&plot.x_label, at, LABEL_SIZE, INK, (HPos::Center, VPos::Top))?;
    }
    if !plot.y_label.is_empty() {
        pen.upright(&plot.y_label, (10.0, middle.1), LABEL_SIZE, INK)?;
    }
    Ok(())
}

/// Bars with their counts.
fn draw_histogram<DB: DrawingBackend>(
    histogram: &Histogram,
    pen: &Pen<'_, DB>,
    strip: Frame,
    x_axis: &Axis,
) -> Result<(), ReportError> {
    let most = histogram.bins.iter().map(|bin| bin.2).max().unwrap_or(0).max(1) as f64;
    // Room for the number above the tallest bar.
    let room = strip.bottom - strip.top - COUNT_SIZE - 3.0;
    for &(from, to, count) in histogram.bins.iter().filter(|bin| bin.2 > 0) {
        let (Some(from), Some(to)) = (x_axis.position(from), x_axis.position(to)) else { continue };
        let (from, to) = (strip.x(from), strip.x(to));
        let top = strip.bottom - (room * count as f64 / most).max(2.0);
        pen.bar((from + 0.5, top), (to - 0.5, strip.bottom), pale(colour_of(0)))?;
        let text = count.to_string();
        // A number that is wider than its bar would run into the next one.
        if pen.width(&text, COUNT_SIZE)? <= to - from + 4.0 {
            let at = ((from + to) / 2.0, top - COUNT_SIZE - 2.0);
            pen.text(&text, at, COUNT_SIZE, INK, (HPos::Center, VPos::Top))?;
        }
    }
    pen.line(
        &[(strip.left, strip.top), (strip.left, strip.bottom), (strip.right, strip.bottom)],
        1.0,
        AXIS,
    )?;
    pen.upright(&histogram.label, (10.0, (strip.top + strip.bottom) / 2.0), COUNT_SIZE, INK)
}

fn draw_series<DB: DrawingBackend>(
    series: &Series,
    pen: &Pen<'_, DB>,
    frame: Frame,
    (x_axis, y_axis): (&Axis, &Axis),
    index: usize,
) -> Result<(), ReportError> {
    let pixel =
        |(x, y): (f64, f64)| Some((frame.x(x_axis.position(x)?), frame.y(y_axis.position(y)?)));
    let inside = |y: f64| y >= frame.top - 0.5 && y <= frame.bottom + 0.5;
    let pixels: Vec<Option<(f64, f64)>> = series.points.iter().map(|&p| pixel(p)).collect();
    let known: Vec<(f64, f64)> = pixels.iter().flatten().copied().collect();
    let colour = colour_of(index);
    let line = match series.style {
        SeriesStyle::Solid => Some((2.0, colour)),
        SeriesStyle::Faint => Some((1.0, pale(colour))),
        SeriesStyle::Reference => Some((1.5, AXIS)),
        SeriesStyle::Points => None,
    };
    for (at, ends) in pixels.iter().zip(&series.intervals) {
        let (Some((x, _)), Some(ends)) = (at, ends) else { continue };
        let [Some(low), Some(high)] = ends.map(|end| y_axis.position(end).map(|p| frame.y(p)))
        else {
            continue;
        };
        let [low, high] = [low, high].map(|y| y.clamp(frame.top, frame.bottom));
        pen.line(&[(*x, low), (*x, high)], 1.5, pale(colour))?;
        for y in [low, high] {
            pen.line(&[(x - CAP, y), (x + CAP, y)], 1.5, pale(colour))?;
        }
    }
    if let Some((width, shade)) = line {
        clip(&known, frame).iter().try_for_each(|run| pen.line(run, width, shade))?;
    }
    let marked = match series.style {
        SeriesStyle::Solid => known.len() <= MOST_MARKERS,
        style => style == SeriesStyle::Points,
    };
    if marked {
        let most = series.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        for (number, at) in pixels.iter().enumerate() {
            let Some(at) = at.filter(|at| inside(at.1)) else { continue };
            // The area is the count's share of the largest.
            let share = series.counts.get(number).map_or(0.36, |count| *count as f64 / most);
            pen.marker(at, (share / 0.36).sqrt().max(0.6), index, colour)?;
        }
    }
    Ok(())
}

/// The parts of a line between the top and the bottom of a frame.
fn clip(points: &[(f64, f64)], frame: Frame) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let cut = |y: f64| if y1 == y0 { 0.0 } else { (y - y0) / (y1 - y0) };
        let (a, b) = (cut(frame.top), cut(frame.bottom));
        let (from, to) = if y1 == y0 {
            if y0 < frame.top || y0 > frame.bottom { (1.0, 0.0) } else { (0.0, 1.0) }
        } else {
            (a.min(b).max(0.0), a.max(b).min(1.0))
        };
        if from > to {
            continue;
        }
        let at = |t: f64| (x0 + t * (x1 - x0), (y0 + t * (y1 - y0)).clamp(frame.top, frame.bottom));
        match runs.last_mut().filter(|run| from == 0.0 && run.last() == Some(&at(0.0))) {
            Some(run) => run.push(at(to)),
            None => runs.push(vec![at(from), at(to)]),
        }
    }
    runs
}
