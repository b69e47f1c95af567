//! Colours, lines, markers and text of a plot, in pixels.

use super::{FONT, draw_error};
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

pub(super) type Area<DB> = DrawingArea<DB, Shift>;

/// How a plot's pixels become the backend's.
#[derive(Clone, Copy)]
pub(super) struct Canvas {
    /// Units of the backend in a pixel.
    pub scale: f64,
    /// Draw the segments of a line one by one and join them with discs: the bitmap backend's own
    /// joins grow spikes where a line turns sharply.
    pub join: bool,
}

/// Okabe and Ito's colours, distinguishable with any colour vision; without yellow, which is hard
/// to see on white.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

pub(super) const INK: RGBColor = RGBColor(38, 38, 38);
pub(super) const AXIS: RGBColor = RGBColor(140, 140, 140);
pub(super) const GRID: RGBColor = RGBColor(232, 232, 232);

/// The size of a marker, from its middle to its rim.
const MARKER: f64 = 3.7;

/// The colour of a solid series.
pub(super) fn colour_of(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// A colour mixed with white. Not transparency: overlapping parts of a line would darken one
/// another.
pub(super) fn pale(colour: RGBColor) -> RGBColor {
    let mix = |v: u8| (f64::from(v) * 0.3 + 255.0 * 0.7).round() as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

/// Draws in pixels.
pub(super) struct Pen<'a, DB: DrawingBackend> {
    pub area: &'a Area<DB>,
    pub canvas: Canvas,
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    fn units(&self, value: f64) -> i32 {
        (value * self.canvas.scale).round() as i32
    }

    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        (self.units(x), self.units(y))
    }

    pub fn line(
        &self,
        points: &[(f64, f64)],
        width: f64,
        colour: RGBColor,
    ) -> Result<(), ReportError> {
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

    /// A filled rectangle between two corners.
    pub fn bar(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        colour: RGBColor,
    ) -> Result<(), ReportError> {
        let corners = [self.at(from), self.at(to)];
        self.area.draw(&Rectangle::new(corners, colour.filled())).map_err(draw_error)
    }

    /// A disc, square, triangle or diamond, so that lines differ without colour too,
    /// `times` as large as usual.
    pub fn marker(
        &self,
        (x, y): (f64, f64),
        times: f64,
        index: usize,
        colour: RGBColor,
    ) -> Result<(), ReportError> {
        // A white rim keeps markers apart where they overlap.
        for (size, colour) in [(MARKER * times + 1.3, WHITE), (MARKER * times, colour)] {
            let corners = |offsets: &[(f64, f64)]| {
                let corners = offsets
                    .iter()
                    .map(|(a, b)| self.at((x + a * size, y + b * size)))
                    .collect::<Vec<_>>();
                self.area.draw(&Polygon::new(corners, colour.filled()))
            };
            match index % 4 {
                0 => {
                    self.area.draw(&Circle::new(self.at((x, y)), self.units(size), colour.filled()))
                }
                1 => self.area.draw(&Rectangle::new(
                    [
                        self.at((x - 0.9 * size, y - 0.9 * size)),
                        self.at((x + 0.9 * size, y + 0.9 * size)),
                    ],
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
        TextStyle {
            color: colour.to_backend_color(),
            ..font.into_text_style(self.area).pos(Pos::new(h, v))
        }
    }

    pub fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: RGBColor,
        anchor: (HPos, VPos),
    ) -> Result<(), ReportError> {
        // The bitmap's font sits high in its box.
        let lower =
            if self.canvas.join && matches!(anchor.1, VPos::Center) { 0.1 * size } else { 0.0 };
        let style = self.style(size, colour, anchor);
        self.area
            .draw(&Text::new(text.to_owned(), self.at((at.0, at.1 + lower)), style))
            .map_err(draw_error)
    }

    /// Text that is read from below.
    pub fn upright(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: RGBColor,
    ) -> Result<(), ReportError> {
        let style =
            self.style(size, colour, (HPos::Center, VPos::Top)).transform(FontTransform::Rotate270);
        self.area.draw(&Text::new(text.to_owned(), self.at(at), style)).map_err(draw_error)
    }

    /// The width of a text, in pixels. A browser may have none but a wider font than the one
    /// measured here.
    pub fn width(&self, text: &str, size: f64) -> Result<f64, ReportError> {
        let style = self.style(size, INK, (HPos::Left, VPos::Top));
        let (width, _) = self.area.estimate_text_size(text, &style).map_err(draw_error)?;
        let wider = if self.canvas.join { 1.0 } else { 1.15 };
        Ok(wider * f64::from(width) / self.canvas.scale)
    }

    /// The text, or where it is wider than `room` its beginning and its end: names differ at
    /// either.
    pub fn fitted(&self, text: &str, size: f64, room: f64) -> Result<String, ReportError> {
        let characters: Vec<char> = text.chars().collect();
        let (mut shown, mut kept) = (text.to_owned(), characters.len());
        while kept > 2 && self.width(&shown, size)? > room {
            // A step that is long where much is left over, so that a text of any length is soon
            // short enough.
            kept -= (kept / 16).max(1);
            let (head, tail) = (kept.div_ceil(2), kept / 2);
            let ends = [&characters[..head], &['\u{2026}'], &characters[characters.len() - tail..]];
            shown = ends.into_iter().flatten().collect();
        }
        Ok(shown)
    }
}
