//! Figures and pages: training curves, grids of images, explanations, HTML reports.

#[cfg(feature = "data")]
mod denoising;
mod error;
mod figures;
mod html;
mod names;
mod plot;
mod provenance;
#[cfg(feature = "robustness")]
mod reliability;
#[cfg(feature = "robustness")]
mod text;

#[cfg(feature = "data")]
pub use denoising::{SHOWN, denoising_grid};
pub use error::ReportError;
pub use figures::{eigenvectors, explanation, path};
pub use html::{COLUMN, DENSITY, Page, TableOptions};
pub use names::short_names;
pub use plot::{
    Histogram, PERCENT, Plot, Series, SeriesStyle, curves, plots_png, render_png, render_svg,
    rounded_range, save_plots,
};
pub use provenance::Provenance;
#[cfg(feature = "robustness")]
pub use reliability::reliability;
#[cfg(feature = "robustness")]
pub(crate) use text::{listed, percent, percent_within, with_error};
