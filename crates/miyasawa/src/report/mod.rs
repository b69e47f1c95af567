//! Figures and pages: training curves, grids of pictures, explanations, HTML reports.

mod error;
mod figures;
mod html;
mod plot;

pub use error::ReportError;
pub use figures::{SHOWN, denoising_grid, explanation};
pub use html::{Best, Page, TableOptions};
pub use plot::{Plot, Series, SeriesStyle, curves, render_png, render_svg};
