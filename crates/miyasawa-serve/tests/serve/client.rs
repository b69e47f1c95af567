//! A server in this process, and plain HTTP to it.

use miyasawa_serve::{Config, Limits, Models, Server, Stopper};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

/// A server that runs until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(config: Config) -> Self {
        let bind = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(Config { bind, ..config }, Models::bundled().unwrap()).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { address, stopper, thread: Some(thread) }
    }

    pub fn with(limits: Limits) -> Self {
        Self::start(Config { limits, ..Config::default() })
    }

    /// Waits until it has ended by itself.
    pub fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn get(&self, path: &str) -> Response {
        exchange(self.address, &request("GET", path, &[], b""))
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        self.post_with(path, &[], body)
    }

    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        exchange(self.address, &request("POST", path, headers, body))
    }

    /// The document of a POST that must succeed.
    pub fn document(&self, path: &str, body: &[u8]) -> Value {
        let found = self.post_with(path, &[("Accept", "application/json")], body);
        assert_eq!(found.status, 200, "{}", found.text());
        found.json()
    }

    /// The status and the code of a POST that must fail, and its message.
    pub fn refusal(&self, path: &str, body: &[u8]) -> (u16, String, String) {
        self.post(path, body).refusal()
    }

    /// The value of a line of `/metrics`.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").text();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0.0, |value| value.trim().parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server ends");
        }
    }
}

/// One server with the default limits for all tests that change nothing of it.
pub fn shared() -> &'static Running {
    static SHARED: OnceLock<Running> = OnceLock::new();
    SHARED.get_or_init(|| Running::start(Config::default()))
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn refusal(&self) -> (u16, String, String) {
        let document = self.json();
        let error = &document["error"];
        assert_eq!(error["status"], self.status, "{document}");
        let text = |key: &str| error[key].as_str().unwrap().to_owned();
        let message = text("message");
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        (self.status, text("code"), message)
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n", body.len());
    [text.as_bytes(), body].concat()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

/// Sends bytes and reads the response until the server closes the connection.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = connect(address);
    // The server may refuse it before all is sent.
    let _ = stream.write_all(request);
    read(stream)
}

pub fn read(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no response, {ended:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let length = headers.get("content-length").map(|length| length.parse().unwrap());
    assert_eq!(length, Some(body.len()), "the response is complete: {head}");
    Response { status, headers, body }
}

pub fn frog() -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(folder.join("../../docs/book/src/figures/frog.jpg")).unwrap()
}
