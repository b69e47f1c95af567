//! Pictures at their own sizes, without classes: what denoisers are evaluated on.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::source::DataSource;
use super::{listing, read};
use crate::picture::{Picture, decode};

/// All pictures of a folder or tar archive in the order of their paths, each at its own size, in grey
/// (`channels` 1) or colour (3). Folders mean nothing.
///
/// # Errors
///
/// If the source is neither, cannot be read, holds no picture, or one cannot be decoded.
pub fn gallery(source: &DataSource, channels: usize) -> Result<Vec<Picture>, DataError> {
    let DataSource::Path(path) = source else {
        let found = format!("'{source}'");
        return Err(DataError::invalid(&source.to_string(), "a folder or tar archive of pictures", found));
    };
    let files = if path.is_dir() { of_folder(path)? } else { of_tar(path)? };
    if files.is_empty() {
        return Err(DataError::invalid(&source.to_string(), "at least one picture", "none"));
    }
    let open = |(path, bytes): (PathBuf, Vec<u8>)| {
        let decoded = decode(&bytes).map_err(|source| DataError::Picture { path: path.clone(), source })?;
        let shape = (decoded.channels, decoded.height, decoded.width);
        let picture = Picture::new(shape, decoded.into_floats()).and_then(|p| p.to_channels(channels));
        picture.map_err(|e| DataError::malformed(&path, "a picture in grey or colour", e.to_string()))
    };
    files.into_iter().map(open).collect()
}

fn of_folder(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, DataError> {
    let read = |name: String| {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|e| DataError::io(&path, e))?;
        Ok((path, bytes))
    };
    listing::walk(folder)?.into_iter().map(read).collect()
}

fn of_tar(path: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, DataError> {
    let bytes = read::read_archive(path)?;
    let damaged = |e: std::io::Error| {
        let found = format!("damage ({})", e.to_string().replace('\n', " "));
        DataError::malformed(path, "a whole tar archive of pictures", found)
    };
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut files = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let hidden = name.split('/').any(|part| part != "." && part != ".." && listing::is_hidden(part));
        if !entry.header().entry_type().is_file() || hidden || !listing::is_picture(&name) {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(damaged)?;
        files.push((path.join(name), content));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_sizes_in_folders_and_archives() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("set");
        std::fs::create_dir_all(folder.join("more")).unwrap();
        image::GrayImage::from_pixel(5, 3, image::Luma([0])).save(folder.join("b.png")).unwrap();
        image::RgbImage::from_pixel(2, 4, image::Rgb([255; 3])).save(folder.join("more/a.png")).unwrap();
        let tar = dir.path().join("set.tar");
        let mut archive = tar::Builder::new(std::fs::File::create(&tar).unwrap());
        archive.append_dir_all(".", &folder).unwrap();
        archive.into_inner().unwrap();
        for path in [&folder, &tar] {
            let source: DataSource = path.display().to_string().parse().unwrap();
            let found = gallery(&source, 1).unwrap();
            let shapes: Vec<_> = found.iter().map(Picture::shape).collect();
            assert_eq!(shapes, [(1, 3, 5), (1, 4, 2)]);
            assert!(found[0].values().iter().all(|v| *v == -1.0));
            assert!(found[1].values().iter().all(|v| (*v - 1.0).abs() < 1e-6));
        }
        let bytes = std::fs::read(&tar).unwrap();
        std::fs::write(&tar, &bytes[..700]).unwrap();
        let source: DataSource = tar.display().to_string().parse().unwrap();
        assert!(gallery(&source, 1).unwrap_err().to_string().contains("set.tar"));
        assert!(gallery(&DataSource::Digits, 1).unwrap_err().to_string().contains("folder or tar"));
    }
}
