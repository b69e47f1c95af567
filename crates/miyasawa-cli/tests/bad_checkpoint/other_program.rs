//! Checkpoints that another program saved again.

use super::{Tensors, common::*};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// As the safetensors library of PyTorch saves what it loaded: the metadata copied, in any order.
fn saved_again(
    from: &Path,
    to: &Path,
    dtype: Dtype,
    change: impl FnOnce(&mut HashMap<String, String>, &mut Tensors),
) -> String {
    let bytes = std::fs::read(from).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats =
        |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let tensor = |(name, view): (&str, TensorView<'_>)| {
        (name.to_owned(), (view.shape().to_vec(), floats(view.data())))
    };
    let mut tensors: Tensors = file.iter().map(tensor).collect();
    change(&mut metadata, &mut tensors);
    let raw = |value: &f32| match dtype {
        Dtype::F64 => f64::from(*value).to_le_bytes().to_vec(),
        Dtype::BF16 => value.to_le_bytes()[2..].to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    let bytes = |(shape, values): &(Vec<usize>, Vec<f32>)| {
        (shape.clone(), values.iter().flat_map(raw).collect::<Vec<u8>>())
    };
    let all: BTreeMap<_, _> = tensors.iter().map(|(name, tensor)| (name, bytes(tensor))).collect();
    let views = all.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(to, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    text(to)
}

#[test]
fn a_file_of_another_program_is_loaded_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (saved_model, path) =
        (shared().join("model.safetensors"), dir.path().join("m.safetensors"));
    let image = save(dir.path(), "a.png", grey(8, 8));
    let probability = |model: &str| {
        let found = json(["classify", model, &image, "--json"]);
        found["images"][0]["classes"][0]["probability"].as_f64().unwrap()
    };
    let intact = probability(&model());
    let format = |metadata: &mut HashMap<String, String>| {
        metadata.insert("format".to_owned(), "pt".to_owned());
    };
    let unhashed = |metadata: &mut HashMap<String, String>| {
        metadata.remove("sha256");
    };
    for (dtype, change, warning) in [
        (
            Dtype::BF16,
            &(|_: &mut _| ()) as &dyn Fn(&mut HashMap<String, String>),
            "changed by another program",
        ),
        (Dtype::F64, &|_| (), "changed by another program"),
        (Dtype::F32, &format, "added [\"format\"] to the metadata; the parameters are as written"),
        (Dtype::F32, &unhashed, "without a hash"),
    ] {
        let name = saved_again(&saved_model, &path, dtype, |metadata, _| change(metadata));
        let output = run(["info", &name]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.lines().count() == 1 && said.contains(warning), "{warning}: {said}");
        assert!((probability(&name) - intact).abs() < 0.02, "{warning}");
    }
    // Other parameters are another model, with a hash of its own.
    let tuned = saved_again(&saved_model, &path, Dtype::F32, |_, tensors| {
        tensors.get_mut("class_head.weight").unwrap().1.iter_mut().for_each(|v| *v *= 1.5);
    });
    let hash = |model: &str| json(["info", model, "--json"])["sha256"].clone();
    assert_ne!(hash(&tuned), hash(&model()));
    assert!((probability(&tuned) - intact).abs() > 1e-4);
    // An incomplete model is refused as before.
    let name = saved_again(&saved_model, &path, Dtype::F32, |_, tensors| {
        drop(tensors.remove("stem.weight"))
    });
    fails(1, ["info", &name], &["stem.weight", "missing"]);
    let name = saved_again(&saved_model, &path, Dtype::F32, |_, tensors| {
        tensors.get_mut("stem.weight").unwrap().1[3] = f32::NAN;
    });
    fails(1, ["info", &name], &["stem.weight", "NaN"]);
    let name = saved_again(&saved_model, &path, Dtype::F32, |metadata, _| metadata.clear());
    fails(1, ["info", &name], &["no entry 'miyasawa'", "must keep them"]);
    let bytes = std::fs::read(&saved_model).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    fails(1, ["info", &name], &["m.safetensors"]);
    std::fs::write(&path, b"PK\x03\x04what torch.save writes").unwrap();
    fails(1, ["info", &name], &["torch.save", "expected a safetensors file"]);
}

#[test]
fn a_run_goes_on_from_its_own_checkpoints_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    assert!(train(&out, 2, &["-q"]).status.success());
    let newest = out.join("checkpoints/step-00000002.safetensors");
    saved_again(&newest, &newest, Dtype::F32, |metadata, _| {
        metadata.insert("format".to_owned(), "pt".to_owned());
    });
    let intact = bytes(&out, "model.safetensors");
    let args = ["train", "--resume", "--set", "schedule.steps=4", "-q", "--out", &text(&out)];
    fails(1, args, &["none of its 1 checkpoints can be used", "step-00000002", "damaged"]);
    assert_eq!(bytes(&out, "model.safetensors"), intact);
    // As a model it is loaded.
    ok(["info", &text(&newest)]);
}
