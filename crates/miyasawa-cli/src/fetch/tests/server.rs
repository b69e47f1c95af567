//! A server on the loopback interface that makes the mistakes that servers make.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// How the server answers a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// As asked for.
    Right,
    /// As asked for, but the connection ends after this number of bytes.
    Cut(usize),
    /// This number of bytes, then silence.
    Stall(usize),
    /// The entire file though a part was asked for.
    IgnoreRange,
    /// A part that was not asked for.
    WrongRange,
    /// Other bytes.
    Wrong,
    /// Elsewhere.
    Redirect(String),
    /// A status and nothing else.
    Status(u16),
    /// The promise of a huge file.
    Huge,
    /// Without a length, cut after this number of bytes.
    Unsized(usize),
}

/// Requests as (path, first byte of the range asked for).
type Requests = Arc<Mutex<Vec<(String, Option<usize>)>>>;

pub(super) struct Server {
    pub(super) base: String,
    requests: Requests,
}

impl Server {
    /// Serves files; the replies are taken in turn, then every request is answered rightly.
    pub(super) fn start(files: &[(&str, Vec<u8>)], replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(name, bytes)| (format!("/{name}"), bytes.clone())).collect();
        let replies = Mutex::new(replies.iter().cloned().collect::<VecDeque<Reply>>());
        let log = Arc::clone(&requests);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reply = || replies.lock().unwrap().pop_front().unwrap_or(Reply::Right);
                let _ = answer(stream, &files, reply, &log);
            }
        });
        Self { base, requests }
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    pub(super) fn ranges(&self) -> Vec<Option<usize>> {
        self.requests.lock().unwrap().iter().map(|(_, from)| *from).collect()
    }
}

fn answer(
    mut stream: TcpStream,
    files: &HashMap<String, Vec<u8>>,
    reply: impl FnOnce() -> Reply,
    log: &Requests,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = value.trim().trim_end_matches('-').parse::<usize>().ok();
        }
    }
    log.lock().unwrap().push((path.clone(), range));
    let reply = reply();
    let status = |status: u16| {
        format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let Some(bytes) = files.get(&path) else { return stream.write_all(status(404).as_bytes()) };
    let entire = |len: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n")
    };
    let part = |from: usize| match range {
        None => entire(bytes.len()),
        Some(_) => format!(
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len() - 1,
            bytes.len(),
            bytes.len() - from
        ),
    };
    let from = range.unwrap_or(0);
    if from >= bytes.len() {
        return stream.write_all(status(416).as_bytes());
    }
    let rest = &bytes[from..];
    match reply {
        Reply::Right => stream.write_all(&[part(from).as_bytes(), rest].concat()),
        Reply::Cut(n) => {
            stream.write_all(&[part(from).as_bytes(), &rest[..n.min(rest.len())]].concat())
        }
        Reply::Stall(n) => {
            stream.write_all(&[part(from).as_bytes(), &rest[..n]].concat())?;
            stream.flush()?;
            // A little longer than the client waits; the next request waits for the rest.
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        }
        Reply::IgnoreRange => stream.write_all(&[entire(bytes.len()).as_bytes(), bytes].concat()),
        Reply::WrongRange => stream.write_all(&[part(from + 1).as_bytes(), rest].concat()),
        Reply::Wrong => {
            let wrong: Vec<u8> = rest.iter().map(|b| b ^ 1).collect();
            stream.write_all(&[part(from).as_bytes(), &wrong].concat())
        }
        Reply::Redirect(to) => stream.write_all(
            format!(
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        ),
        Reply::Status(code) => stream.write_all(status(code).as_bytes()),
        Reply::Huge => stream.write_all(entire(1 << 40).as_bytes()),
        Reply::Unsized(n) => stream.write_all(
            &[&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &bytes[..n]].concat(),
        ),
    }
}
