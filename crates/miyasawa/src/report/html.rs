//! One page that holds everything it shows: no script, no file beside it, nothing fetched.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt::Write;

/// Which value of a table's column is marked as the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Best {
    /// The largest number.
    Highest,
    /// The smallest number.
    Lowest,
}

/// What a table has besides its cells.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// Stands under the table.
    pub caption: Option<String>,
    /// Columns, counted from 0, whose best cell is marked; equal cells are all marked.
    pub best: Vec<(usize, Best)>,
}

/// A page under construction. Text may hold any character; it is escaped.
///
/// ```
/// # use miyasawa::report::Page;
/// let mut page = Page::new("Results");
/// page.heading("Accuracy").paragraph("On 1,000 pictures.");
/// page.table(&["noise", "accuracy"], &[vec!["0.1".to_owned(), "91.2%".to_owned()]]);
/// let html = page.render();
/// assert!(html.starts_with("<!doctype html>"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

/// Width of the page's text column, in CSS pixels.
const COLUMN: u32 = 920;

const STYLE: &str = include_str!("page.css");

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new() }
    }

    /// A paragraph of text.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<p>{}</p>", Escaped(text)))
    }

    /// A heading of a section.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<h2>{}</h2>", Escaped(text)))
    }

    /// A heading within a section.
    pub fn subheading(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<h3>{}</h3>", Escaped(text)))
    }

    /// Text in a fixed-width font, line by line as it is: a command, a configuration.
    pub fn code(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<pre><code>{}</code></pre>", Escaped(text)))
    }

    /// A table. Columns of numbers are aligned to the right.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> &mut Self {
        self.table_with(header, rows, &TableOptions::default())
    }

    /// A table with a caption and marked cells.
    pub fn table_with(&mut self, header: &[&str], rows: &[Vec<String>], options: &TableOptions) -> &mut Self {
        let columns = rows.iter().map(Vec::len).fold(header.len(), usize::max);
        let cell = |row: &'_ [String], column: usize| row.get(column).cloned().unwrap_or_default();
        let classes: Vec<&str> = (0..columns)
            .map(|column| if is_numeric(rows, column) { " class=\"number\"" } else { "" })
            .collect();
        let mut html = String::from("<figure class=\"table\"><div tabindex=\"0\"><table>\n<thead><tr>");
        for (column, class) in classes.iter().enumerate() {
            put(
                &mut html,
                format_args!("<th scope=\"col\"{class}>{}</th>", Escaped(header.get(column).unwrap_or(&""))),
            );
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            html.push_str("<tr>");
            for (column, class) in classes.iter().enumerate() {
                let text = cell(row, column);
                let best =
                    options.best.iter().find(|b| b.0 == column).and_then(|b| extreme(rows, column, b.1));
                let marked = best.is_some() && number(&text) == best;
                let (open, close) = if marked { ("<mark>", "</mark>") } else { ("", "") };
                put(&mut html, format_args!("<td{class}>{open}{}{close}</td>", Escaped(&text)));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>");
        put(&mut html, format_args!("{}</figure>", Caption(options.caption.as_deref().unwrap_or_default())));
        self.push(format_args!("{html}"))
    }

    /// A PNG picture at its own size, smaller where the page is narrower.
    pub fn figure_png(&mut self, png: &[u8], caption: &str) -> &mut Self {
        let size = png_size(png).map(|(w, h)| format!(" width=\"{w}\" height=\"{h}\"")).unwrap_or_default();
        self.figure("", "image/png", png, &size, caption)
    }

    /// A PNG picture of few pixels, such as a grid of samples, enlarged a whole number of times with every pixel
    /// a sharp square.
    pub fn figure_pixels(&mut self, png: &[u8], caption: &str) -> &mut Self {
        let enlarged = |(w, h): (u32, u32)| {
            let times = (COLUMN / w.max(1)).clamp(1, 8);
            format!(" width=\"{}\" height=\"{}\"", w.saturating_mul(times), h.saturating_mul(times))
        };
        let size = png_size(png).map(enlarged).unwrap_or_default();
        self.figure(" class=\"pixels\"", "image/png", png, &size, caption)
    }

    /// An SVG drawing, on a light card in the dark theme too. It is embedded as a picture: nothing in it can run.
    pub fn figure_svg(&mut self, svg: &str, caption: &str) -> &mut Self {
        self.figure(" class=\"card\"", "image/svg+xml", svg.as_bytes(), "", caption)
    }

    fn figure(&mut self, class: &str, kind: &str, bytes: &[u8], size: &str, caption: &str) -> &mut Self {
        let (data, alt) = (STANDARD.encode(bytes), Escaped(caption));
        let image = format!("<img src=\"data:{kind};base64,{data}\" alt=\"{alt}\"{size}>");
        self.push(format_args!("<figure{class}>{image}{}</figure>", Caption(caption)))
    }

    /// The whole document.
    #[must_use]
    pub fn render(&self) -> String {
        let (title, body, version) = (Escaped(&self.title), &self.body, env!("CARGO_PKG_VERSION"));
        // The policy makes the browser hold the page to its promise of loading nothing.
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
             {body}</main>\n<footer>miyasawa {version}</footer>\n</body>\n</html>\n"
        )
    }

    fn push(&mut self, html: std::fmt::Arguments<'_>) -> &mut Self {
        put(&mut self.body, html);
        self.body.push('\n');
        self
    }
}

/// Appends; a string has always room.
fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = html.write_fmt(text);
}

/// Text with the characters that mean something in HTML replaced.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // HTML has no way to write a null character.
            '\0' => f.write_char(char::REPLACEMENT_CHARACTER),
            c => f.write_char(c),
        })
    }
}

/// A figure's caption, or nothing.
struct Caption<'a>(&'a str);

impl std::fmt::Display for Caption<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            "" => Ok(()),
            text => write!(f, "<figcaption>{}</figcaption>", Escaped(text)),
        }
    }
}

/// The number a cell starts with, whatever unit comes after it: `31.07 dB`, `86.5%`, `0.91 ± 0.02`.
fn number(cell: &str) -> Option<f64> {
    let cell = cell.trim().replace('\u{2212}', "-").replace(',', "");
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let end = cell.find(|c| !digits(c)).unwrap_or(cell.len());
    // A unit that starts with e is not an exponent.
    let start = cell[..end].trim_end_matches(['e', 'E', '+', '-']);
    start.parse().ok().filter(|v: &f64| v.is_finite())
}

/// Whether a column holds numbers, and at most dashes or nothing besides.
fn is_numeric(rows: &[Vec<String>], column: usize) -> bool {
    let cells = || rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.trim());
    let blank = |cell: &str| matches!(cell, "" | "-" | "\u{2013}" | "\u{2014}");
    cells().any(|cell| number(cell).is_some()) && cells().all(|cell| blank(cell) || number(cell).is_some())
}

fn extreme(rows: &[Vec<String>], column: usize, best: Best) -> Option<f64> {
    let values = rows.iter().filter_map(|row| number(row.get(column)?));
    match best {
        Best::Highest => values.max_by(f64::total_cmp),
        Best::Lowest => values.min_by(f64::total_cmp),
    }
}

/// Width and height from a PNG's header, so that the page does not move while pictures are decoded.
fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let read = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    if !png.starts_with(b"\x89PNG\r\n\x1a\n") {
        return None;
    }
    Some((read(16)?, read(20)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert(\"1\")</script>&'\0";

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn cells(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|&c| c.to_owned()).collect()).collect()
    }

    #[test]
    fn every_text_is_escaped() {
        let mut page = Page::new(HOSTILE);
        let options = TableOptions { caption: Some(HOSTILE.to_owned()), best: vec![(0, Best::Highest)] };
        page.heading(HOSTILE).subheading(HOSTILE).paragraph(HOSTILE).code(HOSTILE);
        page.table_with(&[HOSTILE], &cells(&[&[HOSTILE]]), &options);
        page.figure_png(&png(2, 2), HOSTILE).figure_pixels(&png(2, 2), HOSTILE).figure_svg("<svg/>", HOSTILE);
        let html = page.render();
        assert!(!html.contains("<script") && !html.contains("alert(\"") && !html.contains('\0'));
        assert_eq!(html.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;").count(), 15);
    }

    #[test]
    fn nothing_is_fetched() {
        let mut page = Page::new("t");
        page.figure_png(&png(3, 2), "").figure_svg("<svg onload=\"alert(1)\"/>", "");
        let html = page.render();
        for word in ["http:", "https:", "url(", "@import", "<link", "onload", "<figcaption"] {
            assert!(!html.contains(word), "{word}");
        }
        assert!(html.contains("data:image/png;base64,iVBORw0KGgo"));
        assert!(html.contains("width=\"3\" height=\"2\""));
    }

    #[test]
    fn columns_of_numbers_are_aligned_and_the_best_marked() {
        let rows = cells(&[
            &["joint", "86.5%", "0.2", "-"],
            &["plain", "90.1%", "0.1", "3 dB"],
            &["x", "90.1%", "n/a"],
        ]);
        let best = vec![(1, Best::Highest), (2, Best::Lowest), (9, Best::Lowest)];
        let mut page = Page::new("t");
        page.table_with(&["model", "accuracy", "loss"], &rows, &TableOptions { caption: None, best });
        let html = page.render();
        assert!(html.contains(
            ">model</th><th scope=\"col\" class=\"number\">accuracy</th><th scope=\"col\">loss</th>"
        ));
        assert_eq!(html.matches("<mark>90.1%</mark>").count(), 2);
        assert_eq!(html.matches("<mark>").count(), 3);
        assert!(html.contains("<mark>0.1</mark>"));
        assert_eq!(html.matches("<td").count(), 12, "short rows are filled up");
        assert!(
            !Page::new("t")
                .table(&[], &[])
                .table(&["a"], &[])
                .table(&[], &cells(&[&["1"]]))
                .render()
                .contains("<td></td>")
        );
    }

    #[test]
    fn numbers_are_read_with_their_units() {
        let cases = [
            ("31.07 dB", Some(31.07)),
            ("86.5%", Some(86.5)),
            ("0.91 ± 0.02", Some(0.91)),
            ("\u{2212}2", Some(-2.0)),
            ("1,234", Some(1234.0)),
            ("1e-4", Some(1e-4)),
            ("3 epochs", Some(3.0)),
            ("3epochs", Some(3.0)),
            ("", None),
            ("-", None),
            ("inf", None),
            ("n/a", None),
        ];
        for (cell, value) in cases {
            assert_eq!(number(cell), value, "{cell}");
        }
    }

    #[test]
    fn small_pictures_are_enlarged_whole_times() {
        let mut page = Page::new("t");
        page.figure_pixels(&png(100, 30), "a").figure_pixels(&png(2000, 10), "b").figure_pixels(b"none", "c");
        let html = page.render();
        assert!(html.contains("width=\"800\" height=\"240\""));
        assert!(html.contains("width=\"2000\" height=\"10\""));
    }
}
