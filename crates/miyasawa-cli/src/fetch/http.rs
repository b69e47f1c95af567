//! Downloads that survive cut connections and trust nothing but the file's hash.

use anyhow::{Context, anyhow, bail};
use md5::{Digest, Md5};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

/// Larger files are not fetched: every set's files are smaller.
const MAX_FILE: u64 = 1 << 30;

/// Redirects that are followed.
const REDIRECTS: u32 = 5;

/// How patient a download is.
#[derive(Debug, Clone)]
pub struct Client {
    /// Attempts in a row without a byte of progress before an address is given up.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with every further one.
    pub pause: Duration,
    /// Wait for a connection, and for the next bytes of an answer.
    pub timeout: Duration,
}

impl Default for Client {
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_secs(1), timeout: Duration::from_secs(30) }
    }
}

/// How an attempt ended early.
enum Failure {
    /// Another attempt may succeed.
    Passing(anyhow::Error),
    /// The address cannot be used.
    Final(anyhow::Error),
}

/// The hash of a file, in hexadecimal digits.
pub fn md5(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    hash(&mut file).with_context(reading)
}

fn hash(file: &mut File) -> std::io::Result<String> {
    let mut hash = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Client {
    /// Downloads a file from the first of the addresses that has it with the hash `md5`; returns
    /// the number of bytes received.
    ///
    /// The bytes are kept in a `.part` file beside `path`, from whose end the next attempt or call
    /// continues; at the end it is checked, synchronised and renamed.
    pub fn download(
        &self,
        urls: &[String],
        path: &Path,
        md5: &str,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> anyhow::Result<u64> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let writing = || format!("writing {}", part.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&part)
            .with_context(writing)?;
        if file.try_lock().is_err() {
            bail!("{}: another process is fetching it", part.display());
        }
        let mut bytes = 0;
        let mut last = anyhow!("no address is known");
        for url in urls {
            // First from where an earlier call ended, then from the start if that gave another
            // file.
            let resumed = file.metadata().with_context(writing)?.len() > 0;
            for _ in 0..=u32::from(resumed) {
                if let Err(error) = self.complete(url, &mut file, &mut bytes, progress) {
                    last = error;
                    break;
                }
                file.seek(SeekFrom::Start(0)).with_context(writing)?;
                let found = hash(&mut file).with_context(writing)?;
                if found == md5 {
                    file.sync_all().with_context(writing)?;
                    std::fs::rename(&part, path).with_context(writing)?;
                    return Ok(bytes);
                }
                file.set_len(0).with_context(writing)?;
                last = anyhow!("{url}: expected a file with the MD5 hash {md5}, found {found}");
            }
            tracing::debug!("{last:#}");
        }
        if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            // There is nothing to resume from. A failure to remove it does no harm.
            let _ = std::fs::remove_file(&part);
        }
        Err(last)
    }

    /// Appends to `file` the bytes that the address has beyond its length, with several attempts if
    /// needed.
    fn complete(
        &self,
        url: &str,
        file: &mut File,
        bytes: &mut u64,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> anyhow::Result<()> {
        let mut failures = 0;
        let mut largest = file.metadata()?.len();
        loop {
            let failure = match self.attempt(url, file, bytes, progress) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) => error,
            };
            let have = file.metadata()?.len();
            // A server that starts again each time makes no progress by sending the same bytes.
            failures = if have > largest { 1 } else { failures + 1 };
            largest = largest.max(have);
            if failures >= self.attempts {
                let count = self.attempts;
                return Err(failure.context(format!("{url}: given up after {count} attempts")));
            }
            tracing::debug!("{failure:#}; trying again");
            std::thread::sleep(self.pause * 2u32.saturating_pow(failures - 1).min(32));
        }
    }

    fn agent(&self, url: &str) -> ureq::Agent {
        let host = url.split("://").nth(1).unwrap_or(url);
        let local = ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name));
        ureq::AgentBuilder::new()
            .timeout_connect(self.timeout)
            .timeout_read(self.timeout)
            .timeout_write(self.timeout)
            .redirects(REDIRECTS + 1)
            .user_agent(concat!("miyasawa/", env!("CARGO_PKG_VERSION")))
            // A proxy is for other machines.
            .try_proxy_from_env(!local)
            .build()
    }

    fn attempt(
        &self,
        url: &str,
        file: &mut File,
        bytes: &mut u64,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Failure> {
        let disk =
            |e: std::io::Error| Failure::Final(anyhow!(e).context("writing the downloaded bytes"));
        let mut have = file.metadata().map_err(disk)?.len();
        let mut request = self.agent(url).get(url);
        if have > 0 {
            request = request.set("Range", &format!("bytes={have}-"));
        }
        let answer = match request.call() {
            Ok(answer) => answer,
            // No bytes beyond those that are there: the hash decides whether it is the file.
            Err(ureq::Error::Status(416, _)) if have > 0 => return Ok(()),
            Err(ureq::Error::Status(status, answer)) => {
                let error = anyhow!("{url}: the server says {status} {}", answer.status_text());
                let passing = status >= 500 || matches!(status, 408 | 425 | 429);
                return Err(if passing { Failure::Passing(error) } else { Failure::Final(error) });
            }
            Err(ureq::Error::Transport(error)) => {
                use ureq::ErrorKind::{InvalidUrl, TooManyRedirects, UnknownScheme};
                let fruitless =
                    matches!(error.kind(), InvalidUrl | TooManyRedirects | UnknownScheme);
                let error = anyhow!("{error}");
                return Err(if fruitless {
                    Failure::Final(error)
                } else {
                    Failure::Passing(error)
                });
            }
        };
        match answer.status() {
            206 => {
                let range = answer.header("Content-Range").unwrap_or_default().to_owned();
                if !range.starts_with(&format!("bytes {have}-")) {
                    let found =
                        format!("{url}: requested the bytes from {have} on, found '{range}'");
                    file.set_len(0).map_err(disk)?;
                    return Err(Failure::Passing(anyhow!(found)));
                }
            }
            // The entire file, whichever range was requested.
            200 => {
                file.set_len(0).map_err(disk)?;
                have = 0;
            }
            status => {
                return Err(Failure::Final(anyhow!(
                    "{url}: expected a file, found status {status}"
                )));
            }
        }
        file.seek(SeekFrom::Start(have)).map_err(disk)?;
        let length: Option<u64> =
            answer.header("Content-Length").and_then(|text| text.parse().ok());
        let total = length.map(|length| have.saturating_add(length));
        let too_large = || {
            Failure::Final(anyhow!(
                "{url}: expected a file of at most {MAX_FILE} bytes, found more"
            ))
        };
        if total.is_some_and(|total| total > MAX_FILE) {
            return Err(too_large());
        }
        let mut body = answer.into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            progress(have, total);
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    let text = format!("{url}: the connection was lost after {have} bytes");
                    return Err(Failure::Passing(anyhow!(e).context(text)));
                }
            };
            file.write_all(&buffer[..count]).map_err(disk)?;
            have += count as u64;
            *bytes += count as u64;
            if have > MAX_FILE {
                return Err(too_large());
            }
        }
        match total {
            Some(total) if have < total => {
                let text = format!("{url}: the connection was lost after {have} of {total} bytes");
                Err(Failure::Passing(anyhow!(text)))
            }
            _ => Ok(()),
        }
    }
}
