//! The names of a plot's lines, above its frame.

use super::{
    Plot, SeriesStyle,
    frame::MOST_MARKERS,
    pen::{AXIS, INK, Pen, colour_of},
};
use crate::report::ReportError;
use plotters::{
    prelude::DrawingBackend,
    style::text_anchor::{HPos, VPos},
};

/// Size of the names, in pixels.
pub(super) const LABEL_SIZE: f64 = 14.0;
/// Length of a line in the legend and the room between it, its name and the next entry.
const KEY: f64 = 24.0;
const KEY_GAP: f64 = 6.0;
const ENTRY_GAP: f64 = 18.0;
/// The largest number of rows; further entries are replaced by a note.
const MOST_ROWS: usize = 6;

/// How an entry is drawn.
enum Key {
    /// A series in its own colour, whether a line joins its points, and whether they have markers.
    Coloured { index: usize, line: bool, marker: bool },
    /// A reference line.
    Reference,
    /// The note that there are more.
    More,
}

/// One name of the legend.
pub(super) struct Entry {
    name: String,
    key: Key,
    width: f64,
}

/// The legend's entries in rows no wider than `room`. A series without a name or a point has none.
pub(super) fn legend<DB: DrawingBackend>(
    plot: &Plot,
    pen: &Pen<'_, DB>,
    room: f64,
) -> Result<Vec<Vec<Entry>>, ReportError> {
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    let (mut used, mut index) = (f64::INFINITY, 0);
    for series in &plot.series {
        let marker = series.points.len() <= MOST_MARKERS;
        let key = match series.style {
            SeriesStyle::Faint => continue,
            SeriesStyle::Reference => Key::Reference,
            style => {
                index += 1;
                let points = style == SeriesStyle::Points;
                Key::Coloured { index: index - 1, line: !points, marker: marker || points }
            }
        };
        if series.name.is_empty() || !series.points.iter().any(|p| plot.shows(*p)) {
            continue;
        }
        let name = pen.fitted(&series.name, LABEL_SIZE, room - KEY - KEY_GAP)?;
        let width = KEY + KEY_GAP + pen.width(&name, LABEL_SIZE)?;
        if used + ENTRY_GAP + width > room {
            if rows.len() == MOST_ROWS {
                let more = Entry { name: "\u{2026}".to_owned(), key: Key::More, width: 12.0 };
                rows[MOST_ROWS - 1].push(more);
                break;
            }
            rows.push(Vec::new());
            used = -ENTRY_GAP;
        }
        used += ENTRY_GAP + width;
        if let Some(row) = rows.last_mut() {
            row.push(Entry { name, key, width });
        }
    }
    Ok(rows)
}

/// Draws a row of entries around the middle of `width`.
pub(super) fn draw_legend_row<DB: DrawingBackend>(
    row: &[Entry],
    pen: &Pen<'_, DB>,
    (width, y): (f64, f64),
) -> Result<(), ReportError> {
    let total = row.iter().map(|e| e.width + ENTRY_GAP).sum::<f64>() - ENTRY_GAP;
    let mut x = (width - total) / 2.0;
    for entry in row {
        let key = [(x, y), (x + KEY, y)];
        let text = if matches!(entry.key, Key::More) { x } else { x + KEY + KEY_GAP };
        match entry.key {
            Key::Coloured { index, line, marker } => {
                if line {
                    pen.line(&key, 2.0, colour_of(index))?;
                }
                if marker {
                    pen.marker((x + KEY / 2.0, y), 1.0, index, colour_of(index))?;
                }
            }
            Key::Reference => pen.line(&key, 1.5, AXIS)?,
            Key::More => {}
        }
        pen.text(&entry.name, (text, y), LABEL_SIZE, INK, (HPos::Left, VPos::Center))?;
        x += entry.width + ENTRY_GAP;
    }
    Ok(())
}
