//! Figures and pages: training curves, grids of images, explanations, HTML reports.
//!
//! ```
//! use miyasawa::report::{Page, Plot, Series, render_svg};
//!
//! let series = vec![Series::new("joint", vec![(0.1, 33.1), (0.2, 28.9), (1.0, 20.8)])];
//! let plot = Plot::new("PSNR", "noise level", "dB", series);
//! let mut page = Page::new("Denoising");
//! page.paragraph("On 5,000 images.").figure_svg(&render_svg(&plot, 640, 400)?, "PSNR");
//! assert!(page.render().contains("On 5,000 images."));
//! # Ok::<(), miyasawa::report::ReportError>(())
//! ```

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
