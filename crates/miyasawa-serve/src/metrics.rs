//! What `/metrics` reports, in the text format of Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::metrics::{histogram::Histogram, info::Info};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// The media type of the text that [`Metrics::text`] writes.
pub(crate) const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds of the bounds of the histogram of durations.
const SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 120.0];
/// The bounds of the histogram of batches.
const IMAGES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    path: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct At {
    path: &'static str,
}

/// Counters of the whole server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<At, Histogram>,
    received: Counter,
    waiting: Gauge,
    running: Gauge,
    batches: Histogram,
    abandoned: Counter,
    connections: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("miyasawa");
        let seconds =
            Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let (requests, batches) = (Family::default(), Histogram::new(IMAGES));
        let (received, abandoned) = (Counter::default(), Counter::default());
        let (waiting, running, connections) =
            (Gauge::default(), Gauge::default(), Gauge::default());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the program", version);
        registry.register("requests", "Requests by path and status", requests.clone());
        let text = "Time from a request's header to its response, by path";
        registry.register("request_seconds", text, seconds.clone());
        registry.register("received_bytes", "Bytes of bodies that arrived", received.clone());
        registry.register("queue_requests", "Requests that wait", waiting.clone());
        registry.register("running_requests", "Requests without response yet", running.clone());
        registry.register("batch_images", "Images computed together", batches.clone());
        let text = "Requests that nobody waited for when their turn came";
        registry.register("abandoned_requests", text, abandoned.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        Self {
            registry,
            requests,
            seconds,
            received,
            waiting,
            running,
            batches,
            abandoned,
            connections,
        }
    }

    /// A request begins.
    pub fn began(&self) {
        self.running.inc();
    }

    /// A request ended, with this response or with none.
    pub fn ended(&self, path: &'static str, status: Option<u16>, took: Duration) {
        self.running.dec();
        if let Some(status) = status {
            self.requests.get_or_create(&Answered { path, status }).inc();
            self.seconds.get_or_create(&At { path }).observe(took.as_secs_f64());
        }
    }

    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    pub fn waiting(&self, requests: usize) {
        self.waiting.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    pub fn batch(&self, images: usize) {
        self.batches.observe(images as f64);
    }

    pub fn abandoned(&self, requests: usize) {
        self.abandoned.inc_by(requests as u64);
    }

    pub fn connected(&self) {
        self.connections.inc();
    }

    pub fn disconnected(&self) {
        self.connections.dec();
    }

    /// All of them as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_what_was_counted() {
        let metrics = Metrics::new();
        metrics.began();
        metrics.ended("/health", Some(200), Duration::from_millis(3));
        metrics.batch(3);
        metrics.received(7);
        let text = metrics.text();
        for line in [
            "miyasawa_requests_total{path=\"/health\",status=\"200\"} 1",
            "miyasawa_request_seconds_bucket{le=\"0.005\",path=\"/health\"} 1",
            "miyasawa_batch_images_sum 3.0",
            "miyasawa_received_bytes_total 7",
            "miyasawa_running_requests 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
