//! What every request passes: who may ask, and what is counted.

use crate::app::App;
use crate::body::discard;
use crate::error::ApiError;
use crate::paths::{OPEN, PATHS};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of the body of a request that may not ask that are read before the answer.
const LITTLE: usize = 1 << 20;

/// A request that is counted when it ends, also where the client went away before.
struct Counted<'a> {
    app: &'a App,
    path: &'static str,
    began: Instant,
    status: Option<u16>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.app.metrics.ended(self.path, self.status, self.began.elapsed());
    }
}

/// Checks and counts a request, and adds what every response says.
pub(crate) async fn pass(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = PATHS.into_iter().find(|known| *known == path).unwrap_or("other");
    app.metrics.began();
    let mut counted = Counted { app: &app, path, began: Instant::now(), status: None };
    let method = request.method().clone();
    let mut response = match allowed(&app, path, &method, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let (parts, body) = request.into_parts();
            discard(&parts.headers, body, LITTLE).await;
            error.into_response()
        }
    };
    let status = response.status().as_u16();
    counted.status = Some(status);
    let took = counted.began.elapsed();
    tracing::debug!("{method} {path} {status} {:.1} ms", 1e3 * took.as_secs_f64());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn allowed(app: &App, path: &str, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST);
    // A page of another site, under a name that leads here, must not use a local server.
    if let Some(host) = host.filter(|host| app.local && !is_local(host)) {
        let found = format!("the host is {host:?}, expected localhost or a loopback address");
        return Err(ApiError::Forbidden(found));
    }
    let origin = text(header::ORIGIN).filter(|_| method == Method::POST);
    if let Some(origin) = origin {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if host.is_none() || authority != host {
            let found = format!("the request comes from a page of {origin:?}, another site");
            return Err(ApiError::Forbidden(found));
        }
    }
    let Some(token) = app.token.as_ref().filter(|_| !OPEN.contains(&path)) else { return Ok(()) };
    let given = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(given.trim())
    });
    if given.is_some_and(|given| token.is(given)) { Ok(()) } else { Err(ApiError::Unauthorized) }
}

/// Whether the host of a request is this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_this_machine() {
        for host in ["localhost:80", "127.0.0.1", "127.1.2.3:8080", "[::1]:80", "a.LOCALHOST."] {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com:80", "10.0.0.1:80", "[::2]:80", ""] {
            assert!(!is_local(host), "{host}");
        }
    }
}
