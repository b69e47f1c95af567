//! Line plots, as images and as SVG.

mod axis;
mod curves;
mod frame;
mod legend;
mod pen;

pub use curves::{curves, plots_png, save_plots};

use super::error::ReportError;
use crate::metrics::Estimate;
use frame::draw_plot;
use image::RgbImage;
use pen::Canvas;
use plotters::{
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    prelude::{BitMapBackend, DrawingBackend, SVGBackend, WHITE},
    style::{FontStyle, register_font},
};
use std::sync::OnceLock;

/// How a [`Series`] is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeriesStyle {
    /// A line in its own colour, with markers if the points are few, in the legend.
    #[default]
    Solid,
    /// A thin pale line in the colour of the next solid series, not in the legend: raw values
    /// behind their average.
    Faint,
    /// Markers in their own colour without a line, in the legend.
    Points,
    /// A grey line without markers, in the legend: a reference for the others.
    Reference,
}

/// One line of a plot.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// The points in drawing order. A point that is not finite, or not positive on a logarithmic
    /// axis, is left out and the line joins its neighbours.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: SeriesStyle,
    /// The lower and the upper end of each point's interval; missing or `None` if unknown.
    pub intervals: Vec<Option<[f64; 2]>>,
    /// Number of examples of each point, shown by the area of its marker; empty for markers of
    /// equal size.
    pub counts: Vec<u64>,
}

/// A strip of bars below a plot, on the same horizontal axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// The label: the counted objects.
    pub label: String,
    /// Where each bar begins and ends, and its count.
    pub bins: Vec<(f64, f64, u64)>,
}

impl Series {
    /// A solid line.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, ..Self::default() }
    }

    /// A solid line through values with their intervals.
    pub fn estimated(name: impl Into<String>, points: &[(f64, Estimate)]) -> Self {
        Self {
            intervals: points.iter().map(|p| p.1.interval()).collect(),
            ..Self::new(name, points.iter().map(|p| (p.0, p.1.value)).collect())
        }
    }

    /// A grey line to compare with.
    pub fn reference(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { style: SeriesStyle::Reference, ..Self::new(name, points) }
    }

    /// A thin pale line in the colour of the series after it.
    pub fn faint(points: Vec<(f64, f64)>) -> Self {
        Self { style: SeriesStyle::Faint, ..Self::new("", points) }
    }
}

/// One panel: a frame with axes, a legend above it, and lines.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// The title above the panel.
    pub title: String,
    /// Label of the horizontal axis.
    pub x_label: String,
    /// Label of the vertical axis.
    pub y_label: String,
    /// Logarithmic horizontal axis.
    pub log_x: bool,
    /// Logarithmic vertical axis.
    pub log_y: bool,
    /// The lines, drawn in this order.
    pub series: Vec<Series>,
    /// The range of the horizontal axis; `None` for the range of points and ticks.
    pub x_range: Option<(f64, f64)>,
    /// The range of the vertical axis; `None` for the range of the points. Lines are clipped at its
    /// ends.
    pub y_range: Option<(f64, f64)>,
    /// Ticks of the horizontal axis, for instance the measured noise levels; `None` for round
    /// values.
    pub x_ticks: Option<Vec<f64>>,
    /// A histogram below the frame.
    pub histogram: Option<Histogram>,
}

impl Plot {
    /// A plot with linear axes that span the series.
    pub fn new(
        title: impl Into<String>,
        x_label: impl Into<String>,
        y_label: impl Into<String>,
        series: Vec<Series>,
    ) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            series,
            ..Self::default()
        }
    }
}

/// The range of an axis of shares in percent, the same in every plot so that they can be compared.
pub const PERCENT: (f64, f64) = (0.0, 100.0);

/// The range from a multiple of `step` to another that holds all finite values, for the axes of
/// several plots that are to be compared; `None` without a finite value.
pub fn rounded_range(values: impl IntoIterator<Item = f64>, step: f64) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|v| v.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
    (low <= high).then_some((low, if high > low { high } else { low + step }))
}

/// A CSS list of fonts, so that a browser shows an SVG in an installed font; bitmaps use the
/// registered one.
const FONT: &str = "Ubuntu, system-ui, sans-serif";

/// A bitmap is drawn this many times larger and then averaged: the backend does not smooth thick
/// lines.
const OVERSAMPLING: u32 = 2;

/// The backend's coordinates are integers; an SVG is drawn in units of this fraction of a pixel.
const SUBPIXELS: u32 = 4;

/// The largest side of an image, in pixels.
const MAX_SIDE: u32 = 8192;

/// Draws plots into one image of `width` by `height` pixels, `columns` of them side by side.
///
/// # Errors
/// If the image has no pixel or a side above 8192 pixels.
pub fn render_png(
    plots: &[Plot],
    columns: usize,
    width: u32,
    height: u32,
) -> Result<RgbImage, ReportError> {
    prepare(width, height)?;
    let (wide, high) = (width * OVERSAMPLING, height * OVERSAMPLING);
    let mut buffer = vec![255; wide as usize * high as usize * 3];
    {
        let root = BitMapBackend::with_buffer(&mut buffer, (wide, high)).into_drawing_area();
        let canvas = Canvas { scale: f64::from(OVERSAMPLING), join: true };
        let columns = columns.clamp(1, plots.len().max(1));
        let panels = root.split_evenly((plots.len().div_ceil(columns).max(1), columns));
        plots.iter().zip(&panels).try_for_each(|(plot, panel)| draw_plot(plot, panel, canvas))?;
        present(&root)?;
    }
    let large = RgbImage::from_raw(wide, high, buffer)
        .ok_or_else(|| ReportError::Draw("the buffer is too small for the image".to_owned()))?;
    Ok(image::imageops::thumbnail(&large, width, height))
}

/// Draws one plot as an SVG document of `width` by `height` pixels. It names no file and needs no
/// font.
///
/// # Errors
/// If the image has no pixel or a side above 8192 pixels.
pub fn render_svg(plot: &Plot, width: u32, height: u32) -> Result<String, ReportError> {
    prepare(width, height)?;
    let (wide, high) = (width * SUBPIXELS, height * SUBPIXELS);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (wide, high)).into_drawing_area();
        root.fill(&WHITE).map_err(draw_error)?;
        draw_plot(plot, &root, Canvas { scale: f64::from(SUBPIXELS), join: false })?;
        present(&root)?;
    }
    // The size in pixels is set to the requested one; the view box keeps the fine units. Round
    // joins prevent spikes in noisy lines.
    let drawn = format!("<svg width=\"{wide}\" height=\"{high}\"");
    let asked = format!("<svg width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\"");
    Ok(text.replacen(&drawn, &asked, 1))
}

fn present<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>) -> Result<(), ReportError> {
    root.present().map_err(draw_error)
}

fn draw_error(error: impl std::fmt::Display) -> ReportError {
    ReportError::Draw(error.to_string())
}

/// Checks the size and makes the font known, once in a process.
fn prepare(width: u32, height: u32) -> Result<(), ReportError> {
    static FONT_KNOWN: OnceLock<bool> = OnceLock::new();
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(ReportError::Draw(format!(
            "the image size is {width}x{height}, expected sides of 1 to {MAX_SIDE} pixels"
        )));
    }
    let register =
        || register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok();
    if *FONT_KNOWN.get_or_init(register) {
        Ok(())
    } else {
        Err(ReportError::Draw("the font cannot be read".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::any};

    fn line(points: &[(f64, f64)]) -> Plot {
        Plot::new("Title", "x", "y", vec![Series::new("a", points.to_vec())])
    }

    /// Pixels with a hue: axes and text are grey.
    fn coloured(image: &RgbImage) -> usize {
        image
            .pixels()
            .filter(|p| p.0.iter().max().unwrap() - p.0.iter().min().unwrap() > 60)
            .count()
    }

    #[test]
    fn degenerate_plots_are_drawn() {
        let nan = f64::NAN;
        let cases: [(&[(f64, f64)], bool); 7] = [
            (&[], false),
            (&[(nan, 1.0), (1.0, f64::INFINITY)], false),
            (&[(1.0, 2.0)], true),
            (&[(0.0, 0.0)], true),
            (&[(1.0, 5.0), (2.0, 5.0)], true),
            (&[(0.0, 1e300), (1.0, -1e300)], true),
            (&[(0.0, 1.0), (1e-200, 1.0 + 1e-15)], true),
        ];
        for (points, visible) in cases {
            for log in [false, true] {
                let mut plot = line(points);
                (plot.log_x, plot.log_y) = (log, log);
                let image = render_png(&[plot.clone()], 1, 300, 200).unwrap();
                assert_eq!(image.dimensions(), (300, 200));
                let visible = visible && (!log || points.iter().any(|p| p.0 > 0.0 && p.1 > 0.0));
                assert_eq!(coloured(&image) > 0, visible, "{points:?}, logarithmic: {log}");
                render_svg(&plot, 300, 200).unwrap();
            }
        }
    }

    #[test]
    fn any_size_and_grid_is_drawn() {
        let plot = line(&[(0.0, 0.0), (1.0, 1.0)]);
        for (width, height) in [(1, 1), (10, 10), (60, 40), (640, 20), (20, 640)] {
            render_png(&vec![plot.clone(); 5], 2, width, height).unwrap();
            render_svg(&plot, width, height).unwrap();
        }
        for columns in [0, 1, 99] {
            render_png(&[plot.clone(), plot.clone()], columns, 300, 200).unwrap();
        }
        assert_eq!(coloured(&render_png(&[], 3, 30, 20).unwrap()), 0);
        for (width, height) in [(0, 10), (10, 0), (9000, 10), (u32::MAX, u32::MAX)] {
            assert!(matches!(render_png(&[], 1, width, height), Err(ReportError::Draw(_))));
            assert!(matches!(render_svg(&plot, width, height), Err(ReportError::Draw(_))));
        }
    }

    #[test]
    fn lines_are_cut_at_the_given_range() {
        let mut plot = line(&[(0.0, -1e6), (1.0, 1e6)]);
        plot.y_range = Some((0.0, 1.0));
        let clipped = render_png(&[plot.clone(), Plot::default()], 1, 300, 400).unwrap();
        let below = image::imageops::crop_imm(&clipped, 0, 200, 300, 200).to_image();
        assert_eq!(coloured(&below), 0, "a line runs into the panel below");
        assert!(coloured(&clipped) > 0);
    }

    #[test]
    fn counts_and_intervals_are_drawn() {
        let mut plot = line(&[(0.2, 0.5), (0.8, 0.5)]);
        (plot.x_range, plot.y_range) = (Some((0.0, 1.0)), Some((0.0, 1.0)));
        let side = |image: &RgbImage, left: u32| {
            coloured(&image::imageops::crop_imm(image, left, 70, 100, 130).to_image())
        };
        plot.series[0].counts = vec![1, 100];
        let weighted = render_png(&[plot.clone()], 1, 300, 260).unwrap();
        assert!(
            side(&weighted, 190) > side(&weighted, 60) + 40,
            "the larger count has the larger marker"
        );
        plot.series[0].intervals = vec![Some([0.1, 0.9]), None];
        let bars =
            Histogram { label: "images".to_owned(), bins: vec![(0.1, 0.3, 1), (0.7, 0.9, 100)] };
        plot.histogram = Some(bars);
        let svg = render_svg(&plot, 300, 260).unwrap();
        assert!(
            svg.contains("\n100\n") && svg.contains("\nimages\n"),
            "the bars have their numbers"
        );
        assert!(coloured(&render_png(&[plot], 1, 300, 260).unwrap()) > 0);
    }

    #[test]
    fn ranges_are_round_and_hold_all_values() {
        assert_eq!(rounded_range([33.1, f64::NAN, 20.2], 5.0), Some((20.0, 35.0)));
        assert_eq!(rounded_range([25.0], 5.0), Some((25.0, 30.0)));
        assert_eq!(rounded_range([-1.0, 4.0], 5.0), Some((-5.0, 5.0)));
        assert_eq!(rounded_range([f64::INFINITY], 5.0), None);
    }

    #[test]
    fn long_names_keep_their_ends() {
        let mut plot = line(&[(1.0, 1.0), (2.0, 2.0)]);
        plot.series[0].name = format!("runs/{}/model", "long".repeat(60));
        plot.title = "title ".repeat(60);
        let svg = render_svg(&plot, 320, 200).unwrap();
        assert!(
            svg.contains("runs/") && svg.contains("\u{2026}") && svg.contains("/model"),
            "{svg}"
        );
        assert!(
            svg.lines().all(|line| line.starts_with('<') || line.chars().count() < 60),
            "{svg}"
        );
    }

    #[test]
    fn an_svg_escapes_its_text_and_has_the_size_asked_for() {
        let mut plot = line(&[(1.0, 1.0), (2.0, 2.0)]);
        plot.title = "<script>&\"".to_owned();
        let svg = render_svg(&plot, 320, 200).unwrap();
        assert!(svg.starts_with("<svg width=\"320\" height=\"200\""), "{}", &svg[..80]);
        assert!(svg.contains("viewBox=\"0 0 1280 800\""));
        assert!(svg.contains("&lt;script&gt;&amp;"));
        assert!(!svg.contains("<script"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn no_numbers_break_a_plot(
            points in vec(any::<(f64, f64)>(), 0..30),
            x_ticks in option::of(vec(any::<f64>(), 0..9)),
            y_range in any::<Option<(f64, f64)>>(),
            log in any::<(bool, bool)>(),
            ends in vec(any::<Option<[f64; 2]>>(), 0..30),
            bins in option::of(vec(any::<(f64, f64, u64)>(), 0..9)),
        ) {
            let histogram = bins.map(|bins| Histogram { label: "n".to_owned(), bins });
            let (log_x, log_y) = log;
            let mut plot = Plot { x_ticks, y_range, log_x, log_y, histogram, ..line(&points) };
            plot.series[0].intervals = ends;
            render_svg(&plot, 300, 200).unwrap();
            render_png(&[plot], 1, 120, 90).unwrap();
        }
    }
}
