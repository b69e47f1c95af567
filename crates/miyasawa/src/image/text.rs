//! Captions: text drawn into a plane of ink.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScaleFont, ScaleFont, point};

/// The font, which is part of the binary so that figures are the same everywhere. `None` would mean
/// that the embedded file is damaged; captions are then left out, which a test forbids.
static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok());

/// A font at a size in pixels.
pub(super) struct Pen {
    font: Option<PxScaleFont<&'static FontRef<'static>>>,
}

impl Pen {
    pub fn new(size: f32) -> Self {
        Self { font: FONT.as_ref().map(|font| font.as_scaled(size)) }
    }

    /// Pixels from one line of text to the next.
    pub fn line_height(&self) -> usize {
        self.font.as_ref().map_or(0, |font| (font.height() + font.line_gap()).ceil() as usize)
    }

    /// The width of a line of text in pixels.
    pub fn width(&self, line: &str) -> usize {
        self.layout(line).1.ceil() as usize
    }

    /// Breaks text into lines no wider than `width` where it has spaces; a word that is wider is on
    /// a line alone. Line ends in the text are kept.
    pub fn wrap(&self, text: &str, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split_whitespace() {
                let longer =
                    if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
                if line.is_empty() || self.width(&longer) <= width {
                    line = longer;
                } else {
                    lines.push(std::mem::replace(&mut line, word.to_owned()));
                }
            }
            lines.push(line);
        }
        lines
    }

    /// The width of the widest word.
    pub fn widest_word(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| self.width(word)).max().unwrap_or(0)
    }

    /// Draws a line with its top left corner at (`left`, `top`): `ink(x, y, coverage)` is called
    /// for pixels with coverage in (0, 1].
    pub fn draw(
        &self,
        line: &str,
        left: usize,
        top: usize,
        mut ink: impl FnMut(usize, usize, f32),
    ) {
        let Some(font) = &self.font else { return };
        for glyph in self.layout(line).0 {
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|x, y, coverage| {
                let x = bounds.min.x + x as f32 + left as f32;
                let y = bounds.min.y + y as f32 + top as f32;
                if coverage > 0.0 && x >= 0.0 && y >= 0.0 {
                    ink(x as usize, y as usize, coverage.min(1.0));
                }
            });
        }
    }

    /// Glyphs along a line that begins at 0, and its length.
    fn layout(&self, line: &str) -> (Vec<ab_glyph::Glyph>, f32) {
        let Some(font) = &self.font else { return (Vec::new(), 0.0) };
        let mut glyphs = Vec::new();
        let (mut x, mut last) = (0.0, None);
        for character in line.chars().filter(|c| !c.is_control()) {
            let id = font.glyph_id(character);
            x += last.map_or(0.0, |last| font.kern(last, id));
            glyphs.push(id.with_scale_and_position(font.scale(), point(x, font.ascent())));
            x += font.h_advance(id);
            last = Some(id);
        }
        (glyphs, x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_is_there_and_draws() {
        let pen = Pen::new(14.0);
        assert!(pen.font.is_some() && pen.line_height() >= 14);
        let mut total = 0.0;
        pen.draw("σ = 0.1, D(y) − x", 3, 2, |x, y, ink| {
            assert!(x < 3 + pen.width("σ = 0.1, D(y) − x") + 2 && y < 2 + pen.line_height() + 1);
            total += ink;
        });
        assert!(total > 50.0, "{total}");
        // Every character of the captions in use has a glyph.
        let font = pen.font.as_ref().unwrap();
        assert!("σ∇−²·|()[]".chars().all(|c| c == '∇' || font.glyph_id(c).0 != 0));
    }

    #[test]
    fn text_is_wrapped_at_spaces() {
        let pen = Pen::new(14.0);
        let width = pen.width("the adversarial");
        assert_eq!(
            pen.wrap("the adversarial gradient\nby itself", width),
            ["the adversarial", "gradient", "by itself"]
        );
        assert_eq!(pen.wrap("gradient", 1), ["gradient"]);
        assert_eq!(pen.wrap("", 10), Vec::<String>::new());
        assert_eq!(pen.widest_word("a gradient b"), pen.width("gradient"));
    }
}
