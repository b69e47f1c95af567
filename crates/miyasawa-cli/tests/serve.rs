//! `miyasawa serve` through the program: its documents, signals, and a thousand requests of which
//! every tenth is hostile (or as many as `MIYASAWA_REQUESTS` says).
#![cfg(all(unix, feature = "serve"))]

mod common;

use common::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A server in a process of its own.
struct Served {
    child: Child,
    /// What it said when it began.
    said: Value,
}

impl Served {
    fn start(args: &[&str], token: Option<&str>) -> Self {
        let mut command = command();
        command.args(["serve", "--bind", "127.0.0.1:0", "--json"]).args(args);
        match token {
            Some(token) => command.env("MIYASAWA_TOKEN", token),
            None => command.env_remove("MIYASAWA_TOKEN"),
        };
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("standard output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let said = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, said }
    }

    fn address(&self) -> &str {
        self.said["address"].as_str().expect("an address")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Ends it as a system does; the exit status and what it said.
    fn stop(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        let status = self.child.wait().expect("it ends").code();
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().expect("standard error");
        stderr.read_to_string(&mut text).expect("UTF-8");
        (status, text)
    }

    /// Bytes of its memory.
    #[cfg(target_os = "linux")]
    fn memory(&self) -> usize {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).expect("the numbers of the process");
        4096 * text.split(' ').nth(1).expect("a number").parse::<usize>().expect("a number")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already, or a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book/src/figures/frog.jpg")
}

/// Status and body.
fn post(url: &str, body: &[u8], token: Option<&str>) -> (u16, Vec<u8>) {
    let mut request = ureq::post(url);
    if let Some(token) = token {
        request = request.set("Authorization", &format!("Bearer {token}"));
    }
    let response = match request.send_bytes(body) {
        Ok(response) | Err(ureq::Error::Status(_, response)) => response,
        Err(error) => panic!("{url}: {error}"),
    };
    let (status, mut body) = (response.status(), Vec::new());
    response.into_reader().read_to_end(&mut body).expect("a body");
    (status, body)
}

#[test]
fn a_served_model_says_what_the_commands_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("mine.safetensors");
    let bundled = miyasawa::bundled::BundledModel::Cifar10.bytes();
    std::fs::write(&copy, bundled).expect("the model is written");
    let copy = copy.to_str().expect("UTF-8");
    let served = Served::start(&[copy, "photo"], Some("correct horse"));
    assert_eq!(served.said["models"], serde_json::json!(["mine", "photo"]));
    assert_eq!(served.said["token"], true);
    let frog = std::fs::read(frog()).expect("the frog");
    let url = served.url("/v1/classify?top=4");
    assert_eq!(post(&url, &frog, None).0, 401);
    let (status, found) = post(&url, &frog, Some("correct horse"));
    assert_eq!(status, 200);
    let found: Value = serde_json::from_slice(&found).expect("a document");
    let path = self::frog();
    let said = json(["classify", path.to_str().unwrap(), "--top", "4", "--json"]);
    // To the last digit.
    for key in ["classes", "sigma"] {
        assert_eq!(found[key], said["images"][0][key], "{key}");
    }

    let (status, found) = post(&served.url("/v1/denoise"), &frog, Some("correct horse"));
    assert_eq!(status, 200);
    let out = folder.path().join("clean.jpg");
    ok(["denoise", path.to_str().unwrap(), "-q", "-o", out.to_str().unwrap()]);
    assert_eq!(found, std::fs::read(out).expect("the denoised image"));

    let (status, text) = served.stop();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("stopping after what was begun"), "{text}");
}

#[test]
fn wrong_calls_are_refused() {
    fails(2, ["serve", "--bind", "0.0.0.0:0"], &["other machines", "--public"]);
    fails(2, ["serve", "--queue", "0"], &["waiting requests", "is 0"]);
    fails(2, ["serve", "--max-pixels", "-1"], &["pixels", "is 0"]);
    fails(2, ["serve", "--timeout", "-1"], &["--timeout is -1"]);
    fails(2, ["serve", "photo", "photo"], &["two models called \"photo\""]);
    fails(1, ["serve", "missing.safetensors"], &["missing.safetensors"]);
    fails(1, ["serve", "--token-file", "missing"], &["missing", "token"]);
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "short\n").expect("a file");
    fails(2, ["serve", "--token-file", token.to_str().unwrap()], &["5 characters"]);
}

/// The hostile requests: what is sent, and what may come back; nothing is a closed connection.
fn hostile(number: usize, frog: &[u8], bomb: &[u8]) -> (Vec<u8>, &'static [u16]) {
    let request = |path: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    // Different in every request, the same in every run.
    let noise: Vec<u8> =
        (0..5000).map(|i| ((i * 7919 + number * 104_729) % 251 * (i % 13) % 256) as u8).collect();
    let mut flipped = frog.to_vec();
    for i in 0..20 {
        let at = (number * 31 + i * 97) % flipped.len();
        flipped[at] ^= 1 << (i % 8);
    }
    let path = ["/v1/classify", "/v1/denoise", "/v1/explain?class=1"][number % 3];
    match number % 8 {
        0 => (request(path, &frog[..(number * 37) % frog.len()]), &[400, 415, 422]),
        1 => (request(path, bomb), &[413]),
        2 => (request(path, &noise), &[415, 422]),
        // A decoder may forgive it.
        3 => (request(path, &flipped), &[200, 413, 415, 422]),
        4 => (noise, &[400, 431, 0]),
        5 => (request("/v1/%ff?%00=\r", frog), &[400, 404, 0]),
        6 => {
            let head = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n";
            (format!("{head}Content-Length: 99999999999\r\n\r\n").into_bytes(), &[413, 400, 0])
        }
        // It sends a part, and goes away.
        _ => {
            let all = request(path, frog);
            (all[..all.len() * (number % 7 + 1) / 9].to_vec(), &[0, 400, 408])
        }
    }
}

fn exchange(address: &str, request: &[u8], patient: bool) -> u16 {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(100))).expect("a limit");
    // It may refuse before all is sent.
    let _ = stream.write_all(request);
    if !patient {
        return 0;
    }
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(12)]).into_owned();
    head.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a_thousand_requests_with_hostile_ones_among_them_leave_nothing_behind() {
    let served = Served::start(&["--timeout", "60"], None);
    let frog = std::fs::read(frog()).expect("the frog");
    let mut bomb = std::io::Cursor::new(Vec::new());
    let grey = image::GrayImage::new(8000, 8000);
    grey.write_to(&mut bomb, image::ImageFormat::Png).expect("a bomb");
    let bomb = bomb.into_inner();
    let expected = post(&served.url("/v1/classify"), &frog, None).1;
    let expected: Value = serde_json::from_slice(&expected).expect("a document");
    let (next, wrong) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let work = |until: usize| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= until {
                next.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            let fault = if number % 10 == 9 {
                let (request, may) = hostile(number / 10, &frog, &bomb);
                let patient = number / 10 % 8 != 7;
                let found = exchange(served.address(), &request, patient);
                (!may.contains(&found)).then(|| format!("{number}: {found}, expected {may:?}"))
            } else {
                let path = ["/v1/classify", "/v1/denoise?sigma=0.1", "/v1/classify?sigma=auto"];
                let (status, body) = post(&served.url(path[number % 3]), &frog, None);
                let right = match number % 3 {
                    0 => {
                        let found: Value = serde_json::from_slice(&body).expect("a document");
                        found["classes"][0]["class"] == expected["classes"][0]["class"]
                    }
                    1 => body.starts_with(b"\xff\xd8"),
                    _ => body.starts_with(b"{"),
                };
                (status != 200 || !right).then(|| format!("{number}: {status}"))
            };
            wrong.lock().expect("no panic").extend(fault);
        }
    };
    let all = |until| {
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| work(until)))));
    };
    let total = std::env::var("MIYASAWA_REQUESTS").ok().and_then(|total| total.parse().ok());
    let total = total.unwrap_or(1000);
    all(total * 2 / 5);
    let early = settled(&served);
    all(total);
    let late = settled(&served);
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(late < early + (32 << 20), "{early} bytes of memory first, {late} at the end");
    println!("{total} requests: {early} bytes of memory after two fifths, {late} at the end");
    assert_eq!(post(&served.url("/v1/classify"), &frog, None).0, 200);
    let (status, text) = served.stop();
    assert_eq!(status, Some(0), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

/// Its memory once what was freed is returned.
#[cfg(target_os = "linux")]
fn settled(served: &Served) -> usize {
    let began = Instant::now();
    let mut least = usize::MAX;
    while began.elapsed() < Duration::from_secs(3) {
        least = least.min(served.memory());
        std::thread::sleep(Duration::from_millis(100));
    }
    least
}

#[cfg(not(target_os = "linux"))]
fn settled(_: &Served) -> usize {
    let _ = Instant::now();
    0
}
