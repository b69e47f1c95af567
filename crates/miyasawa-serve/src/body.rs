//! Bodies: received within limits of size, memory and time, raw or as forms.

use crate::app::App;
use crate::error::ApiError;
use crate::models::Verb;
use crate::params::Params;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, header, request::Parts};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bytes for which one permit of the memory stands.
pub(crate) const UNIT: usize = 1024;
/// The longest time for which a body that is refused is read.
const DISCARDING: std::time::Duration = std::time::Duration::from_secs(2);
/// The field of a form that holds the image.
const FIELD: &str = "image";

/// A body in memory, with its share of the memory for bodies.
pub(crate) struct Received {
    pub bytes: Bytes,
    pub held: Option<OwnedSemaphorePermit>,
}

/// Receives a body; refuses it as soon as it is known to be too large.
pub(crate) async fn receive(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    deadline: Instant,
) -> Result<Received, ApiError> {
    let limits = &app.limits;
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limits.body) {
        discard(headers, body, 2 * limits.body).await;
        return Err(ApiError::BodySize { most: limits.body });
    }
    // What is promised but does not come takes no memory.
    let mut bytes = Vec::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    loop {
        let next = timeout_at(deadline, body.frame()).await;
        let slow = |_| ApiError::Slow { seconds: limits.timeout.as_secs_f64() };
        let Some(frame) = next.map_err(slow)? else { break };
        let frame = frame.map_err(|error| ApiError::Body(one_line(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits.body {
            drop((bytes, held));
            discard(headers, body, limits.body).await;
            return Err(ApiError::BodySize { most: limits.body });
        }
        app.metrics.received(data.len());
        bytes.extend_from_slice(&data);
        if let Err(error) = hold(&app.memory, &mut held, bytes.len()) {
            drop((bytes, held));
            discard(headers, body, limits.body).await;
            return Err(error);
        }
    }
    Ok(Received { bytes: bytes.into(), held })
}

/// Takes as much of the memory for bodies as `bytes` need.
fn hold(
    memory: &Arc<Semaphore>,
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<(), ApiError> {
    let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = bytes.div_ceil(UNIT).saturating_sub(has);
    if more == 0 {
        return Ok(());
    }
    let full = || ApiError::Busy("the memory for bodies is full");
    let more = u32::try_from(more).map_err(|_| full())?;
    let more = Arc::clone(memory).try_acquire_many_owned(more).map_err(|_| full())?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

/// The bytes of the image and all parameters: the body itself and the query, or a form.
pub(crate) async fn image_and_params(
    verb: Verb,
    parts: &Parts,
    received: &Bytes,
) -> Result<(Bytes, Params), ApiError> {
    let mut params = Params::default();
    params.add_query(verb, parts.uri.query().unwrap_or_default())?;
    let media = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.unwrap_or_default().trim().to_ascii_lowercase();
    if !media.starts_with("multipart/form-data") {
        let image = received.clone();
        return if image.is_empty() { Err(ApiError::Empty) } else { Ok((image, params)) };
    }
    let form = |error: &dyn std::fmt::Display| ApiError::Form(one_line(error));
    let mut request = Request::new(Body::from(received.clone()));
    *request.headers_mut() = parts.headers.clone();
    // It was within the limit when it was received.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut fields = Multipart::from_request(request, &()).await.map_err(|e| form(&e))?;
    let mut image = None;
    while let Some(field) = fields.next_field().await.map_err(|e| form(&e))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == FIELD {
            let bytes = field.bytes().await.map_err(|e| form(&e))?;
            if image.replace(bytes).is_some() {
                return Err(ApiError::Form(format!("two fields {FIELD}, expected one")));
            }
        } else {
            let value = field.text().await.map_err(|e| form(&e))?;
            params.add(verb, &name, value)?;
        }
    }
    match image {
        Some(image) if !image.is_empty() => Ok((image, params)),
        Some(_) => Err(ApiError::Empty),
        None => Err(ApiError::Form(format!("no field {FIELD}, expected the file of an image"))),
    }
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads the rest of a body that is refused, a little and for a short time: a client that still
/// sends would otherwise see a broken connection instead of the answer.
pub(crate) async fn discard(headers: &HeaderMap, mut body: Body, most: usize) {
    // This client waits for leave to send.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let deadline = Instant::now() + DISCARDING;
    let mut bytes = 0;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > most {
            break;
        }
    }
}
