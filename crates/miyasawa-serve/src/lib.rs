//! Models of [`miyasawa`] over HTTP: classify, denoise and explain images, and a page for browsers.
//!
//! A [`Server`] answers with the documents of the library's front door
//! ([`miyasawa::predictor`]); `GET /openapi.json` describes them. One thread computes, with all of
//! rayon's threads, what waits in a bounded queue; small requests of one kind that wait together
//! share a forward pass. Every request has [`Limits`]; what goes beyond them gets an error document
//! with the right status. It listens on loopback addresses alone unless told otherwise.
//!
//! ```
//! use miyasawa_serve::{Config, Models, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config { bind: "127.0.0.1:0".parse()?, ..Config::default() };
//! let server = Server::bind(config, Models::bundled()?)?;
//! let (address, stopper) = (server.address(), server.stopper());
//! let running = std::thread::spawn(move || server.run());
//! let png = miyasawa::image::Image::filled(3, 32, 32, 0.1)?.to_png()?;
//! let url = format!("http://{address}/v1/classify?top=1");
//! let found: serde_json::Value = serde_json::from_str(
//!     &ureq::post(&url).send_bytes(&png)?.into_string()?,
//! )?;
//! assert_eq!(found["classes"].as_array().map(Vec::len), Some(1));
//! stopper.stop();
//! running.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod app;
mod body;
mod compute;
mod config;
mod document;
mod error;
mod guard;
mod metrics;
mod models;
mod params;
mod paths;
mod queue;
mod results;
mod routes;
mod server;

pub use config::{Config, Limits, Token};
pub use error::ServeError;
pub use models::{Models, ServeOrPredict};
pub use server::{Server, Stopper};
