//! The file format: safetensors whose metadata holds a hash of everything else. [`super::Opened`]
//! reads it.

use crate::digest::hex;
use burn::tensor::{DType, TensorData};
use safetensors::{
    Dtype,
    tensor::{TensorInfo, TensorView},
};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
};

/// Version of the format.
pub(super) const FORMAT: &str = "1";
/// How the header is written: since 2 it begins with [`MARK`].
const LAYOUT: &str = "2";
/// The first bytes of the header of a file that this program wrote.
pub(super) const MARK: &[u8] = b"{ ";

/// The type in which the values of a checkpoint are stored.
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

/// The content of a file to be written.
#[derive(Default)]
pub(crate) struct Content<'a> {
    /// Metadata by key; `info` is always there.
    pub entries: BTreeMap<&'static str, String>,
    /// The tensors by name.
    tensors: BTreeMap<String, Stored<'a>>,
    /// The type of the tensors that are added from now on.
    precision: Precision,
}

impl<'a> Content<'a> {
    /// Empty content; tensors will be written in this type.
    pub fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// Adds a borrowed tensor.
    ///
    /// # Errors
    /// If it is not float32, which this program never makes, or a value is too large for the type.
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

    /// Adds a list of values, always in float32: they are not learned.
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
        let entries = self.entries();
        let tensors = self.tensors.iter().map(|(name, (dtype, shape, bytes))| Hashed {
            name,
            dtype: *dtype,
            shape,
            bytes,
        });
        content_hash(&entries, tensors)
    }

    /// The entries that the hash covers besides the tensors.
    fn entries(&self) -> BTreeMap<&str, &str> {
        let entries = self.entries.iter().map(|(key, text)| (*key, text.as_str()));
        entries.chain([("layout", LAYOUT)]).collect()
    }

    /// Writes a checkpoint: the entries, the hash, the tensors.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let hash = self.hash();
        let mut metadata = self.entries();
        metadata.extend([("miyasawa", FORMAT), ("sha256", &hash)]);
        self.write_with(MARK, &metadata, out)
    }

    /// Writes the tensors alone.
    pub fn write_plain(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_with(b"{", &BTreeMap::new(), out)
    }

    fn write_with(
        &self,
        begin: &[u8],
        metadata: &BTreeMap<&str, &str>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let tensors = self.tensors.iter();
        let tensors = tensors
            .map(|(name, (dtype, shape, bytes))| (&name[..], *dtype, &shape[..], bytes.len()));
        let header = header(begin, metadata, tensors)?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        self.tensors.values().try_for_each(|(_, _, bytes)| out.write_all(bytes))
    }
}

/// The header: the metadata and the tensors, with the length of each, in the order of their keys.
/// The library writes them in a random order, and the same run must produce the same bytes. The
/// values begin at a multiple of 8.
pub(super) fn header<'a>(
    begin: &[u8],
    metadata: &BTreeMap<&str, &str>,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], usize)>,
) -> io::Result<Vec<u8>> {
    let mut header = begin.to_vec();
    write!(header, "\"__metadata__\":{}", serde_json::to_string(metadata)?)?;
    let mut end = 0;
    for (name, dtype, shape, length) in tensors {
        let start = end;
        end += length;
        let info = TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, end) };
        write!(header, ",{}:{}", serde_json::to_string(name)?, serde_json::to_string(&info)?)?;
    }
    header.push(b'}');
    // Not by the width of a format string: that is at most 65,535, headers may be longer.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
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

/// One tensor to be hashed.
pub(super) struct Hashed<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

/// SHA-256 of the entry `info`, of the other entries in the order of their keys, and of every
/// tensor's name, type, shape and bytes in the order of the names.
pub(super) fn content_hash<'a>(
    entries: &BTreeMap<&str, &str>,
    tensors: impl Iterator<Item = Hashed<'a>>,
) -> String {
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

/// A safetensors view as tensor data in float32 (from float32, float16, bfloat16 or float64) or
/// int64.
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
    use super::super::Opened;
    use super::*;
    use std::path::Path;

    #[test]
    fn headers_may_have_any_length() {
        let mut content = Content::default();
        content.entries.insert("info", "{}".to_owned());
        (0..1000).for_each(|i| content.add_shaped(&format!("tensor.{i}"), &[2], &[i as f32, 0.5]));
        let mut bytes = Vec::new();
        content.write(&mut bytes).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(length > u64::from(u16::MAX) && length % 8 == 0, "{length}");
        let params =
            Opened::new(&bytes, Path::new("many")).unwrap().floats(Path::new("many")).unwrap();
        assert_eq!(params.len(), 1000);
        assert_eq!(params["tensor.999"].as_slice::<f32>().unwrap(), [999.0, 0.5]);
    }
}
