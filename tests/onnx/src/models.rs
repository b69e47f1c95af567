//! The models whose graphs are checked: every network and each of its options.

use anyhow::{Context, Result};
use miyasawa::bundled::BundledModel;
use miyasawa::checkpoint::{Checkpoint, ModelInfo, tensor_data};
use miyasawa::model::{Architecture, GradResNetConfig, Model, Norm, params};
use miyasawa::onnx::{Dtype, Task};
use miyasawa::{Device, burn::module::Module};
use safetensors::SafeTensors;
use std::path::Path;

/// A model, and what of it is exported.
pub struct Case {
    pub name: String,
    pub checkpoint: Checkpoint,
    pub exports: Vec<(Task, Dtype)>,
    /// Height and width.
    pub sizes: Vec<[usize; 2]>,
}

const SMALL: [[usize; 2]; 4] = [[32, 32], [7, 9], [13, 10], [33, 47]];

/// All models.
pub fn all() -> Result<Vec<Case>> {
    let mut cases = vec![
        bundled(BundledModel::Cifar10, &[Task::Classify, Task::Denoise, Task::Joint])?,
        bundled(BundledModel::Photo, &[Task::Denoise])?,
    ];
    let grey = GradResNetConfig { width: 8, blocks: vec![1, 2, 1], ..GradResNetConfig::new(1, 4) };
    let colour =
        GradResNetConfig { width: 16, blocks: vec![2, 1, 1, 1], ..GradResNetConfig::new(3, 10) };
    for (name, config) in [
        ("grey", grey.clone()),
        ("grey-blind", GradResNetConfig { blind: true, ..grey.clone() }),
        ("grey-none", GradResNetConfig { norm: Norm::None, ..grey.clone() }),
        ("grey-batch", GradResNetConfig { norm: Norm::Batch, ..grey.clone() }),
        ("grey-one-stage", GradResNetConfig { blocks: vec![2], ..grey }),
        ("colour-epsilon", GradResNetConfig { norm_epsilon: 0.1, ..colour.clone() }),
        ("colour-none-blind", GradResNetConfig { norm: Norm::None, blind: true, ..colour }),
    ] {
        cases.push(random(name, GradResNetConfig { zero_energy_head: false, ..config })?);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/miyasawa/tests");
    for name in ["resnet18", "dncnn", "dncnn-free", "unet", "unet-bias"] {
        cases.push(reference(name, &folder.join(format!("references/{name}.safetensors")))?);
    }
    Ok(cases)
}

/// A bundled model. Its weights were rounded to bfloat16 before: exports in half precision lose
/// hardly anything.
fn bundled(model: BundledModel, tasks: &[Task]) -> Result<Case> {
    let (checkpoint, _) = model.checkpoint()?;
    let halves = [(tasks[tasks.len() - 1], Dtype::F16), (tasks[tasks.len() - 1], Dtype::Bf16)];
    let exports = tasks.iter().map(|task| (*task, Dtype::F32)).chain(halves).collect();
    let sizes = vec![[32, 32], [33, 47], [64, 61]];
    Ok(Case { name: model.name().to_owned(), checkpoint, exports, sizes })
}

fn info(network: Architecture) -> ModelInfo {
    ModelInfo { sigma: [0.02, 2.0], ..ModelInfo::new(network, [32, 32]) }
}

/// A network with random parameters, also where training begins with zeros and ones.
fn random(name: &str, config: GradResNetConfig) -> Result<Case> {
    let network = Architecture::GradResNet(config);
    let device = Device::flex();
    let Model::Joint(model) = network.init(&device, 1, 0.5) else {
        anyhow::bail!("{name} is no joint model");
    };
    let mut seed = 0u64;
    let net = params::update(model.net, |_, _, value| {
        device.seed(seed);
        seed += 1;
        let noise = value.random_like(miyasawa::burn::tensor::Distribution::Normal(0.0, 0.05));
        value + noise
    });
    let checkpoint = Checkpoint { info: info(network), params: params::collect(&net) };
    anyhow::ensure!(net.num_params() > 1000, "{name} has hardly any parameters");
    let tasks = [Task::Classify, Task::Denoise, Task::Joint];
    let exports = tasks.map(|task| (task, Dtype::F32)).to_vec();
    Ok(Case { name: name.to_owned(), checkpoint, exports, sizes: SMALL.to_vec() })
}

/// A reference model with the parameters of PyTorch that its oracle has.
fn reference(name: &str, path: &Path) -> Result<Case> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let metadata = header.metadata().clone().context("no metadata")?;
    let network: Architecture = serde_json::from_str(&metadata["architecture"])?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut params = params::ParamMap::new();
    for (tensor, view) in file.iter() {
        if let Some(param) = tensor.strip_prefix("param.") {
            let data = tensor_data(&view).map_err(|e| anyhow::anyhow!("{name}: {e}"))?;
            params.insert(param.to_owned(), data.convert::<f32>());
        }
    }
    let mut info = info(network);
    info.data.std = metadata["sigma_data"].parse()?;
    let task = Task::of(&info);
    let checkpoint = Checkpoint { info, params };
    let (exports, sizes) = (vec![(task, Dtype::F32)], SMALL.to_vec());
    Ok(Case { name: name.to_owned(), checkpoint, exports, sizes })
}
