//! What is at which path.

use crate::app::App;
use crate::body::{self, Received};
use crate::compute::Job;
use crate::document::{NAME, document};
use crate::error::ApiError;
use crate::guard;
use crate::models::Verb;
use crate::queue::Refused;
use crate::results::Answer;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use miyasawa::image::ImageFile;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The page, with its style and its program.
const PAGE: &str = include_str!("page.html");
/// The page loads nothing and talks to this server alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
/// The description of the interface, without the version.
const OPENAPI: &str = include_str!("openapi.json");

/// The service of an application.
pub(crate) fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/v1/classify", post(classify))
        .route("/v1/denoise", post(denoise))
        .route("/v1/explain", post(explain))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(app), guard::pass))
        .with_state(Arc::clone(app))
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

async fn models(State(app): State<Arc<App>>) -> Response {
    document(&app.models.document())
}

async fn health() -> Response {
    document(&serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.metrics.waiting(app.queue.len());
    ([(header::CONTENT_TYPE, crate::metrics::MEDIA)], app.metrics.text()).into_response()
}

async fn openapi() -> Response {
    let text = OPENAPI.replace("$VERSION", env!("CARGO_PKG_VERSION"));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn nothing(uri: Uri) -> ApiError {
    ApiError::NotFound { path: uri.path().to_owned() }
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::Method { method: method.to_string(), path: uri.path().to_owned() }
}

async fn classify(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    task(&app, Verb::Classify, request).await
}

async fn denoise(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    task(&app, Verb::Denoise, request).await
}

async fn explain(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    task(&app, Verb::Explain, request).await
}

/// Receives an image, checks all that can be known without computing, waits for the result.
async fn task(app: &App, verb: Verb, request: Request) -> Result<Response, ApiError> {
    let deadline = Instant::now() + app.limits.timeout;
    let (parts, body) = request.into_parts();
    if app.queue.is_full() {
        body::discard(&parts.headers, body, app.limits.body).await;
        return Err(refused(Refused::Full));
    }
    let Received { bytes, held } = body::receive(app, &parts.headers, body, deadline).await?;
    let (bytes, params) = body::image_and_params(verb, &parts, &bytes).await?;
    let model = app.models.find(params.model(), verb)?;
    let (task, added) = (params.task(verb, &model)?, params.added()?);
    let all_pages = verb == Verb::Denoise;
    let Probed { pixels, pages } = probe(app, bytes.clone(), all_pages, deadline).await?;
    let (answer, result) = oneshot::channel();
    let most_pixels = app.limits.pixels;
    let job = Job { model, task, added, bytes, pixels, pages, most_pixels, held, answer };
    app.queue.push(job).map_err(refused)?;
    let answer = timeout_at(deadline, result).await.map_err(|_| timed_out(app))?;
    let answer = answer.map_err(|_| ApiError::Internal("the request got lost".to_owned()))??;
    Ok(respond(answer, wants_json(&parts.headers)))
}

fn refused(why: Refused) -> ApiError {
    match why {
        Refused::Full => ApiError::Busy("as many requests wait as may"),
        Refused::Closed => ApiError::Stopping,
    }
}

fn timed_out(app: &App) -> ApiError {
    ApiError::TimedOut { seconds: app.limits.timeout.as_secs_f64() }
}

/// What the headers of an image say.
struct Probed {
    pixels: u64,
    pages: usize,
}

/// Reads the headers of an image and checks its size. Some formats are unpacked for it, so that it
/// does not run where connections are served, and few at a time.
async fn probe(
    app: &App,
    bytes: Bytes,
    all_pages: bool,
    deadline: Instant,
) -> Result<Probed, ApiError> {
    let late = |_| timed_out(app);
    let permit = timeout_at(deadline, Arc::clone(&app.probing).acquire_owned()).await;
    let permit = permit.map_err(late)?.map_err(|_| ApiError::Stopping)?;
    let most = app.limits.pixels;
    let work = move || -> Result<Probed, ApiError> {
        let _permit = permit;
        let file = ImageFile::read_within(NAME, &bytes[..], most)?;
        let pages = file.pages();
        let mut pixels = 0u64;
        for page in 0..if all_pages { pages } else { 1 } {
            pixels = pixels.saturating_add(file.pixels(page)?);
        }
        if pixels > most {
            return Err(ApiError::Pixels { found: pixels, most });
        }
        Ok(Probed { pixels, pages })
    };
    let found = timeout_at(deadline, tokio::task::spawn_blocking(work)).await.map_err(late)?;
    found.map_err(|error| ApiError::Internal(error.to_string()))?
}

/// Whether a client prefers a document to the image itself.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

fn respond(answer: Answer, json: bool) -> Response {
    let found = match answer {
        Answer::Classified(found) => return document(&found),
        Answer::Explained(found) => return document(&found),
        Answer::Denoised(found) if json => return document(&found),
        Answer::Denoised(found) => found,
    };
    let disposition = format!("inline; filename=\"{}\"", found.file_name());
    let psnr = |psnr: Option<f64>| psnr.map(|psnr| format!("{psnr:.2}"));
    let said = [
        ("content-type", Some(found.image.media.to_owned())),
        ("content-disposition", Some(disposition)),
        ("miyasawa-model", Some(found.model)),
        ("miyasawa-sigma", Some(found.sigma.to_string())),
        ("miyasawa-psnr-noisy", psnr(found.psnr_noisy)),
        ("miyasawa-psnr", psnr(found.psnr)),
    ];
    let mut response = found.image.bytes.into_response();
    for (name, value) in said {
        // A name of a model may have letters that a header cannot hold.
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        value.map(|value| response.headers_mut().insert(HeaderName::from_static(name), value));
    }
    response
}
