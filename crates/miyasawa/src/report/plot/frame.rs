//! One panel drawn into an area of a picture.
//!
//! The layout is computed here, not by the drawing crate: the legend stands above the lines instead of over
//! them, and margins are as wide as the labels that stand in them.

use super::{
    FONT, Plot, Series, SeriesStyle,
    axis::{Axis, shows},
    draw_error,
};
use crate::report::ReportError;
use plotters::{
    coord::Shift,
    drawing::DrawingArea,
    element::{Circle, PathElement, Polygon, Rectangle, Text},
    prelude::{Color, DrawingBackend, RGBColor, WHITE},
    style::{
        FontTransform, IntoFont, IntoTextStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// How a plot's pixels become the backend's.
#[derive(Clone, Copy)]
pub(super) struct Canvas {
    /// Units of the backend in a pixel.
    pub scale: f64,
    /// Draw the segments of a line one by one and join them with discs: the bitmap backend's own joins grow
    /// spikes where a line turns sharply.
    pub join: bool,
}

/// Okabe and Ito's colours, told apart with any colour vision; yellow is left out, for it fades on white.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

const INK: RGBColor = RGBColor(38, 38, 38);
const AXIS: RGBColor = RGBColor(140, 140, 140);
const GRID: RGBColor = RGBColor(232, 232, 232);

const TITLE_SIZE: f64 = 17.0;
const LABEL_SIZE: f64 = 14.0;
/// Markers tell points apart only where they are few.
const MOST_MARKERS: usize = 40;
/// Length of a line in the legend and the room between it, its name and the next entry.
const KEY: f64 = 24.0;
const KEY_GAP: f64 = 6.0;
const ENTRY_GAP: f64 = 18.0;

type Area<DB> = DrawingArea<DB, Shift>;

impl Plot {
    /// Whether the axes can show a point.
    fn shows(&self, (x, y): (f64, f64)) -> bool {
        shows(x, self.log_x) && shows(y, self.log_y)
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

/// Draws `plot` into the whole of `area`.
pub(super) fn draw_plot<DB: DrawingBackend>(
    plot: &Plot,
    area: &Area<DB>,
    canvas: Canvas,
) -> Result<(), ReportError> {
    let pen = Pen { area, canvas };
    let (width, height) = area.dim_in_pixel();
    let (width, height) = (f64::from(width) / canvas.scale, f64::from(height) / canvas.scale);

    let points =
        || plot.series.iter().flat_map(|s| s.points.iter()).filter(|p| p.0.is_finite() && p.1.is_finite());
    let x_values = points().map(|p| p.0).chain(plot.x_ticks.iter().flatten().copied());
    let x_axis = Axis::over(x_values, plot.log_x);
    let y_axis = plot
        .y_range
        .and_then(|(low, high)| Axis::between(low, high, plot.log_y))
        .unwrap_or_else(|| Axis::over(points().map(|p| p.1), plot.log_y));

    let entries = legend(plot, &pen, width - 32.0)?;
    let mut top = 12.0;
    if !plot.title.is_empty() {
        pen.text(&plot.title, (width / 2.0, top), TITLE_SIZE, INK, (HPos::Center, VPos::Top))?;
        top += TITLE_SIZE + 7.0;
    }
    for row in &entries {
        draw_legend_row(row, &pen, (width, top + LABEL_SIZE / 2.0))?;
        top += LABEL_SIZE + 5.0;
    }
    let bottom = height - if plot.x_label.is_empty() { 32.0 } else { 52.0 };
    let y_ticks = y_axis.ticks(((bottom - top) / 38.0) as usize);
    let mut widest: f64 = 0.0;
    for (_, text) in &y_ticks {
        widest = widest.max(pen.width(text)?);
    }
    let left = 18.0 + widest + if plot.y_label.is_empty() { 0.0 } else { 24.0 };
    let frame = Frame { left, top: top + 4.0, right: width - 20.0, bottom };
    if frame.right - frame.left < 20.0 || frame.bottom - frame.top < 20.0 {
        // No room for a frame: a thumbnail shows the title and the legend at most.
        return Ok(());
    }

    draw_axes(plot, &pen, frame, (&x_axis, &y_axis), &y_ticks)?;
    let mut colour = 0;
    for series in &plot.series {
        draw_series(series, &pen, frame, (&x_axis, &y_axis), colour)?;
        colour += usize::from(series.style == SeriesStyle::Solid);
    }
    if points().next().is_none() {
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        pen.text("no data", middle, LABEL_SIZE, AXIS, (HPos::Center, VPos::Center))?;
    }
    Ok(())
}

/// Grid, frame, ticks and their labels.
fn draw_axes<DB: DrawingBackend>(
    plot: &Plot,
    pen: &Pen<'_, DB>,
    frame: Frame,
    (x_axis, y_axis): (&Axis, &Axis),
    y_ticks: &[(f64, String)],
) -> Result<(), ReportError> {
    let x_ticks = match &plot.x_ticks {
        Some(values) => x_axis.ticks_at(values),
        None => x_axis.ticks(((frame.right - frame.left) / 70.0) as usize),
    };
    let mut free = f64::NEG_INFINITY;
    for (value, text) in &x_ticks {
        let Some(x) = x_axis.place(*value).map(|p| frame.left + p * (frame.right - frame.left)) else {
            continue;
        };
        pen.line(&[(x, frame.top), (x, frame.bottom)], 1.0, GRID)?;
        pen.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], 1.0, AXIS)?;
        // Labels that were asked for may stand closer than they are wide; the later one gives way.
        let half = pen.width(text)? / 2.0;
        if x - half > free {
            pen.text(text, (x, frame.bottom + 8.0), LABEL_SIZE, INK, (HPos::Center, VPos::Top))?;
            free = x + half + 5.0;
        }
    }
    for (value, text) in y_ticks {
        let Some(y) = y_axis.place(*value).map(|p| frame.bottom - p * (frame.bottom - frame.top)) else {
            continue;
        };
        pen.line(&[(frame.left, y), (frame.right, y)], 1.0, GRID)?;
        pen.line(&[(frame.left - 4.0, y), (frame.left, y)], 1.0, AXIS)?;
        pen.text(text, (frame.left - 8.0, y), LABEL_SIZE, INK, (HPos::Right, VPos::Center))?;
    }
    let outline = [(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)];
    pen.line(&outline, 1.0, AXIS)?;
    let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
    if !plot.x_label.is_empty() {
        let at = (middle.0, frame.bottom + 28.0);
        pen.text(&plot.x_label, at, LABEL_SIZE, INK, (HPos::Center, VPos::Top))?;
    }
    if !plot.y_label.is_empty() {
        pen.upright(&plot.y_label, (10.0, middle.1), LABEL_SIZE, INK)?;
    }
    Ok(())
}

fn draw_series<DB: DrawingBackend>(
    series: &Series,
    pen: &Pen<'_, DB>,
    frame: Frame,
    (x_axis, y_axis): (&Axis, &Axis),
    index: usize,
) -> Result<(), ReportError> {
    let colour = PALETTE[index % PALETTE.len()];
    let faint = series.style == SeriesStyle::Faint;
    let places: Vec<(f64, f64)> = series
        .points
        .iter()
        .filter_map(|&(x, y)| {
            let (x, y) = (x_axis.place(x)?, y_axis.place(y)?);
            Some((frame.left + x * (frame.right - frame.left), frame.bottom - y * (frame.bottom - frame.top)))
        })
        .collect();
    let (width, shade) = if faint { (1.0, pale(colour)) } else { (2.0, colour) };
    for run in clip(&places, frame) {
        pen.line(&run, width, shade)?;
    }
    if !faint && places.len() <= MOST_MARKERS {
        let inside = |p: &&(f64, f64)| p.1 >= frame.top - 0.5 && p.1 <= frame.bottom + 0.5;
        places.iter().filter(inside).try_for_each(|&at| pen.marker(at, index, colour))?;
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

/// A colour mixed with white. Not transparency: overlapping parts of a line would darken one another.
fn pale(colour: RGBColor) -> RGBColor {
    let mix = |v: u8| (f64::from(v) * 0.3 + 255.0 * 0.7).round() as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

/// One name of the legend.
struct Entry<'a> {
    name: &'a str,
    /// Which of the solid series it is; none for the note that there are more.
    index: Option<usize>,
    marker: bool,
    width: f64,
}

/// The legend's entries in rows no wider than `room`, four at most. A series without a name or a point has none.
fn legend<'a, DB: DrawingBackend>(
    plot: &'a Plot,
    pen: &Pen<'_, DB>,
    room: f64,
) -> Result<Vec<Vec<Entry<'a>>>, ReportError> {
    let shown = |p: &(f64, f64)| plot.shows(*p);
    let solid = plot.series.iter().filter(|s| s.style == SeriesStyle::Solid);
    let mut rows: Vec<Vec<Entry<'_>>> = Vec::new();
    let mut used = f64::INFINITY;
    for (index, series) in solid.enumerate().filter(|(_, s)| !s.name.is_empty() && s.points.iter().any(shown))
    {
        let width = KEY + KEY_GAP + pen.width(&series.name)?;
        if used + ENTRY_GAP + width > room {
            if rows.len() == 4 {
                rows[3].push(Entry { name: "\u{2026}", index: None, marker: false, width: 12.0 });
                break;
            }
            rows.push(Vec::new());
            used = -ENTRY_GAP;
        }
        used += ENTRY_GAP + width;
        let marker = series.points.len() <= MOST_MARKERS;
        if let Some(row) = rows.last_mut() {
            row.push(Entry { name: &series.name, index: Some(index), marker, width });
        }
    }
    Ok(rows)
}

fn draw_legend_row<DB: DrawingBackend>(
    row: &[Entry<'_>],
    pen: &Pen<'_, DB>,
    (width, y): (f64, f64),
) -> Result<(), ReportError> {
    let total = row.iter().map(|e| e.width + ENTRY_GAP).sum::<f64>() - ENTRY_GAP;
    let mut x = (width - total) / 2.0;
    for entry in row {
        let mut text = x;
        if let Some(index) = entry.index {
            let colour = PALETTE[index % PALETTE.len()];
            pen.line(&[(x, y), (x + KEY, y)], 2.0, colour)?;
            if entry.marker {
                pen.marker((x + KEY / 2.0, y), index, colour)?;
            }
            text += KEY + KEY_GAP;
        }
        pen.text(entry.name, (text, y), LABEL_SIZE, INK, (HPos::Left, VPos::Center))?;
        x += entry.width + ENTRY_GAP;
    }
    Ok(())
}

/// Draws in pixels.
struct Pen<'a, DB: DrawingBackend> {
    area: &'a Area<DB>,
    canvas: Canvas,
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    fn units(&self, value: f64) -> i32 {
        (value * self.canvas.scale).round() as i32
    }

    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        (self.units(x), self.units(y))
    }

    fn line(&self, points: &[(f64, f64)], width: f64, colour: RGBColor) -> Result<(), ReportError> {
        let style = colour.stroke_width(self.units(width).max(1) as u32);
        let mut points: Vec<(i32, i32)> = points.iter().map(|&p| self.at(p)).collect();
        points.dedup();
        if !self.canvas.join {
            return self.area.draw(&PathElement::new(points, style)).map_err(draw_error);
        }
        for pair in points.windows(2) {
            self.area.draw(&PathElement::new(pair.to_vec(), style)).map_err(draw_error)?;
        }
        let radius = self.units(width) / 2;
        let inner = points.iter().take(points.len().saturating_sub(1)).skip(1);
        if radius > 1 {
            for &point in inner {
                self.area.draw(&Circle::new(point, radius, colour.filled())).map_err(draw_error)?;
            }
        }
        Ok(())
    }

    /// A disc, square, triangle or diamond, so that lines are told apart without colour too.
    fn marker(&self, (x, y): (f64, f64), index: usize, colour: RGBColor) -> Result<(), ReportError> {
        // A white rim keeps markers apart where they overlap.
        for (size, colour) in [(5.0, WHITE), (3.7, colour)] {
            let corners = |offsets: &[(f64, f64)]| {
                let places =
                    offsets.iter().map(|(a, b)| self.at((x + a * size, y + b * size))).collect::<Vec<_>>();
                self.area.draw(&Polygon::new(places, colour.filled()))
            };
            match index % 4 {
                0 => self.area.draw(&Circle::new(self.at((x, y)), self.units(size), colour.filled())),
                1 => self.area.draw(&Rectangle::new(
                    [self.at((x - 0.9 * size, y - 0.9 * size)), self.at((x + 0.9 * size, y + 0.9 * size))],
                    colour.filled(),
                )),
                2 => corners(&[(0.0, -1.2), (1.15, 0.8), (-1.15, 0.8)]),
                _ => corners(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
            }
            .map_err(draw_error)?;
        }
        Ok(())
    }

    fn style(&self, size: f64, colour: RGBColor, (h, v): (HPos, VPos)) -> TextStyle<'static> {
        let font = (FONT, size * self.canvas.scale).into_font();
        TextStyle { color: colour.to_backend_color(), ..font.into_text_style(self.area).pos(Pos::new(h, v)) }
    }

    fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: RGBColor,
        anchor: (HPos, VPos),
    ) -> Result<(), ReportError> {
        // The bitmap's font sits high in its box.
        let lower = if self.canvas.join && matches!(anchor.1, VPos::Center) { 0.1 * size } else { 0.0 };
        let style = self.style(size, colour, anchor);
        self.area.draw(&Text::new(text.to_owned(), self.at((at.0, at.1 + lower)), style)).map_err(draw_error)
    }

    /// Text that is read from below.
    fn upright(&self, text: &str, at: (f64, f64), size: f64, colour: RGBColor) -> Result<(), ReportError> {
        let style = self.style(size, colour, (HPos::Center, VPos::Top)).transform(FontTransform::Rotate270);
        self.area.draw(&Text::new(text.to_owned(), self.at(at), style)).map_err(draw_error)
    }

    /// The width of a label, in pixels. A browser may have none but a wider font than the one measured here.
    fn width(&self, text: &str) -> Result<f64, ReportError> {
        let style = self.style(LABEL_SIZE, INK, (HPos::Left, VPos::Top));
        let (width, _) = self.area.estimate_text_size(text, &style).map_err(draw_error)?;
        let wider = if self.canvas.join { 1.0 } else { 1.15 };
        Ok(wider * f64::from(width) / self.canvas.scale)
    }
}
