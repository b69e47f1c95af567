//! The files that images are written to: planned and checked before any work is done.

use super::images::{Inputs, first_bytes, is_standard};
use crate::session::WrongCall;
use anyhow::{Context, Result};
use miyasawa::{
    atomic::check_writable,
    image::{Format, ImageError, ImageWriter},
};
use std::{
    collections::{HashMap, HashSet},
    io::{IsTerminal as _, Write as _},
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

/// Where one image goes.
#[derive(Debug)]
pub struct Target {
    /// The file, or `-` for standard output.
    pub path: PathBuf,
    /// Its format; nothing for that of the image.
    pub format: Option<Format>,
    /// Whether it is there already and stays as it is.
    pub done: bool,
}

/// Where all images go.
#[derive(Debug)]
pub struct Plan {
    /// A target for each image, in their order.
    pub targets: Vec<Target>,
    /// The folder that holds them, if it is one.
    folder: Option<PathBuf>,
    /// Whether images keep their names.
    by_name: bool,
}

/// What is to be written, and which files it must not replace.
pub struct Request<'r> {
    /// `--out`; without it, images go beside their sources.
    pub out: Option<&'r Path>,
    /// `--suffix`.
    pub suffix: Option<&'r str>,
    /// The images that are read.
    pub inputs: &'r Inputs,
    /// The model's file, which no image replaces.
    pub model: Option<&'r Path>,
    /// `--overwrite`: an image may replace its source, and what is there already.
    pub overwrite: bool,
}

impl Request<'_> {
    /// The plan.
    ///
    /// # Errors
    /// If a target has no format, cannot be written, occurs twice, or would replace a file that is
    /// read.
    pub fn plan(&self) -> Result<Plan> {
        let Self { inputs, suffix, .. } = *self;
        if suffix.is_some_and(|end| end.is_empty() || end.contains(['/', '\\'])) {
            return wrong(
                "--suffix is not the end of a name: expected a text like -denoised".into(),
            );
        }
        let several = inputs.folder || inputs.images.len() > 1;
        let mut plan = match self.out {
            None if suffix.is_none() => {
                return wrong(
                    "expected --out, --suffix for files beside the images, --preview or \
                     --uncertainty"
                        .into(),
                );
            }
            None => self.in_folder(None)?,
            Some(out) if is_standard(out) => return self.standard(several),
            Some(out) => self.into(out, several)?,
        };
        self.check_conflicts(&plan.targets)?;
        plan.check_writable()?;
        // Files appear whole or not at all: what is there was finished by an earlier call. A file
        // that was named is meant to be replaced.
        let skips = plan.by_name && !self.overwrite;
        plan.targets.iter_mut().for_each(|target| target.done = skips && target.path.is_file());
        Ok(plan)
    }

    /// The plan for images that go to a file or a folder.
    fn into(&self, out: &Path, several: bool) -> Result<Plan> {
        let separator = out.as_os_str().as_encoded_bytes().ends_with(&[MAIN_SEPARATOR as u8]);
        if several || separator || out.is_dir() {
            if several && out.exists() && !out.is_dir() {
                return wrong(format!(
                    "{}: several images are given: --out must be a folder",
                    out.display()
                ));
            }
            if several && !out.is_dir() && !separator && Format::of_name(out).is_some() {
                let name = out.display();
                return wrong(format!(
                    "{name}: --out is an image's name, but several images are given, or a folder: \
                     expected a folder (if it is to be one of this name, end it with \
                     {MAIN_SEPARATOR})"
                ));
            }
            return self.in_folder(Some(out));
        }
        if self.suffix.is_some() {
            let name = out.display();
            return wrong(format!("{name}: --suffix needs a folder as --out, or no --out"));
        }
        let Some(format) = Format::of_name(out) else {
            return wrong(ImageError::Extension { path: out.to_owned() }.to_string());
        };
        let target = Target { path: out.to_owned(), format: Some(format), done: false };
        Ok(Plan { targets: vec![target], folder: None, by_name: false })
    }

    /// The plan for images that keep their names, in a folder or beside their sources.
    fn in_folder(&self, folder: Option<&Path>) -> Result<Plan> {
        let Inputs { images, below, .. } = self.inputs;
        let target = |(image, below): (&PathBuf, &PathBuf)| {
            let to = match folder {
                Some(folder) => folder.join(below.parent().unwrap_or(Path::new(""))),
                None => image.parent().unwrap_or(Path::new("")).to_owned(),
            };
            kept_name(&to, image, self.suffix)
        };
        let targets = images.iter().zip(below).map(target).collect::<Result<_>>()?;
        Ok(Plan { targets, folder: folder.map(Path::to_owned), by_name: true })
    }

    /// Standard output takes one image, in the format that it has.
    fn standard(&self, several: bool) -> Result<Plan> {
        if several {
            return wrong(
                "several images are given, or a folder: --out must be a folder, not -".into(),
            );
        }
        if std::io::stdout().is_terminal() {
            return wrong(
                "--out is -, but standard output is a terminal: name a file, or pipe it on".into(),
            );
        }
        if self.suffix.is_some() {
            return wrong("--suffix is for files, and --out is -".into());
        }
        let target = Target { path: "-".into(), format: None, done: false };
        Ok(Plan { targets: vec![target], folder: None, by_name: false })
    }

    /// Makes sure that no two images go to one file, and that none replaces a source.
    fn check_conflicts(&self, targets: &[Target]) -> Result<()> {
        let images = &self.inputs.images;
        let sources: HashMap<FileId, usize> = images
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(i, image)| Some((file_id(image)?, i)))
            .collect();
        let model = self.model.and_then(file_id);
        let mut taken: HashMap<FileId, usize> = HashMap::new();
        let mut names: HashMap<&Path, usize> = HashMap::new();
        for (i, Target { path, .. }) in targets.iter().enumerate() {
            let at = file_id(path);
            let twice = |_| {
                let text = format!(
                    "{}: another image goes to {} too",
                    images[i].display(),
                    path.display()
                );
                wrong(text)
            };
            names.insert(path, i).map_or(Ok(()), twice)?;
            let Some(at) = at else { continue };
            taken.insert(at.clone(), i).map_or(Ok(()), twice)?;
            if model.as_ref() == Some(&at) {
                return wrong(format!("{}: --out would replace the model", path.display()));
            }
            match sources.get(&at) {
                Some(_) if !self.overwrite => {
                    let name = path.display();
                    return wrong(format!(
                        "{name}: --out would replace an image that is given; --overwrite lets it"
                    ));
                }
                // An output must not replace an image that is read later.
                Some(source) if file_id(&images[i]) != Some(at) => {
                    let (name, source) = (path.display(), images[*source].display());
                    return wrong(format!(
                        "{name}: --out would replace another image that is given, {source}"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Checks that the targets can be written, and leaves nothing behind.
    fn check_writable(&self) -> Result<()> {
        let Some(folder) = &self.folder else {
            // One file of every folder.
            let mut folders = HashSet::new();
            let mut targets = self.targets.iter().filter(|t| folders.insert(t.path.parent()));
            return targets.try_for_each(|target| Ok(check_writable(&target.path)?));
        };
        if folder.is_dir() {
            // A target that is a folder cannot be written; otherwise one check serves for all.
            let folder = self.targets.iter().find(|target| target.path.is_dir());
            let target = folder.or(self.targets.first());
            let parent = target.and_then(|target| target.path.parent());
            // Folders in it are made later.
            return match target.filter(|_| parent.is_some_and(Path::is_dir)) {
                Some(target) => Ok(check_writable(&target.path)?),
                None => Ok(check_writable(
                    &self.folder.as_deref().unwrap_or(Path::new(".")).join("folder"),
                )?),
            };
        }
        // The folder is made later: its first existing ancestor must be a folder that can be
        // written.
        let existing = folder.ancestors().find(|path| path.symlink_metadata().is_ok());
        let existing = existing.unwrap_or(Path::new("."));
        let probe = if existing.is_dir() { existing.join("folder") } else { existing.join("") };
        check_writable(&probe).with_context(|| format!("{}: cannot be made", folder.display()))
    }

    /// Makes the folder of the targets, if they have one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_folder(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))
    }
}

impl Target {
    /// Whether it is standard output.
    pub fn is_standard(&self) -> bool {
        is_standard(&self.path)
    }

    /// Writes the image.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, image: ImageWriter) -> Result<()> {
        if !self.is_standard() {
            if let Some(folder) = self.path.parent().filter(|path| !path.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("{}: cannot be made", folder.display()))?;
            }
            return Ok(image.save(&self.path)?);
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&image.into_bytes())
            .and_then(|()| out.flush())
            .context("standard output: cannot be written")
    }
}

/// The target of an image in a folder: it keeps its name and format.
fn kept_name(folder: &Path, image: &Path, suffix: Option<&str>) -> Result<Target> {
    if is_standard(image) {
        return wrong("standard input has no name: --out must be a file, or -".into());
    }
    let Some(name) = image.file_name() else {
        return wrong(format!("{}: not the name of a file", image.display()));
    };
    let named = Format::of_name(image);
    // A file that cannot be read is reported when it is processed.
    let format = named.unwrap_or_else(|| {
        first_bytes(image)
            .ok()
            .and_then(|begin| Format::of_bytes(&begin).ok())
            .unwrap_or(Format::Png)
    });
    let has_ending = named.is_some() || Format::is_read_only(image);
    let mut to = if has_ending { image.file_stem().unwrap_or(name) } else { name }.to_owned();
    to.push(suffix.unwrap_or(""));
    to.push(".");
    match image.extension().filter(|_| named.is_some()) {
        Some(extension) => to.push(extension),
        None => to.push(format.extension()),
    }
    Ok(Target { path: folder.join(to), format: Some(format), done: false })
}

/// Identifies a file under all of its names.
type FileId = (u64, u64, Option<PathBuf>);

/// The file that a path leads to, if there is one.
pub fn file_id(path: &Path) -> Option<FileId> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path).ok()?;
        // Devices and pipes lose no content.
        (found.is_file() || found.is_dir()).then(|| (found.dev(), found.ino(), None))
    }
    #[cfg(not(unix))]
    {
        Some((0, 0, Some(path.canonicalize().ok()?)))
    }
}

fn wrong<T>(text: String) -> Result<T> {
    Err(WrongCall(text).into())
}
