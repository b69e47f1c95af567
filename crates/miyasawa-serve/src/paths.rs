//! The paths of the server.

/// Every path.
pub(crate) const PATHS: [&str; 8] = [
    "/",
    "/v1/classify",
    "/v1/denoise",
    "/v1/explain",
    "/v1/models",
    "/health",
    "/metrics",
    "/openapi.json",
];
/// Those that ask for no token: what they say is no secret.
pub(crate) const OPEN: [&str; 3] = ["/", "/health", "/openapi.json"];
