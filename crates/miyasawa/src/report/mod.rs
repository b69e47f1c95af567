//! Figures and pages: training curves, grids of images, explanations, HTML reports.

mod error;
mod figures;
mod html;
mod names;
mod plot;
mod provenance;
mod text;

pub use error::ReportError;
pub use figures::{SHOWN, denoising_grid, eigenvectors, explanation, path, reliability};
pub use html::{COLUMN, DENSITY, Page, TableOptions};
pub use names::short_names;
pub use plot::{
    Histogram, PERCENT, Plot, Series, SeriesStyle, curves, plots_png, render_png, render_svg,
    rounded_range, save_plots,
};
pub use provenance::Provenance;
pub(crate) use text::{listed, percent, percent_within, with_error};
