//! Listening, serving connections, and stopping.

use crate::app::App;
use crate::body::UNIT;
use crate::config::Config;
use crate::error::ServeError;
use crate::models::Models;
use crate::{compute, routes};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;

/// Threads that serve connections: what they do takes little time.
const WORKERS: usize = 2;
/// Headers of images that are read at the same time.
const PROBES: usize = 2;
/// The longest wait for the header of a request, and for the next request of a connection.
const HEADER: Duration = Duration::from_secs(15);
/// The largest header.
const HEADER_BYTES: usize = 64 << 10;
/// How long accepting pauses after an error of the system, which has too many files open.
const PAUSE: Duration = Duration::from_millis(100);
/// What the last responses get to be sent, once they are computed.
const SENDING: Duration = Duration::from_secs(5);

/// A server that listens, and does not answer before [`run`](Server::run).
///
/// ```
/// use miyasawa_serve::{Config, Models, Server};
/// let config = Config { bind: "127.0.0.1:0".parse()?, ..Config::default() };
/// let server = Server::bind(config, Models::bundled()?)?;
/// let (address, stopper) = (server.address(), server.stopper());
/// let running = std::thread::spawn(move || server.run());
/// let health = ureq::get(&format!("http://{address}/health")).call()?.into_string()?;
/// assert!(health.contains("ok"));
/// stopper.stop();
/// running.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
    models: Models,
    stop: Stopper,
}

/// Stops a server: it accepts no more, finishes what it began, and ends.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// Stops the server; a second call changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Listens on the address.
    ///
    /// # Errors
    /// [`ServeError::NotPublic`] for an address beyond loopback without leave,
    /// [`ServeError::Bind`], [`ServeError::Limit`], [`ServeError::Models`] without models.
    pub fn bind(config: Config, models: Models) -> Result<Self, ServeError> {
        config.limits.check()?;
        if models.is_empty() {
            return Err(ServeError::Models { found: "no model".to_owned() });
        }
        let bind = config.bind;
        if !bind.ip().is_loopback() && !config.public {
            return Err(ServeError::NotPublic { bind });
        }
        let error = |found| ServeError::Bind { bind, found };
        let listener = TcpListener::bind(bind).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let stop = Stopper(Arc::new(watch::Sender::new(false)));
        Ok(Self { listener, address, config, models, stop })
    }

    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops the server.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Serves until it is stopped. To be called outside of rayon's threads: it would take one of
    /// them away from the models.
    ///
    /// # Errors
    /// [`ServeError::Threads`].
    pub fn run(self) -> Result<(), ServeError> {
        let Config { token, limits, public, .. } = self.config;
        let app = Arc::new(App {
            models: self.models,
            token,
            local: self.address.ip().is_loopback() && !public,
            metrics: crate::metrics::Metrics::new(),
            queue: crate::queue::Queue::new(limits.queue),
            memory: Arc::new(Semaphore::new(limits.memory.div_ceil(UNIT))),
            probing: Arc::new(Semaphore::new(PROBES)),
            limits,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(PROBES + 1)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(ServeError::Threads)?;
        let computing = Arc::clone(&app);
        let compute = move || compute::run(&computing.queue, limits.batch, &computing.metrics);
        let computer = std::thread::Builder::new().name("compute".to_owned()).spawn(compute);
        let computer = computer.map_err(ServeError::Threads)?;
        let served = runtime.block_on(accept(self.listener, &app, &self.stop));
        app.queue.close();
        runtime.shutdown_timeout(Duration::from_millis(100));
        // It catches the panics of its work.
        let _ = computer.join();
        served.map_err(|found| ServeError::Bind { bind: self.address, found })
    }
}

/// Accepts connections until the server is stopped, then waits for those that are open.
async fn accept(listener: TcpListener, app: &Arc<App>, stop: &Stopper) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = routes::router(app);
    let most = app.limits.connections;
    let open = Arc::new(Semaphore::new(most));
    let mut stopped = stop.0.subscribe();
    loop {
        let next = async {
            let permit = Arc::clone(&open).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = until(&mut stopped) => break,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, _))) => {
                let (app, router, stopped) = (Arc::clone(app), router.clone(), stop.0.subscribe());
                tokio::spawn(serve(app, router, stream, permit, stopped));
            }
            (_, Err(error)) => {
                tracing::debug!("a connection was not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let grace = app.limits.timeout + SENDING;
    if timeout(grace, open.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were still open after {:.0} s", grace.as_secs_f64());
    }
    Ok(())
}

/// Waits until the server is stopped.
async fn until(stopped: &mut watch::Receiver<bool>) {
    // An error says that nobody can stop it any more: the server itself is gone.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Serves a connection until it ends, or until the server is stopped and its request answered.
async fn serve(
    app: Arc<App>,
    router: Router,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    mut stopped: watch::Receiver<bool>,
) {
    // If it fails, small packets take longer.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.limits.timeout));
    let asked = Arc::new(AtomicBool::new(false));
    let (service, flag) = (TowerToHyperService::new(router), Arc::clone(&asked));
    let service = service_fn(move |request| {
        flag.store(true, Ordering::Relaxed);
        hyper::service::Service::call(&service, request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER.min(app.limits.timeout))
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
    );
    app.metrics.connected();
    tokio::select! {
        ended = connection.as_mut() => {
            ended.unwrap_or_else(|error| tracing::debug!("a connection ended: {error}"));
        }
        () = until(&mut stopped) => {
            // One that has not asked for anything yet will not.
            if asked.load(Ordering::Relaxed) {
                connection.as_mut().graceful_shutdown();
                let ended = connection.await;
                ended.unwrap_or_else(|error| tracing::debug!("a connection ended: {error}"));
            }
        }
    }
    app.metrics.disconnected();
    drop(permit);
}
