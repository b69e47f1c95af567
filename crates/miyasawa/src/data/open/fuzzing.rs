//! What the fuzz targets run of this module.

use std::path::{Path, PathBuf};

use crate::data::batch::decode::{decode_all, resized};
use crate::data::formats::cifar::{self, CifarVariant};
use crate::data::formats::{archive, class_list, idx};
use crate::data::options::TargetSize;
use crate::data::part::Part;
use crate::data::set::content::SetContent;
use crate::data::set::corrupt::CorruptLog;
use crate::data::set::gzip;
use crate::data::set::storage::Storage;
use crate::image::ImageFile;

/// An IDX file of images or of labels.
pub fn idx(bytes: &[u8]) -> bool {
    let parse = |holds| idx::parse(Path::new("fuzz"), gzip::from_bytes(bytes), holds).ok();
    let images = parse(idx::IdxContent::Images).map(idx::planes);
    let labels = parse(idx::IdxContent::Labels).map(|labels| idx::numbers(&labels));
    matches!(images, Some(Ok(_))) || matches!(labels, Some(Ok(_)))
}

/// A list of class names.
pub fn class_names(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| class_list::parse(Path::new("fuzz"), text).is_ok())
}

/// CIFAR's binary files.
pub fn cifar(bytes: &[u8]) -> bool {
    let parse = |kind| cifar::parse("fuzz", kind, &[(PathBuf::from("fuzz"), bytes)]);
    parse(CifarVariant::Ten).is_ok() | parse(CifarVariant::Hundred).is_ok()
}

/// A tar, gzipped or not: listed, labelled as shards or class folders, its images decoded.
pub fn archive(bytes: &[u8]) -> bool {
    let path = Path::new("fuzz.tar");
    let mut unpacked = Vec::new();
    if gzip::unpack(path, gzip::from_bytes(bytes), &mut unpacked).is_err() {
        return false;
    }
    let storage = Storage::memory(path, unpacked);
    match archive::find_in("fuzz", vec![storage], Part::Train).map(|found| found.content) {
        Ok(SetContent::Files(set)) => {
            let target = TargetSize::Cover((4, 4));
            decode_all(&set, target, None, &CorruptLog::quiet(), false).is_ok()
        }
        Ok(SetContent::Raw(_)) => true,
        Err(_) => false,
    }
}

/// An image, as a data set reads it, and as a file whose pages are written again.
pub fn image(bytes: &[u8]) -> bool {
    if let Ok(file) = ImageFile::read("fuzz", bytes) {
        let mut writer = file.writer(file.format());
        let pages = (0..file.pages().min(4)).map_while(|number| file.page(number).ok());
        pages.take_while(|page| writer.add(Path::new("fuzz"), page).is_ok()).for_each(drop);
    }
    let decoded = crate::image::decode(bytes);
    decoded.map(|decoded| resized(decoded, TargetSize::Crop((4, 4), 0.875))).is_ok()
}
