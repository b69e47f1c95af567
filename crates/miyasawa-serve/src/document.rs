//! JSON documents as responses, and the name of the image in them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

/// What messages call the image of a request.
pub(crate) const NAME: &str = "image";

/// A response that is a JSON document, with the digits of the command line's: a float32 as the
/// float64 that it is.
pub(crate) fn document(value: &impl Serialize) -> Response {
    match serde_json::to_value(value).and_then(|value| serde_json::to_vec(&value)) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        // Types of this crate, with text as keys: it does not happen.
        Err(error) => {
            tracing::error!("a document cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
