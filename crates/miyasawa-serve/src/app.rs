//! What all requests share.

use crate::compute::Job;
use crate::config::{Limits, Token};
use crate::metrics::Metrics;
use crate::models::Models;
use crate::queue::Queue;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What all requests share.
pub(crate) struct App {
    pub models: Models,
    pub token: Option<Token>,
    /// Whether only this machine may reach it.
    pub local: bool,
    pub metrics: Metrics,
    pub queue: Queue<Job>,
    pub limits: Limits,
    /// The memory for bodies, in units.
    pub memory: Arc<Semaphore>,
    /// Headers of images that may be read at the same time.
    pub probing: Arc<Semaphore>,
}
