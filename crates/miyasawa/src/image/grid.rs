//! Images in rows and columns, with captions.

use super::text::Pen;
use super::{Image, ImageError, check_size};

/// Paper and ink of figures.
const PAPER: f32 = 1.0;
const INK: f32 = -0.85;

/// A row of a [`Grid`].
#[derive(Debug, Clone, Default)]
pub struct GridRow<'a> {
    /// Written to the left of the row, nothing if empty. Line ends are kept.
    pub caption: String,
    /// The images from left to right.
    pub images: Vec<&'a Image>,
}

/// A figure: images in rows and columns on white, with captions.
///
/// Each image is enlarged by an integer factor, its pixels becoming squares (nothing is
/// interpolated in a figure that is to be judged by eye), and is at the centre of its cell. The
/// figure is in colour if one image is.
#[derive(Debug, Clone)]
pub struct Grid<'a> {
    /// The rows from the top.
    pub rows: Vec<GridRow<'a>>,
    /// Written above the columns, wrapped to their width; may be fewer than the columns.
    pub columns: Vec<String>,
    /// Written below everything, wrapped to the figure's width; nothing if empty.
    pub note: String,
    /// White pixels between images and around the figure.
    pub gap: usize,
    /// The factor by which images are enlarged, at least 1.
    pub scale: usize,
    /// The size of the captions in pixels.
    pub text: f32,
}

impl Default for Grid<'_> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            columns: Vec::new(),
            note: String::new(),
            gap: 4,
            scale: 1,
            text: 15.0,
        }
    }
}

/// Lays images out in rows, each enlarged by the factor `scale`, `gap` white pixels between them
/// and none around.
///
/// # Errors
///
/// As [`Grid::draw`].
pub fn grid(rows: &[Vec<Image>], gap: usize, scale: usize) -> Result<Image, ImageError> {
    let rows =
        rows.iter().map(|row| GridRow { caption: String::new(), images: row.iter().collect() });
    let figure = Grid { rows: rows.collect(), gap, scale, ..Grid::default() };
    figure.draw_with_border(0)
}

/// A figure while it is drawn.
struct Canvas {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl Canvas {
    fn paste(&mut self, image: &Image, top: usize, left: usize, scale: usize) {
        let (height, width) = (image.height, image.width);
        for c in 0..self.channels {
            let plane = &image.values[(c % image.channels) * height * width..][..height * width];
            for y in 0..height * scale {
                let from = &plane[y / scale * width..][..width];
                let to = &mut self.values[(c * self.height + top + y) * self.width + left..]
                    [..width * scale];
                to.chunks_exact_mut(scale).zip(from).for_each(|(to, &value)| to.fill(value));
            }
        }
    }

    fn write(&mut self, pen: &Pen, line: &str, top: usize, left: usize) {
        let (channels, height, width) = (self.channels, self.height, self.width);
        let values = &mut self.values;
        pen.draw(line, left, top, |x, y, coverage| {
            if x < width && y < height {
                for c in 0..channels {
                    let value = &mut values[(c * height + y) * width + x];
                    *value += (INK - *value) * coverage;
                }
            }
        });
    }
}

impl Grid<'_> {
    /// Draws the figure.
    ///
    /// # Errors
    ///
    /// [`ImageError::Shape`] if there is no image, the scale is 0, or the figure would exceed
    /// [`super::MAX_PIXELS`].
    pub fn draw(&self) -> Result<Image, ImageError> {
        self.draw_with_border(self.gap)
    }

    fn draw_with_border(&self, border: usize) -> Result<Image, ImageError> {
        let all = || self.rows.iter().flat_map(|row| &row.images);
        let Some(channels) = all().map(|image| image.channels).max().filter(|_| self.scale > 0)
        else {
            return Err(ImageError::Shape {
                expected: "a grid of at least one image at a scale of at least 1".to_owned(),
                found: format!("{} images at scale {}", all().count(), self.scale),
            });
        };
        let pen = Pen::new(self.text);
        let line = pen.line_height();

        let count = self.rows.iter().map(|row| row.images.len()).max().unwrap_or(0);
        let heading = |c: usize| self.columns.get(c).map_or("", String::as_str);
        let widths: Vec<usize> = (0..count)
            .map(|c| {
                let images = self.rows.iter().filter_map(|row| row.images.get(c));
                let widest = images.map(|p| p.width.saturating_mul(self.scale)).max().unwrap_or(0);
                widest.max(pen.widest_word(heading(c)))
            })
            .collect();
        let headings: Vec<Vec<String>> =
            (0..count).map(|c| pen.wrap(heading(c), widths[c])).collect();
        let heading_lines = headings.iter().map(Vec::len).max().unwrap_or(0);

        let captions: Vec<Vec<&str>> =
            self.rows.iter().map(|row| row.caption.lines().collect()).collect();
        let caption_width =
            captions.iter().flatten().map(|line| pen.width(line)).max().unwrap_or(0);
        let heights: Vec<usize> = self
            .rows
            .iter()
            .zip(&captions)
            .map(|(row, caption)| {
                let tallest = row.images.iter().map(|p| p.height.saturating_mul(self.scale)).max();
                tallest.unwrap_or(0).max(caption.len() * line)
            })
            .collect();

        let sum = |sizes: &[usize]| {
            let gaps = self.gap.saturating_mul(sizes.len().saturating_sub(1));
            sizes.iter().fold(gaps, |total, &size| total.saturating_add(size))
        };
        // A gap follows captions and headings if there are any.
        let after = |size: usize| if size > 0 { size + self.gap.max(4) } else { 0 };
        let (left, top) = (border + after(caption_width), border + after(heading_lines * line));
        let width = sum(&widths).saturating_add(left).saturating_add(border);
        let notes = pen.wrap(&self.note, width.saturating_sub(2 * border));
        let below = if notes.is_empty() { 0 } else { notes.len() * line + self.gap.max(4) };
        let height = sum(&heights).saturating_add(top).saturating_add(border + below);
        check_size(height, width)?;

        let mut canvas =
            Canvas { channels, height, width, values: vec![PAPER; channels * height * width] };
        let mut x = left;
        for (lines, column) in headings.iter().zip(&widths) {
            // Headings end just above the images: short ones begin lower.
            let first = border + (heading_lines - lines.len()) * line;
            for (i, text) in lines.iter().enumerate() {
                let indent = column.saturating_sub(pen.width(text)) / 2;
                canvas.write(&pen, text, first + i * line, x + indent);
            }
            x += column + self.gap;
        }
        let mut y = top;
        for ((row, caption), row_height) in self.rows.iter().zip(&captions).zip(&heights) {
            let first = y + (row_height - caption.len() * line) / 2;
            for (i, text) in caption.iter().enumerate() {
                canvas.write(&pen, text, first + i * line, border);
            }
            let mut x = left;
            for (image, column) in row.images.iter().zip(&widths) {
                let (free_y, free_x) =
                    (row_height - image.height * self.scale, column - image.width * self.scale);
                canvas.paste(image, y + free_y / 2, x + free_x / 2, self.scale);
                x += column + self.gap;
            }
            y += row_height + self.gap;
        }
        let first = height - border - notes.len() * line;
        for (i, text) in notes.iter().enumerate() {
            canvas.write(&pen, text, first + i * line, border);
        }
        Image::new((channels, height, width), canvas.values)
    }
}
