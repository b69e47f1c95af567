//! A self-contained HTML page: no scripts, no other files, nothing fetched.

use super::provenance::Provenance;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt::Write;

/// The caption and the marked cells of a table.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// The caption below the table.
    pub caption: Option<String>,
    /// Marked cells, (row, column) counted from 0; see
    /// [`distinct_best`](crate::metrics::distinct_best).
    pub marked: Vec<(usize, usize)>,
}

/// A page under construction. Text may hold any character; it is escaped.
///
/// ```
/// # use miyasawa::report::Page;
/// let mut page = Page::new("Results");
/// page.heading("Accuracy").paragraph("On 1,000 images.");
/// page.table(&["noise", "accuracy"], &[vec!["0.1".to_owned(), "91.2%".to_owned()]]);
/// let html = page.render();
/// assert!(html.starts_with("<!doctype html>"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
    footer: String,
}

/// Width of the page's text column, in CSS pixels.
pub const COLUMN: u32 = 920;
/// Pixels of a drawn image in a CSS pixel, for figures with text: screens have up to two, and text
/// drawn with one is blurred.
pub const DENSITY: u32 = 2;

const STYLE: &str = include_str!("page.css");

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new(), footer: String::new() }
    }

    /// Adds the provenance at the end: program, date, command line, and name and hash of every
    /// model.
    pub fn provenance(&mut self, from: &Provenance, models: &[(String, String)]) -> &mut Self {
        let (program, date, call) =
            (Escaped(&from.program), Escaped(&from.date), Escaped(&from.call));
        self.footer = format!("<p>{program}, {date}</p>\n<pre><code>{call}</code></pre>");
        for (name, hash) in models {
            let (name, hash) = (Escaped(name), Escaped(hash));
            put(&mut self.footer, format_args!("\n<p>{name}: SHA-256 <code>{hash}</code></p>"));
        }
        self
    }

    /// A paragraph of text.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<p>{}</p>", Escaped(text)))
    }

    /// Adds highlighted paragraphs, each a verdict and its justification.
    pub fn answer(&mut self, paragraphs: &[(String, String)]) -> &mut Self {
        let mut html = String::new();
        for (verdict, reason) in paragraphs {
            let (verdict, reason) = (Escaped(verdict), Escaped(reason));
            put(&mut html, format_args!("<p><strong>{verdict}</strong> {reason}</p>\n"));
        }
        self.push(format_args!("<div class=\"answer\">\n{html}</div>"))
    }

    /// A heading of a section.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<h2>{}</h2>", Escaped(text)))
    }

    /// A heading within a section.
    pub fn subheading(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<h3>{}</h3>", Escaped(text)))
    }

    /// Adds text in a fixed-width font with its line breaks: a command, a configuration.
    pub fn code(&mut self, text: &str) -> &mut Self {
        self.push(format_args!("<pre><code>{}</code></pre>", Escaped(text)))
    }

    /// A table. Columns of numbers are aligned to the right. One that is wider than the page
    /// scrolls.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> &mut Self {
        self.table_with(header, rows, &TableOptions::default())
    }

    /// A table with a caption and marked cells.
    pub fn table_with(
        &mut self,
        header: &[&str],
        rows: &[Vec<String>],
        options: &TableOptions,
    ) -> &mut Self {
        let columns = rows.iter().map(Vec::len).fold(header.len(), usize::max);
        let cell = |row: &'_ [String], column: usize| row.get(column).cloned().unwrap_or_default();
        let classes: Vec<&str> = (0..columns)
            .map(|column| if is_numeric(rows, column) { " class=\"number\"" } else { "" })
            .collect();
        let mut html =
            String::from("<figure class=\"table\"><div tabindex=\"0\"><table>\n<thead><tr>");
        for (column, class) in classes.iter().enumerate() {
            put(
                &mut html,
                format_args!(
                    "<th scope=\"col\"{class}>{}</th>",
                    Escaped(header.get(column).unwrap_or(&""))
                ),
            );
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for (number, row) in rows.iter().enumerate() {
            html.push_str("<tr>");
            for (column, class) in classes.iter().enumerate() {
                let text = cell(row, column);
                let marked = options.marked.contains(&(number, column));
                let (open, close) = if marked { ("<mark>", "</mark>") } else { ("", "") };
                put(&mut html, format_args!("<td{class}>{open}{}{close}</td>", Escaped(&text)));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>");
        put(
            &mut html,
            format_args!("{}</figure>", Caption(options.caption.as_deref().unwrap_or_default())),
        );
        self.push(format_args!("{html}"))
    }

    /// A PNG image that was drawn with [`DENSITY`] pixels for each of the page, smaller where the
    /// page is narrower.
    pub fn figure_png(&mut self, png: &[u8], caption: &str) -> &mut Self {
        let size = |(w, h): (u32, u32)| {
            format!(" width=\"{}\" height=\"{}\"", w.div_ceil(DENSITY), h.div_ceil(DENSITY))
        };
        let size = png_size(png).map(size).unwrap_or_default();
        self.figure("", &[image("image/png", png, caption, &size)], caption)
    }

    /// An SVG drawing, on a light card in the dark theme too. It is embedded as an image: nothing
    /// in it can run.
    pub fn figure_svg(&mut self, svg: &str, caption: &str) -> &mut Self {
        self.figure_svgs(&[svg.to_owned()], caption)
    }

    /// SVG drawings side by side as far as the page is wide.
    pub fn figure_svgs(&mut self, svgs: &[String], caption: &str) -> &mut Self {
        let images: Vec<String> =
            svgs.iter().map(|svg| image("image/svg+xml", svg.as_bytes(), caption, "")).collect();
        self.figure(" class=\"card\"", &images, caption)
    }

    fn figure(&mut self, class: &str, images: &[String], caption: &str) -> &mut Self {
        self.push(format_args!("<figure{class}>{}{}</figure>", images.concat(), Caption(caption)))
    }

    /// The complete HTML document.
    #[must_use]
    pub fn render(&self) -> String {
        let (title, body) = (Escaped(&self.title), &self.body);
        let footer = match self.footer.as_str() {
            "" => format!("<p>{} {}</p>", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            footer => footer.to_owned(),
        };
        // The policy makes the browser refuse to load anything.
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n\
             {body}</main>\n<footer>\n{footer}\n</footer>\n</body>\n</html>\n"
        )
    }

    fn push(&mut self, html: std::fmt::Arguments<'_>) -> &mut Self {
        put(&mut self.body, html);
        self.body.push('\n');
        self
    }
}

/// An `img` element that contains the image's bytes.
fn image(kind: &str, bytes: &[u8], alt: &str, size: &str) -> String {
    let (data, alt) = (STANDARD.encode(bytes), Escaped(alt));
    format!("<img src=\"data:{kind};base64,{data}\" alt=\"{alt}\"{size}>")
}

/// Appends to a string, which cannot fail.
fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = html.write_fmt(text);
}

/// Text with the special characters of HTML escaped.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // HTML cannot represent a null character.
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

/// The number at the start of a cell, followed by any unit: `31.07 dB`, `86.5%`, `0.91 ± 0.02`.
fn number(cell: &str) -> Option<f64> {
    let cell = cell.trim().replace('\u{2212}', "-").replace(',', "");
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let end = cell.find(|c| !digits(c)).unwrap_or(cell.len());
    // A unit that starts with e is not an exponent.
    let start = cell[..end].trim_end_matches(['e', 'E', '+', '-']);
    start.parse().ok().filter(|v: &f64| v.is_finite())
}

/// Whether a column holds only numbers, dashes and empty cells, and at least one number or dash.
fn is_numeric(rows: &[Vec<String>], column: usize) -> bool {
    let cells = || rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.trim());
    let counts =
        |cell: &str| matches!(cell, "-" | "\u{2013}" | "\u{2014}") || number(cell).is_some();
    cells().any(counts) && cells().all(|cell| cell.is_empty() || counts(cell))
}

/// Width and height from a PNG's header, so that the page does not move while images are decoded.
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
        let options = TableOptions { caption: Some(HOSTILE.to_owned()), marked: vec![(0, 0)] };
        let from =
            Provenance { program: HOSTILE.into(), date: HOSTILE.into(), call: HOSTILE.into() };
        page.heading(HOSTILE)
            .subheading(HOSTILE)
            .paragraph(HOSTILE)
            .answer(&[(HOSTILE.into(), HOSTILE.into())])
            .code(HOSTILE);
        page.provenance(&from, &[(HOSTILE.into(), HOSTILE.into())]);
        page.table_with(&[HOSTILE], &cells(&[&[HOSTILE]]), &options);
        page.figure_png(&png(2, 2), HOSTILE).figure_svg("<svg/>", HOSTILE);
        let html = page.render();
        assert!(!html.contains("<script") && !html.contains("alert(\"") && !html.contains('\0'));
        assert_eq!(
            html.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;").count(),
            20
        );
    }

    #[test]
    fn a_page_loads_nothing() {
        let mut page = Page::new("t");
        page.figure_png(&png(3, 2), "").figure_svg("<svg onload=\"alert(1)\"/>", "");
        let html = page.render();
        for word in ["http:", "https:", "url(", "@import", "<link", "onload", "<figcaption"] {
            assert!(!html.contains(word), "{word}");
        }
        assert!(html.contains("data:image/png;base64,iVBORw0KGgo"));
        assert!(html.contains("width=\"2\" height=\"1\""));
    }

    #[test]
    fn columns_of_numbers_are_aligned_and_cells_marked() {
        let rows = cells(&[
            &["joint", "86.5%", "0.2", "-"],
            &["plain", "90.1%", "0.1", "3 dB"],
            &["x", "90.1%", "n/a"],
        ]);
        let marked = vec![(1, 1), (2, 1), (1, 2), (9, 9)];
        let mut page = Page::new("t");
        page.table_with(
            &["model", "accuracy", "loss"],
            &rows,
            &TableOptions { caption: None, marked },
        );
        page.table(&["none"], &cells(&[&["-"], &["-"]]));
        let html = page.render();
        assert!(html.contains(
            ">model</th><th scope=\"col\" class=\"number\">accuracy</th><th scope=\"col\">loss</th>"
        ));
        assert_eq!(html.matches("<mark>90.1%</mark>").count(), 2);
        assert_eq!(html.matches("<mark>").count(), 3);
        assert!(html.contains("<mark>0.1</mark>"));
        assert_eq!(html.matches("<td").count(), 14, "short rows are filled up");
        assert!(html.contains("class=\"number\">none</th>"));
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
}
