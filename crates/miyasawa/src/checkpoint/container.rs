//! The file itself: safetensors whose metadata carries a hash of everything else.

use super::CheckpointError;
use crate::digest::hex;
use burn::tensor::{DType, TensorData};
use safetensors::{
    Dtype, SafeTensors,
    tensor::{TensorInfo, TensorView},
};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    io::{self, Write},
    path::Path,
};

/// Version of the format.
const FORMAT: &str = "1";

/// The type that a checkpoint's numbers are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes: nothing is lost.
    #[default]
    F32,
    /// Two bytes, the upper half of a float32, rounded to the nearest.
    Bf16,
}

/// Type, shape and bytes of a tensor.
type Stored<'a> = (Dtype, Vec<usize>, Cow<'a, [u8]>);

/// What a file is to hold.
#[derive(Default)]
pub(crate) struct Content<'a> {
    /// Metadata by key; `info` is always there.
    pub entries: BTreeMap<&'static str, String>,
    /// The tensors by name.
    tensors: BTreeMap<String, Stored<'a>>,
    /// Of the tensors that are added from now on.
    precision: Precision,
}

impl<'a> Content<'a> {
    /// Nothing yet; tensors will be written in this type.
    pub fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// Adds a tensor that lives elsewhere; it is not copied.
    ///
    /// # Errors
    /// If it is not float32, which this program never makes, or a number is too large for the type.
    pub fn add(&mut self, name: String, data: &'a TensorData) -> Result<(), String> {
        let (true, Ok(values)) = (data.dtype() == DType::F32, data.as_slice::<f32>()) else {
            return Err(format!("parameter {name} is {:?}, expected float32", data.dtype()));
        };
        let (dtype, bytes) = match self.precision {
            Precision::F32 => (Dtype::F32, Cow::Borrowed(data.as_bytes())),
            Precision::Bf16 => (Dtype::BF16, Cow::Owned(bf16_bytes(&name, values)?)),
        };
        self.tensors.insert(name, (dtype, data.shape().to_vec(), bytes));
        Ok(())
    }

    /// Adds a list of numbers, always in float32: it is nothing that was learned.
    pub fn add_values(&mut self, name: &str, values: &[f32]) {
        self.add_shaped(name, &[values.len()], values);
    }

    /// Adds a tensor.
    ///
    /// # Panics
    /// If the number of values is not that of the shape.
    pub fn add_shaped(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: values for its shape");
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), Cow::Owned(bytes)));
    }

    /// The hash that [`write`](Self::write) puts into the metadata.
    pub fn hash(&self) -> String {
        let entries = self.entries.iter().map(|(key, text)| (*key, text.as_str())).collect();
        let tensors = self.tensors.iter().map(|(name, (dtype, shape, bytes))| Hashed {
            name,
            dtype: *dtype,
            shape,
            bytes,
        });
        content_hash(&entries, tensors)
    }

    /// The header: the metadata and the tensors in the order of their keys. The library writes them in a
    /// random order, and the same run must give the same bytes.
    fn header(&self, metadata: &BTreeMap<&str, &str>) -> io::Result<String> {
        let mut header = format!("{{\"__metadata__\":{}", serde_json::to_string(metadata)?);
        let mut end = 0;
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let start = end;
            end += bytes.len();
            let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (start, end) };
            let (name, info) = (serde_json::to_string(name)?, serde_json::to_string(&info)?);
            // Writing to a String cannot fail.
            let _ = write!(header, ",{name}:{info}");
        }
        header.push('}');
        Ok(header)
    }

    /// Writes a checkpoint: the entries, the hash, the tensors.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let hash = self.hash();
        let mut metadata: BTreeMap<&str, &str> =
            self.entries.iter().map(|(key, text)| (*key, text.as_str())).collect();
        metadata.extend([("miyasawa", FORMAT), ("sha256", &hash)]);
        self.write_with(&metadata, out)
    }

    /// Writes the tensors alone.
    pub fn write_plain(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_with(&BTreeMap::new(), out)
    }

    fn write_with(&self, metadata: &BTreeMap<&str, &str>, out: &mut impl Write) -> io::Result<()> {
        let mut header = self.header(metadata)?.into_bytes();
        // The values begin at a multiple of 8. Not by a width in a format: those end at 65,535, headers do not.
        header.resize(header.len().next_multiple_of(8), b' ');
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        self.tensors.values().try_for_each(|(_, _, bytes)| out.write_all(bytes))
    }
}

fn bf16_bytes(name: &str, values: &[f32]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let rounded = burn::tensor::bf16::from_f32(*value);
        if value.is_finite() && !rounded.is_finite() {
            return Err(format!("parameter {name} holds {value}, too large for bfloat16"));
        }
        bytes.extend_from_slice(&rounded.to_le_bytes());
    }
    Ok(bytes)
}

/// One tensor on its way into the hash.
struct Hashed<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

/// SHA-256 of the entry `info`, of the other entries in the order of their keys, and of every tensor's name,
/// type, shape and bytes in the order of the names.
fn content_hash<'a>(entries: &BTreeMap<&str, &str>, tensors: impl Iterator<Item = Hashed<'a>>) -> String {
    let mut hash = Sha256::new();
    entries.get("info").iter().for_each(|text| hash.update(text.as_bytes()));
    for (key, text) in entries.iter().filter(|(key, _)| **key != "info") {
        hash.update(format!("\0{key}\0").as_bytes());
        hash.update(text.as_bytes());
    }
    for Hashed { name, dtype, shape, bytes } in tensors {
        hash.update(format!("\0{name}\0{dtype:?}\0{shape:?}\0").as_bytes());
        hash.update(bytes);
    }
    hex(hash, usize::MAX)
}

/// A file's content, its hash found right.
pub(crate) struct Opened<'b> {
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'b>,
}

fn format(path: &Path, found: String) -> CheckpointError {
    CheckpointError::Format { path: path.to_owned(), found }
}

impl<'b> Opened<'b> {
    /// Reads a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint, or are damaged.
    pub fn new(bytes: &'b [u8], path: &Path) -> Result<Self, CheckpointError> {
        let opened = Self::unchecked(bytes, path)?;
        let (expected, found) = (opened.entry("sha256", path)?, opened.hash());
        if found != expected {
            let (path, expected) = (path.to_owned(), expected.to_owned());
            return Err(CheckpointError::Damaged { path, expected, found });
        }
        Ok(opened)
    }

    /// As [`new`](Self::new), whatever the hash is.
    pub fn unchecked(bytes: &'b [u8], path: &Path) -> Result<Self, CheckpointError> {
        let format = |found: String| format(path, found);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
        let opened = Self { metadata: header.metadata().clone().unwrap_or_default(), tensors };
        let version = opened.entry("miyasawa", path)?;
        opened.entry("info", path)?;
        if version != FORMAT {
            return Err(format(format!("it has format version {version}, this program reads {FORMAT}")));
        }
        Ok(opened)
    }

    fn hash(&self) -> String {
        let entries: BTreeMap<&str, &str> = self
            .metadata
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "miyasawa" | "sha256"))
            .map(|(key, text)| (key.as_str(), text.as_str()))
            .collect();
        let mut views: Vec<(&str, TensorView<'_>)> = self.tensors.iter().collect();
        views.sort_unstable_by_key(|(name, _)| *name);
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
        text.ok_or_else(|| format(path, format!("the metadata has no entry '{key}'")))
    }

    /// Every tensor in float32.
    ///
    /// # Errors
    /// If one holds no floats or a value that is not finite.
    pub fn floats(&self, path: &Path) -> Result<BTreeMap<String, TensorData>, CheckpointError> {
        let mut params = BTreeMap::new();
        for (name, view) in self.tensors.iter() {
            let data = tensor_data(&view).map_err(|e| format(path, format!("{name} {e}")))?;
            let values = data.as_slice::<f32>();
            let values =
                values.map_err(|_| format(path, format!("{name} holds integers, expected floats")))?;
            // A model that answers NaN to everything must not get as far as a picture.
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format(path, format!("{name} holds the value {value}")));
            }
            params.insert(name.to_owned(), data);
        }
        Ok(params)
    }
}

/// A safetensors view as tensor data in float32 (from float32, float16, bfloat16 or float64) or int64.
///
/// # Errors
/// If the type is another one.
pub fn tensor_data(view: &TensorView<'_>) -> Result<TensorData, String> {
    let (bytes, shape) = (view.data(), view.shape().to_vec());
    fn read<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
    }
    use burn::tensor::{bf16, f16};
    Ok(match view.dtype() {
        Dtype::F32 => TensorData::new(read(bytes, f32::from_le_bytes), shape),
        Dtype::F64 => TensorData::new(read(bytes, |b| f64::from_le_bytes(b) as f32), shape),
        Dtype::F16 => TensorData::new(read(bytes, |b| f16::from_le_bytes(b).to_f32()), shape),
        Dtype::BF16 => TensorData::new(read(bytes, |b| bf16::from_le_bytes(b).to_f32()), shape),
        Dtype::I64 => TensorData::new(read(bytes, i64::from_le_bytes), shape),
        other => return Err(format!("has type {other:?}, expected a float type or I64")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_no_longest_length() {
        let mut content = Content::default();
        content.entries.insert("info", "{}".to_owned());
        (0..1000).for_each(|i| content.add_shaped(&format!("tensor.{i}"), &[2], &[i as f32, 0.5]));
        let mut bytes = Vec::new();
        content.write(&mut bytes).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(length > u64::from(u16::MAX) && length % 8 == 0, "{length}");
        let params = Opened::new(&bytes, Path::new("many")).unwrap().floats(Path::new("many")).unwrap();
        assert_eq!(params.len(), 1000);
        assert_eq!(params["tensor.999"].as_slice::<f32>().unwrap(), [999.0, 0.5]);
    }
}
