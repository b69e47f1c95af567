//! Reading a checkpoint's file, and checking whether it is as it was written.
//!
//! The hash in the metadata distinguishes a damaged file from an intact one as long as no other
//! program writes the file. PyTorch and the safetensors library copy the metadata, and with them a
//! hash that is not that of the new content. So a file that this program wrote is recognised by its
//! header: it begins with `{ `, where other programs write no space, and the metadata records it in
//! an entry `layout`, which they copy.

use super::{
    CheckpointError, STATE,
    container::{FORMAT, Hashed, MARK, content_hash, header, tensor_data},
};
use burn::tensor::TensorData;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// The entries that this program writes; `state` is there in a run's checkpoint.
const KNOWN: [&str; 5] = ["info", "layout", "miyasawa", "sha256", STATE];
/// PyTorch counts the batches of a batch normalisation, in integers that no model needs.
const COUNTER: &str = ".num_batches_tracked";

/// A file's content.
pub(crate) struct Opened<'b> {
    header: &'b [u8],
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'b>,
}

/// The result of [`Opened::check`].
pub(crate) struct Checked {
    /// The hash that identifies this content.
    pub sha256: String,
    /// How another program changed the file, in words; nothing if it is as this program wrote it.
    pub edited: Option<String>,
}

fn format(path: &Path, found: String) -> CheckpointError {
    CheckpointError::Format { path: path.to_owned(), found }
}

fn damaged(path: &Path, expected: &str, found: String) -> CheckpointError {
    CheckpointError::Damaged { path: path.to_owned(), expected: expected.to_owned(), found }
}

impl<'b> Opened<'b> {
    /// Reads a file's bytes, which must be as this program wrote them; `path` is for messages.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint, are damaged, or were changed by another program.
    #[cfg(any(test, feature = "train"))]
    pub fn new(bytes: &'b [u8], path: &Path) -> Result<Self, CheckpointError> {
        let opened = Self::unchecked(bytes, path)?;
        let (expected, found) = (opened.entry("sha256", path)?, opened.hash(|_| true));
        if found != expected {
            return Err(damaged(path, expected, found));
        }
        Ok(opened)
    }

    /// As [`new`](Self::new), whatever the hash is.
    pub fn unchecked(bytes: &'b [u8], path: &Path) -> Result<Self, CheckpointError> {
        let format = |found: String| format(path, found);
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02") {
            let found = "it is a file of torch.save: save the state_dict by safetensors with the \
                         metadata of the checkpoint that it comes from";
            return Err(format(found.to_owned()));
        }
        let (length, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let opened =
            Self { header: bytes.get(8..8 + length).unwrap_or_default(), metadata, tensors };
        let version = opened.entry("miyasawa", path)?;
        opened.entry("info", path)?;
        if version != FORMAT {
            return Err(format(format!(
                "it has format version {version}, this program reads {FORMAT}"
            )));
        }
        Ok(opened)
    }

    /// Checks whether the content is as it was written, and whether this program wrote it:
    ///
    /// | the file | is |
    /// | --- | --- |
    /// | has the hash of its content | intact |
    /// | has that hash without metadata of other programs | intact, metadata added |
    /// | has another hash, or none, and the header that this program writes | damaged |
    /// | the same in another program's header | edited: the hash is not of this content |
    ///
    /// Before version 2 of the layout, headers cannot always be distinguished from those of the
    /// safetensors library; then a wrong hash means damage unless metadata, their order or the
    /// numbers' type show another writer, and no hash means an edited file.
    ///
    /// # Errors
    /// If the content is damaged.
    pub fn check(&self, path: &Path) -> Result<Checked, CheckpointError> {
        let known = |key: &str| KNOWN.contains(&key);
        let (all, ours) = (self.hash(|_| true), self.hash(known));
        let mut added: Vec<&str> =
            self.metadata.keys().map(String::as_str).filter(|key| !known(key)).collect();
        added.sort_unstable();
        let edited = |text: String| Ok(Checked { sha256: all.clone(), edited: Some(text) });
        let unchecked = "whether it is damaged cannot be checked";
        match self.metadata.get("sha256") {
            Some(stored) if *stored == all => Ok(Checked { sha256: all, edited: None }),
            Some(stored) if *stored == ours => {
                let text = format!(
                    "another program added {added:?} to the metadata; the parameters are as written"
                );
                Ok(Checked { sha256: ours, edited: Some(text) })
            }
            Some(stored) if self.is_from_miyasawa() => Err(damaged(path, stored, all)),
            Some(_) => {
                edited(format!("its parameters were changed by another program; {unchecked}"))
            }
            // The damage may be in the name of the entry.
            None if self.is_marked() || self.metadata.values().any(|text| *text == ours) => {
                Err(damaged(path, "nothing", all))
            }
            None => {
                edited(format!("it was written by another program, without a hash; {unchecked}"))
            }
        }
    }

    /// Whether the header begins as this program's do.
    fn is_marked(&self) -> bool {
        self.header.starts_with(MARK)
    }

    /// Whether the header is one that this program writes, or wrote before it marked them.
    fn is_from_miyasawa(&self) -> bool {
        if self.is_marked() || self.metadata.contains_key("layout") {
            return self.is_marked();
        }
        let views = self.views();
        let known = self.metadata.keys().all(|key| KNOWN.contains(&key.as_str()));
        let typed = views.iter().all(|(name, view)| match view.dtype() {
            Dtype::F32 => true,
            Dtype::BF16 => *name != super::BUFFER,
            _ => false,
        });
        let metadata =
            self.metadata.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let tensors =
            views.iter().map(|(name, view)| (*name, view.dtype(), view.shape(), view.data().len()));
        known && typed && header(b"{", &metadata, tensors).is_ok_and(|header| header == self.header)
    }

    /// The tensors in the order of their names.
    fn views(&self) -> Vec<(&str, TensorView<'_>)> {
        let mut views: Vec<(&str, TensorView<'_>)> = self.tensors.iter().collect();
        views.sort_unstable_by_key(|(name, _)| *name);
        views
    }

    /// The hash of the tensors and of those entries that are counted.
    fn hash(&self, counts: impl Fn(&str) -> bool) -> String {
        let entries: BTreeMap<&str, &str> = self
            .metadata
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "miyasawa" | "sha256") && counts(key))
            .map(|(key, text)| (key.as_str(), text.as_str()))
            .collect();
        let views = self.views();
        let tensors = views.iter().map(|(name, view)| Hashed {
            name,
            dtype: view.dtype(),
            shape: view.shape(),
            bytes: view.data(),
        });
        content_hash(&entries, tensors)
    }

    /// Whether the metadata holds a key.
    pub fn has(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    /// A text of the metadata.
    ///
    /// # Errors
    /// If it is not there.
    pub fn entry(&self, key: &str, path: &Path) -> Result<&str, CheckpointError> {
        let text = self.metadata.get(key).map(String::as_str);
        text.ok_or_else(|| {
            let found = format!(
                "the metadata has no entry '{key}' (a program that saves it again must keep them)"
            );
            format(path, found)
        })
    }

    /// Every tensor in float32, except the batch counters of PyTorch.
    ///
    /// # Errors
    /// If one is not of floats or has a value that is not finite.
    pub fn floats(&self, path: &Path) -> Result<BTreeMap<String, TensorData>, CheckpointError> {
        let mut params = BTreeMap::new();
        for (name, view) in self.tensors.iter().filter(|(name, _)| !name.ends_with(COUNTER)) {
            let data = tensor_data(&view).map_err(|e| format(path, format!("{name} {e}")))?;
            let values = data.as_slice::<f32>();
            let values = values
                .map_err(|_| format(path, format!("{name} holds integers, expected floats")))?;
            // A model that predicts NaN for everything must not be loaded.
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format(path, format!("{name} holds the value {value}")));
            }
            params.insert(name.to_owned(), data);
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BUFFER, Checkpoint, Precision, container::Content};
    use super::*;
    use crate::bundled::BundledModel;

    type Metadata = BTreeMap<String, String>;
    type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

    const PATH: &str = "m.safetensors";

    fn parts(bytes: &[u8]) -> (Metadata, Stored) {
        let opened = Opened::unchecked(bytes, Path::new(PATH)).unwrap();
        let stored =
            |view: &TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let tensors =
            opened.views().iter().map(|(name, view)| ((*name).to_owned(), stored(view))).collect();
        (opened.metadata.into_iter().collect(), tensors)
    }

    /// The file with this beginning of its header; metadata in the order of their keys, or in the
    /// reverse one.
    fn file(begin: &[u8], sorted: bool, metadata: &Metadata, tensors: &Stored) -> Vec<u8> {
        let entries = metadata.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let infos = tensors
            .iter()
            .map(|(name, (dtype, shape, v))| (&name[..], *dtype, &shape[..], v.len()));
        let mut header = header(begin, &entries, infos).unwrap();
        if !sorted {
            let entry = |(key, text): (&String, &String)| {
                format!(
                    "{}:{}",
                    serde_json::to_string(key).unwrap(),
                    serde_json::to_string(text).unwrap()
                )
            };
            let mut all: Vec<String> = metadata.iter().map(entry).collect();
            let before = all.join(",");
            all.reverse();
            header =
                String::from_utf8(header).unwrap().replace(&before, &all.join(",")).into_bytes();
        }
        let values = tensors.values().flat_map(|(_, _, values)| values).copied();
        (header.len() as u64).to_le_bytes().into_iter().chain(header).chain(values).collect()
    }

    /// Intact, edited, damaged or refused.
    fn verdict(bytes: &[u8]) -> &'static str {
        match Checkpoint::from_bytes(bytes, Path::new(PATH)) {
            Ok(_) if Opened::new(bytes, Path::new(PATH)).is_ok() => "intact",
            Ok(_) => "edited",
            Err(CheckpointError::Damaged { .. }) => "damaged",
            Err(_) => "refused",
        }
    }

    /// As this program wrote them before it marked its headers, and as it does.
    fn both_layouts() -> [(Vec<u8>, &'static [u8]); 2] {
        let marked =
            BundledModel::Cifar10.checkpoint().unwrap().0.to_bytes_in(Precision::F32).unwrap();
        let (mut metadata, tensors) = parts(&marked);
        metadata.remove("layout");
        metadata.remove("sha256");
        let unhashed = file(b"{", true, &metadata, &tensors);
        let hash = Opened::unchecked(&unhashed, Path::new(PATH)).unwrap().hash(|_| true);
        metadata.insert("sha256".to_owned(), hash);
        [(file(b"{", true, &metadata, &tensors), b"{"), (marked, MARK)]
    }

    #[test]
    fn damage_is_distinguished_from_changes_by_another_program() {
        for (intact, begin) in both_layouts() {
            let (metadata, tensors) = parts(&intact);
            assert_eq!(
                (verdict(&intact), intact == file(begin, true, &metadata, &tensors)),
                ("intact", true)
            );
            // A header that another program copied is intact as long as the content is.
            assert_eq!(verdict(&file(b"{", false, &metadata, &tensors)), "intact");
            let mut flipped = intact.clone();
            let last = flipped.len() - 40;
            flipped[last] ^= 2;
            assert_eq!(verdict(&flipped), "damaged");
            // Of the hash itself, and of the name that it has.
            for (key, new) in [("sha256", "sha25v"), ("sha256", "cha256")] {
                let mut renamed = metadata.clone();
                let hash = renamed.remove(key).unwrap();
                renamed.insert(new.to_owned(), hash);
                assert_eq!(verdict(&file(begin, true, &renamed, &tensors)), "damaged", "{new}");
            }
            // Changes by another program: more metadata, no hash, other parameters.
            let with = |key: &str, text: Option<&str>| {
                let mut metadata = metadata.clone();
                metadata.remove(key);
                metadata.extend(text.map(|text| (key.to_owned(), text.to_owned())));
                metadata
            };
            let tuned = {
                let mut tensors = tensors.clone();
                let (_, _, values) = tensors.get_mut("stem.weight").unwrap();
                values[..4].copy_from_slice(&0.25f32.to_le_bytes());
                tensors
            };
            for sorted in [true, false] {
                let added = with("format", Some("pt"));
                assert_eq!(verdict(&file(b"{", sorted, &added, &tensors)), "edited");
                assert_eq!(verdict(&file(b"{", sorted, &added, &tuned)), "edited");
                let unhashed = with("sha256", None);
                assert_eq!(verdict(&file(b"{", sorted, &unhashed, &tensors)), "edited");
                assert_eq!(verdict(&file(b"{", sorted, &unhashed, &tuned)), "edited");
            }
            assert_eq!(verdict(&file(b"{", false, &metadata, &tuned)), "edited");
            // Old files that the library rewrote may have the header of this program.
            let ambiguous = file(b"{", true, &metadata, &tuned);
            assert_eq!(verdict(&ambiguous), if begin == MARK { "edited" } else { "damaged" });
        }
    }

    #[test]
    fn edited_files_must_still_be_models() {
        let [_, (intact, _)] = both_layouts();
        let (metadata, tensors) = parts(&intact);
        let changed = |change: &dyn Fn(&mut Stored)| {
            let mut tensors = tensors.clone();
            change(&mut tensors);
            verdict(&file(b"{", true, &metadata, &tensors))
        };
        let values = |stored: &(Dtype, Vec<usize>, Vec<u8>)| -> Vec<f32> {
            stored.2.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let half = |stored: &mut (Dtype, Vec<usize>, Vec<u8>)| {
            let values = values(stored);
            stored.0 = Dtype::F16;
            stored.2 =
                values.iter().flat_map(|v| burn::tensor::f16::from_f32(*v).to_le_bytes()).collect();
        };
        let double = |stored: &mut (Dtype, Vec<usize>, Vec<u8>)| {
            let values = values(stored);
            stored.0 = Dtype::F64;
            stored.2 = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
        };
        assert_eq!(changed(&|t| t.values_mut().for_each(half)), "edited");
        assert_eq!(changed(&|t| t.values_mut().for_each(double)), "edited");
        assert_eq!(changed(&|t| drop(t.remove(BUFFER))), "edited", "it is computed");
        let counted = (Dtype::I64, vec![], 7i64.to_le_bytes().to_vec());
        assert_eq!(
            changed(&|t| drop(t.insert("norm.num_batches_tracked".into(), counted.clone()))),
            "edited"
        );
        assert_eq!(changed(&|t| drop(t.remove("stem.weight"))), "refused");
        assert_eq!(changed(&|t| drop(t.insert("more".into(), counted.clone()))), "refused");
        assert_eq!(changed(&|t| t.get_mut("stem.weight").unwrap().1.reverse()), "refused");
        let nan =
            |t: &mut Stored| t.get_mut("stem.weight").unwrap().2[..4].copy_from_slice(&[255; 4]);
        assert_eq!(changed(&nan), "refused");
    }

    #[test]
    fn plain_files_are_those_of_any_program() {
        let mut content = Content::default();
        content.add_values("x", &[1.0]);
        let mut bytes = Vec::new();
        content.write_plain(&mut bytes).unwrap();
        assert!(bytes[8..].starts_with(b"{\"__metadata__\""));
        let error = Opened::new(&bytes, Path::new(PATH)).err().unwrap().to_string();
        assert!(error.contains("no entry 'miyasawa'"), "{error}");
        let pickled =
            Opened::new(b"PK\x03\x04 and so on", Path::new(PATH)).err().unwrap().to_string();
        assert!(pickled.contains("torch.save"), "{pickled}");
    }
}
