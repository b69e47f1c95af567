//! The reference models against their definition in PyTorch, scripts/reference_models.py: the
//! outputs in inference, and loss, gradients and statistics of one training step.

use burn::tensor::{Device, Tensor, TensorData};
use miyasawa::{
    checkpoint::tensor_data,
    model::{Architecture, Model, Predict, Query, params},
    train::{Batch, TrainConfig, objective::Objective},
    verify::relative_error,
};
use safetensors::SafeTensors;
use std::{collections::BTreeMap, path::Path};

/// Float32 against PyTorch's float64.
const TOLERANCE: f64 = 2e-5;

struct Oracle {
    architecture: Architecture,
    sigma_data: f64,
    tensors: BTreeMap<String, TensorData>,
}

impl Oracle {
    fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors =
            file.iter().map(|(name, view)| (name.to_owned(), tensor_data(&view).unwrap()));
        Self {
            architecture: serde_json::from_str(&metadata["architecture"]).unwrap(),
            sigma_data: metadata["sigma_data"].parse().unwrap(),
            tensors: tensors.collect(),
        }
    }

    fn part(&self, prefix: &str) -> BTreeMap<String, TensorData> {
        let strip = |(name, data): (&String, &TensorData)| {
            Some((name.strip_prefix(prefix)?.to_owned(), data.clone()))
        };
        self.tensors.iter().filter_map(strip).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensors[name].try_to_vec::<f32>().unwrap()
    }

    fn model(&self, device: &Device) -> Model {
        self.architecture.with_params(self.part("param."), device, self.sigma_data).unwrap()
    }

    fn batch(&self) -> Batch {
        let shape = self.tensors["x"].shape().to_vec();
        let labels = self.tensors["labels"].try_to_vec::<i64>().unwrap();
        Batch {
            image: [shape[1], shape[2], shape[3]],
            x: self.floats("x"),
            label_weight: vec![1.0; labels.len()],
            labels: labels.into_iter().map(|label| label as u32).collect(),
            sigma: self.floats("sigma"),
            noise: self.floats("eps"),
            for_classes: 0,
        }
    }
}

fn agree(what: &str, found: &[f32], expected: &[f32]) {
    let error = relative_error(found, expected);
    assert!(error <= TOLERANCE, "{what} is off by {error:.1e}");
}

#[test]
fn reference_models_agree_with_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let oracle = Oracle::open(&path);
        check_outputs(&name, &oracle);
        check_training_step(&name, &oracle);
        count += 1;
    }
    assert_eq!(count, 5);
}

fn check_outputs(name: &str, oracle: &Oracle) {
    let device = Device::flex();
    let model = oracle.model(&device);
    let x = Tensor::<4>::from_data(oracle.tensors["x"].clone(), &device);
    let noise = Tensor::<4>::from_data(oracle.tensors["eps"].clone(), &device);
    let sigma = Tensor::<1>::from_data(oracle.tensors["sigma"].clone(), &device);
    let y = x + noise * sigma.clone().reshape([-1, 1, 1, 1]);
    let found = model.predict(
        &y,
        &sigma,
        &Query { classify: true, denoise: true, class_conditional: None },
    );
    let found = match (found.logits, found.denoised) {
        (Some(logits), None) => logits.into_data(),
        (None, Some(denoised)) => denoised.into_data(),
        _ => panic!("{name}: expected either logits or a denoised image"),
    };
    agree(name, &found.try_to_vec::<f32>().unwrap(), &oracle.floats("out"));
}

fn check_training_step(name: &str, oracle: &Oracle) {
    let device = Device::flex().autodiff();
    let mut model = oracle.model(&device);
    let batch = oracle.batch();
    let kind = oracle.architecture.kind();
    let settings = [format!("network.kind={kind}")];
    let config = TrainConfig::load(None, &settings).unwrap();
    let mut objective = Objective::new(&config, batch.image);
    let (grads, stats) = objective.gradients(&mut model, &batch, 0, batch.len(), &device);
    let loss = f64::from(oracle.floats("loss")[0]);
    assert!((stats.loss - loss).abs() < 1e-5 * loss, "{name}: {} {loss}", stats.loss);
    let expected = oracle.part("grad.");
    assert_eq!(grads.len(), expected.len(), "{name}");
    for (parameter, gradient) in grads {
        let found = gradient.into_data().try_to_vec::<f32>().unwrap();
        agree(
            &format!("{name}: grad.{parameter}"),
            &found,
            &oracle.floats(&format!("grad.{parameter}")),
        );
    }
    let moved = params::collect(&model);
    for (statistic, expected) in oracle.part("moved.") {
        let found = moved[&statistic].try_to_vec::<f32>().unwrap();
        agree(&format!("{name}: {statistic}"), &found, &expected.try_to_vec::<f32>().unwrap());
    }
}
