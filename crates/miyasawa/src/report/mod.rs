//! Figures and pages: training curves, grids of pictures, explanations, HTML reports.

mod error;
mod figures;
mod html;
mod plot;

pub use error::ReportError;
pub use figures::{SHOWN, denoising_grid, eigenvectors, explanation, path, reliability};
pub use html::{Best, Page, TableOptions};
pub use plot::{Plot, Series, SeriesStyle, curves, plots_png, render_png, render_svg, save_plots};
