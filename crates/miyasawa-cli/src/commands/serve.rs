//! `miyasawa serve`: models over HTTP.

use super::Outcome;
use crate::output::shown;
use crate::session::{Session, WrongCall};
use crate::signals;
use anyhow::{Context, Result};
use clap::Args;
use miyasawa::{bundled::BundledModel, predictor::Predictor};
use miyasawa_serve::{Config, Limits, Models, Server, Token};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable of the token.
const TOKEN: &str = "MIYASAWA_TOKEN";
/// Milliseconds for which freed memory is kept: the next request reuses it.
const KEPT: u16 = 1000;

/// Serve models over HTTP: a page for browsers, and an interface for programs.
///
/// The page, at the address that is printed, classifies, denoises and explains an image. Programs
/// POST the bytes of an image, or a form, to /v1/classify, /v1/denoise or /v1/explain and get the
/// documents of --json; GET /v1/models lists the models, /openapi.json describes everything,
/// /metrics has numbers for Prometheus, /health says that it runs.
///
/// Only this machine reaches it unless --public allows more. Clients must then send the token of
/// the environment variable MIYASAWA_TOKEN, or of --token-file, where one is given. The first
/// SIGINT (Ctrl-C) or SIGTERM lets it finish what it began, the second ends it at once.
///
/// Examples:
///   miyasawa serve
///   miyasawa serve cifar10 mine/model.safetensors --bind 127.0.0.1:9000
#[doc = "   curl --data-binary @frog.jpg 'http://127.0.0.1:8080/v1/classify?top=3'"]
///   curl --data-binary @noisy.jpg http://127.0.0.1:8080/v1/denoise -o clean.jpg
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Serve {
    /// Checkpoints, or names of bundled models; a request names one by its file's name without the
    /// ending [default: all bundled models]
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Address and port to listen on; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// Allow an address that other machines reach, and any name of the host, as behind a proxy;
    /// nothing is encrypted
    #[arg(long)]
    public: bool,
    /// File with the token that clients must send [default: MIYASAWA_TOKEN, else none]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Largest body of a request, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    max_body: usize,
    /// Most pixels of an image, all its pages together, in millions
    #[arg(long, value_name = "MILLIONS", default_value_t = 16.0)]
    max_pixels: f64,
    /// Requests that wait to be computed; more are refused
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue)]
    queue: usize,
    /// Longest time of a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().timeout.as_secs_f64())]
    timeout: f64,
}

/// The document of `--json`, which is printed as soon as the server listens.
#[derive(Serialize)]
struct Report {
    address: String,
    url: String,
    models: Vec<String>,
    token: bool,
}

impl Serve {
    fn limits(&self) -> Result<Limits> {
        let wrong = |option: &str, found: &dyn std::fmt::Display, expected: &str| {
            WrongCall(format!("--{option} is {found}, expected {expected}"))
        };
        let body = self.max_body.checked_mul(1 << 20).filter(|bytes| *bytes > 0);
        let body = body.ok_or_else(|| wrong("max-body", &self.max_body, "at least 1"))?;
        let Some(timeout) = Duration::try_from_secs_f64(self.timeout).ok() else {
            return Err(wrong("timeout", &self.timeout, "a number of seconds").into());
        };
        let default = Limits::default();
        let limits = Limits {
            body,
            // A number that is none, or negative, becomes 0, which is refused.
            pixels: (self.max_pixels * 1e6) as u64,
            queue: self.queue,
            timeout,
            memory: default.memory.max(body.saturating_mul(2)),
            ..default
        };
        limits.check()?;
        Ok(limits)
    }

    fn token(&self) -> Result<Option<Token>> {
        let (text, origin) = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let name = shown(path);
                (text.with_context(|| format!("{name}: the token cannot be read"))?, name)
            }
            None => match std::env::var(TOKEN) {
                Ok(text) => (text, TOKEN.to_owned()),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => return Err(WrongCall(format!("{TOKEN}: {error}")).into()),
            },
        };
        let token = Token::new(text.trim_end_matches(['\r', '\n']));
        Ok(Some(token.map_err(|error| WrongCall(format!("{origin}: {error}")))?))
    }

    fn models(&self, session: &Session) -> Result<Models> {
        let builder = || Predictor::builder().device(session.device_spec());
        let mut models = Models::new();
        let bundled = |models: &mut Models, model: BundledModel| -> Result<()> {
            Ok(models.add(model.name(), builder().from_bundled(model)?)?)
        };
        if self.models.is_empty() {
            BundledModel::ALL.into_iter().try_for_each(|model| bundled(&mut models, model))?;
        }
        for path in &self.models {
            match path.to_str().and_then(|name| name.parse().ok()) {
                // A file of this name comes first: it can be seen.
                Some(model) if !path.exists() => bundled(&mut models, model)?,
                _ => models.add(&name_of(path), builder().load(path)?)?,
            }
        }
        Ok(models)
    }
}

/// The name of a model in requests. All runs call their file `model`: theirs is that of the run.
fn name_of(path: &Path) -> String {
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let stem = path.file_stem().map(text).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).map(text);
    folder.filter(|_| stem == "model").unwrap_or(stem)
}

pub fn run(args: &Serve, session: &Session) -> Result<Outcome> {
    let (limits, token) = (args.limits()?, args.token()?);
    let (bind, public) = (args.bind, args.public);
    if !bind.ip().is_loopback() && public && token.is_none() {
        tracing::warn!("{bind}: everyone who reaches it may use it: {TOKEN} is not set");
    }
    // Before the models are read: that takes a moment.
    let models = match bind.ip().is_loopback() || public {
        true => args.models(session)?,
        false => return Err(miyasawa_serve::ServeError::NotPublic { bind }.into()),
    };
    let names: Vec<String> = models.names().map(str::to_owned).collect();
    let has_token = token.is_some();
    let server = Server::bind(Config { bind, public, token, limits }, models)?;
    let address = server.address();
    let stopper = server.stopper();
    signals::on_stop("stopping after what was begun; once more to stop at once", move || {
        stopper.stop();
    })?;
    let url = format!("http://{address}/");
    if session.json {
        let report = Report { address: address.to_string(), url, models: names, token: has_token };
        session.print_json(&report)?;
    } else {
        outln!("serving {} at {url}", names.join(", "));
    }
    miyasawa_kernels::memory::keep_pages_for(KEPT);
    server.run()?;
    tracing::info!("stopped");
    Ok(Outcome::Done)
}
