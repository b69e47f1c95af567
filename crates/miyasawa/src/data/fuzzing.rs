//! What the fuzz targets run of this module.

use std::path::{Path, PathBuf};

use super::broken::Broken;
use super::cifar::{self, Kind};
use super::images::{self, Bring};
use super::source::{Content, Part};
use super::store::Store;
use super::{archive, classnames, idx, read};

/// An IDX file of images or of labels.
pub fn idx(bytes: &[u8]) -> bool {
    let parse = |holds| idx::parse(Path::new("fuzz"), read::from_bytes(bytes), holds).ok();
    let images = parse(idx::Holds::Images).map(idx::planes);
    let labels = parse(idx::Holds::Labels).map(|labels| idx::numbers(&labels));
    matches!(images, Some(Ok(_))) || matches!(labels, Some(Ok(_)))
}

/// The names of classes.
pub fn class_names(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| classnames::parse(Path::new("fuzz"), text).is_ok())
}

/// CIFAR's binary files.
pub fn cifar(bytes: &[u8]) -> bool {
    let parse = |kind| cifar::parse("fuzz", kind, &[(PathBuf::from("fuzz"), bytes)]);
    parse(Kind::Ten).is_ok() | parse(Kind::Hundred).is_ok()
}

/// A tar, gzipped or not: listed, labelled as shards or class folders, its images decoded.
pub fn archive(bytes: &[u8]) -> bool {
    let path = Path::new("fuzz.tar");
    let mut unpacked = Vec::new();
    if read::unpack(path, read::from_bytes(bytes), &mut unpacked).is_err() {
        return false;
    }
    let store = Store::memory(path, unpacked);
    match archive::find_in("fuzz", vec![store], Part::Train).map(|found| found.content) {
        Ok(Content::Encoded(set)) => {
            images::build(&set, Bring::Cover((4, 4)), None, &Broken::quiet(), false).is_ok()
        }
        Ok(Content::Raw(_)) => true,
        Err(_) => false,
    }
}

/// An image.
pub fn image(bytes: &[u8]) -> bool {
    images::tile(bytes, Bring::Crop((4, 4), 0.875)).is_ok()
}
