//! A run's numbers as an event file of TensorBoard, beside `metrics.jsonl` (`log.tensorboard`).
//!
//! The file holds what `metrics.jsonl` holds, at the same times: it is made of its lines, anew
//! where a run is resumed or returns to an earlier state, and grows with them otherwise.
//!
//! The format: records of a length (8 bytes, little-endian), its checksum, the data, its checksum;
//! the data are messages `Event` of protocol buffers (tensorflow/core/util/event.proto), the
//! checksums CRC-32C, rotated by 15 bits and shifted by a constant.

use super::error::TrainError;
use crate::atomic::write_atomic;
use serde_json::Value;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

/// The name that TensorBoard looks for: the word, a time, and any end.
const NAME: &str = "events.out.tfevents.0.miyasawa";

/// Numbers of a step's line that are not measured.
const NOT_MEASURED: [&str; 2] = ["step", "time"];

/// The event file of a run.
pub(super) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// The event file beside a log, with the numbers of the log's lines.
    pub fn beside(log: &Path) -> Result<Self, TrainError> {
        let path = log.with_file_name(NAME);
        let wrong = |source| TrainError::Folder { path: path.clone(), source };
        let lines = match File::open(log) {
            Ok(file) => BufReader::new(file),
            Err(source) => return Err(TrainError::Folder { path: log.to_owned(), source }),
        };
        write_atomic(&path, |out| {
            out.write_all(&record(&version()))?;
            for line in lines.lines() {
                if let Ok(line) = serde_json::from_str(&line?) {
                    out.write_all(&records(&line))?;
                }
            }
            Ok(())
        })?;
        let file = OpenOptions::new().append(true).open(&path).map_err(wrong)?;
        Ok(Self { file, path })
    }

    /// Adds the numbers of a line of the log.
    pub fn push(&mut self, line: &str) -> Result<(), TrainError> {
        let write = |line: Value| self.file.write_all(&records(&line));
        let written = serde_json::from_str(line).map_err(io::Error::from).and_then(write);
        written.map_err(|source| TrainError::Folder { path: self.path.clone(), source })
    }
}

/// The records of a line: the numbers of a step, or those of every noise level of an evaluation.
fn records(line: &Value) -> Vec<u8> {
    let Some(step) = line["step"].as_i64() else { return Vec::new() };
    let mut scalars = Vec::new();
    match line["event"].as_str() {
        None => scalars.extend(numbers("train/", "", line)),
        Some("eval") => {
            for row in line["rows"].as_array().into_iter().flatten() {
                scalars.extend(numbers("test/", &format!("/sigma {}", row["sigma"]), row));
            }
        }
        Some(_) => {}
    }
    if scalars.is_empty() {
        return Vec::new();
    }
    record(&event(line["time"].as_f64().unwrap_or_default(), step, &scalars))
}

/// The numbers of an object by their names in TensorBoard.
fn numbers(before: &str, after: &str, of: &Value) -> Vec<(String, f32)> {
    let entries = of.as_object().into_iter().flatten();
    let measured = entries.filter(|(key, _)| !NOT_MEASURED.contains(&key.as_str()));
    let named = |(key, value): (&String, &Value)| {
        Some((format!("{before}{key}{after}"), value.as_f64()? as f32))
    };
    measured.filter(|(key, _)| *key != "sigma").filter_map(named).collect()
}

/// The message that begins a file.
fn version() -> Vec<u8> {
    let mut message = fixed_64(1, 0.0_f64.to_bits());
    message.extend(bytes(3, b"brain.Event:2"));
    message
}

/// A message `Event` with a summary of scalars.
fn event(time: f64, step: i64, scalars: &[(String, f32)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut scalar = bytes(1, tag.as_bytes());
        scalar.extend(key(2, 5));
        scalar.extend(value.to_le_bytes());
        summary.extend(bytes(1, &scalar));
    }
    let mut message = fixed_64(1, time.to_bits());
    message.extend(key(2, 0));
    message.extend(varint(step as u64));
    message.extend(bytes(5, &summary));
    message
}

/// The number and the wire type of a field.
fn key(field: u64, wire: u64) -> Vec<u8> {
    varint(field << 3 | wire)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut found = Vec::new();
    while value >= 0x80 {
        found.push(value as u8 | 0x80);
        value >>= 7;
    }
    found.push(value as u8);
    found
}

fn fixed_64(field: u64, bits: u64) -> Vec<u8> {
    let mut found = key(field, 1);
    found.extend(bits.to_le_bytes());
    found
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    let mut found = key(field, 2);
    found.extend(varint(content.len() as u64));
    found.extend(content);
    found
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut found = length.to_vec();
    found.extend(masked_crc(&length).to_le_bytes());
    found.extend(data);
    found.extend(masked_crc(data).to_le_bytes());
    found
}

fn masked_crc(data: &[u8]) -> u32 {
    crc_32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's polynomial, bit by bit: a step has a few hundred bytes.
fn crc_32c(data: &[u8]) -> u32 {
    let shift = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    let all = data
        .iter()
        .fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc)));
    !all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the check value of the CRC catalogue.
        assert_eq!(crc_32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc_32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc_32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn numbers_are_written_once_each() {
        let step = serde_json::json!({"step": 300, "loss": 1.5, "accuracy": null, "time": 2.0});
        let found = records(&step);
        let tag = b"train/loss";
        assert_eq!(found.windows(tag.len()).filter(|part| part == tag).count(), 1);
        assert!(!found.windows(4).any(|part| part == b"time" || part == b"accu"));
        let length = u64::from_le_bytes(found[..8].try_into().unwrap()) as usize;
        assert_eq!(found.len(), length + 16);
        // time: field 1; step: field 2, 300 in two bytes.
        assert_eq!(found[12], 1 << 3 | 1);
        assert_eq!(&found[21..24], &[2 << 3, 0xac, 0x02]);
        let rows = serde_json::json!([{"sigma": 0.1, "psnr": 30.0}, {"sigma": 0.2, "psnr": 20.0}]);
        let found = records(&serde_json::json!({"event": "eval", "step": 4, "rows": rows}));
        let tag = b"test/psnr/sigma 0.";
        assert_eq!(found.windows(tag.len()).filter(|part| part == tag).count(), 2);
        assert!(records(&serde_json::json!({"event": "rollback", "step": 4})).is_empty());
    }
}
