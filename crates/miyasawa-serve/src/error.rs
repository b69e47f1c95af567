//! What goes wrong: with a request, which gets a document, and with starting.

use crate::document::document;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use miyasawa::image::{DecodeError, ImageError};
use miyasawa::predictor::PredictError;
use serde::Serialize;
use std::net::SocketAddr;

/// The server cannot start, or stopped by itself.
///
/// ```
/// use miyasawa_serve::ServeError;
/// let error = ServeError::NotPublic { bind: "0.0.0.0:80".parse().unwrap() };
/// assert!(error.is_usage());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address that other machines reach, without leave.
    #[error(
        "{bind} can be reached from other machines, expected a loopback address such as \
         127.0.0.1:8080, or leave to serve them (--public)"
    )]
    NotPublic {
        /// The address.
        bind: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("{bind}: cannot be listened on: {found}")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's error.
        found: std::io::Error,
    },
    /// No model, or two of one name.
    #[error("{found}, expected one or more models of different names")]
    Models {
        /// What was found instead.
        found: String,
    },
    /// A token that a header cannot hold, or an empty one.
    #[error("the token has {found}, expected 8 or more visible ASCII characters")]
    Token {
        /// What is wrong.
        found: String,
    },
    /// A limit out of its range.
    #[error("the limit of {what} is {found}, expected {expected}")]
    Limit {
        /// The limit.
        what: &'static str,
        /// Its value.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// Threads cannot be started.
    #[error("the threads of the server cannot be started: {0}")]
    Threads(std::io::Error),
}

impl ServeError {
    /// Whether the call was wrong, as opposed to a right one that failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NotPublic { .. } | Self::Models { .. } | Self::Token { .. } | Self::Limit { .. }
        )
    }
}

/// A request that gets no result. The status and the code are part of the interface.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the parameter {name} is {found:?}, expected {expected}")]
    Parameter { name: &'static str, found: String, expected: String },
    #[error("no parameter is called {found:?}, expected one of: {expected}")]
    UnknownParameter { found: String, expected: String },
    #[error("no model is called {found:?}, expected one of: {expected}")]
    Model { found: String, expected: String },
    #[error("the body is empty, expected the bytes of an image")]
    Empty,
    #[error("the form cannot be read: {0}")]
    Form(String),
    #[error("the body ended early: {0}")]
    Body(String),
    #[error("expected the header `Authorization: Bearer TOKEN` with the token of this server")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(String),
    #[error("nothing is at {path}, expected one of: {}", crate::paths::PATHS.join(", "))]
    NotFound { path: String },
    #[error("{path} does not take {method}; the header Allow says what it takes")]
    Method { method: String, path: String },
    #[error("the body did not arrive within {seconds} s")]
    Slow { seconds: f64 },
    #[error("the body has more than {most} bytes")]
    BodySize { most: usize },
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("the pages of the image have {found} pixels together, expected at most {most}")]
    Pixels { found: u64, most: u64 },
    #[error(transparent)]
    Predict(PredictError),
    #[error("no model that is served does this: {what}")]
    NoModel { what: &'static str },
    #[error("{0}, try again in a moment")]
    Busy(&'static str),
    #[error("no result within {seconds} s: try a smaller image")]
    TimedOut { seconds: f64 },
    #[error("the server is stopping")]
    Stopping,
    #[error("the server failed: {0}")]
    Internal(String),
}

impl From<PredictError> for ApiError {
    fn from(error: PredictError) -> Self {
        match error {
            PredictError::Image(error) => Self::Image(error),
            error => Self::Predict(error),
        }
    }
}

/// Seconds after which a refused client should try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    /// The status, and a word that programs can rely on.
    pub fn status(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Parameter { .. } | Self::UnknownParameter { .. } => (S::BAD_REQUEST, "parameter"),
            Self::Model { .. } => (S::BAD_REQUEST, "model"),
            Self::Empty => (S::BAD_REQUEST, "empty"),
            Self::Form(_) => (S::BAD_REQUEST, "form"),
            Self::Body(_) => (S::BAD_REQUEST, "body"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden"),
            Self::NotFound { .. } => (S::NOT_FOUND, "not_found"),
            Self::Method { .. } => (S::METHOD_NOT_ALLOWED, "method"),
            Self::Slow { .. } => (S::REQUEST_TIMEOUT, "slow"),
            Self::BodySize { .. } => (S::PAYLOAD_TOO_LARGE, "body_size"),
            Self::Pixels { .. } => (S::PAYLOAD_TOO_LARGE, "pixels"),
            Self::Image(error) => of_image(error),
            Self::Predict(error) => of_predict(error),
            Self::NoModel { .. } => (S::UNPROCESSABLE_ENTITY, "cannot"),
            Self::Busy(_) => (S::TOO_MANY_REQUESTS, "busy"),
            Self::TimedOut { .. } => (S::SERVICE_UNAVAILABLE, "timed_out"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Whether the rest of the request's body is not worth reading.
    fn closes(&self) -> bool {
        matches!(self, Self::Slow { .. } | Self::BodySize { .. } | Self::Body(_) | Self::Stopping)
    }
}

fn of_image(error: &ImageError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        ImageError::Decode { source, .. } => match source {
            DecodeError::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "pixels"),
            DecodeError::Damaged { .. } => (S::UNPROCESSABLE_ENTITY, "damaged"),
            _ => (S::UNSUPPORTED_MEDIA_TYPE, "format"),
        },
        ImageError::Noise { .. } => (S::BAD_REQUEST, "parameter"),
        ImageError::Encode { .. } | ImageError::Shape { .. } => (S::UNPROCESSABLE_ENTITY, "image"),
        ImageError::NotBuilt { .. } => (S::UNSUPPORTED_MEDIA_TYPE, "format"),
        _ => (S::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn of_predict(error: &PredictError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        PredictError::Image(error) => of_image(error),
        PredictError::NotFiniteImage { .. } => (S::UNPROCESSABLE_ENTITY, "image"),
        PredictError::Cannot { .. } | PredictError::OneClass { .. } => {
            (S::UNPROCESSABLE_ENTITY, "cannot")
        }
        error if error.is_usage() => (S::BAD_REQUEST, "parameter"),
        _ => (S::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// Characters of a message.
const MOST: usize = 1000;

/// A message without its middle where it is long: it may quote what the request said, at the length
/// of a body.
fn shortened(message: String) -> String {
    let count = message.chars().count();
    if count <= MOST {
        return message;
    }
    let begin: String = message.chars().take(MOST / 2).collect();
    let end: String = message.chars().skip(count - MOST / 2).collect();
    format!("{begin} .. {end}")
}

/// The document of an error.
#[derive(Serialize)]
struct Document {
    error: Described,
}

#[derive(Serialize)]
struct Described {
    status: u16,
    code: &'static str,
    message: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!("{self}");
        }
        let message = shortened(self.to_string());
        let error = Described { status: status.as_u16(), code, message };
        let mut response = (status, document(&Document { error })).into_response();
        let headers = response.headers_mut();
        let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if again.contains(&status) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
