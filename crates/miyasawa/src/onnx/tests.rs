//! The structure of the graphs. What they compute is compared by `scripts/onnx.sh`, which runs them
//! in two runtimes.

use super::proto::{DataType, ModelProto, NodeProto};
use super::*;
use crate::model::{
    Architecture, CustomNetwork, DnCnnConfig, GradResNetConfig, Norm, ResNetConfig, UNetConfig,
    params,
};
use crate::ops::Operands;
use std::collections::BTreeSet;

/// All operators that a graph may have. They are of the standard domain, and in ONNX Runtime, in
/// `rten` and in the operator set.
const OPERATORS: [&str; 33] = [
    "Add",
    "Cast",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Div",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Gather",
    "Gemm",
    "Identity",
    "Log",
    "MatMul",
    "Mul",
    "Neg",
    "Reciprocal",
    "ReduceLogSumExp",
    "ReduceMean",
    "ReduceProd",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Sqrt",
    "Sub",
    "Transpose",
];

fn info(network: Architecture) -> ModelInfo {
    ModelInfo { sigma: [0.02, 2.0], ..ModelInfo::new(network, [12, 16]) }
}

fn checkpoint(network: Architecture) -> Checkpoint {
    let model = network.init(&Device::flex(), 0, 0.5);
    Checkpoint { info: info(network), params: params::collect(&model) }
}

fn gradresnet() -> GradResNetConfig {
    GradResNetConfig { width: 8, blocks: vec![1, 2, 1], ..GradResNetConfig::new(3, 4) }
}

/// A network of every kind, with every option that changes its graph.
fn networks() -> Vec<Architecture> {
    let operands = Operands::F32;
    let dncnn = DnCnnConfig {
        channels: 1,
        width: 4,
        depth: 4,
        bias_free: false,
        conditioned: false,
        operands,
    };
    let unet = UNetConfig {
        channels: 3,
        width: 4,
        blocks: vec![1, 2, 1],
        bias_free: true,
        conditioned: true,
        operands,
    };
    let blocks = vec![1, 2];
    vec![
        Architecture::GradResNet(gradresnet()),
        Architecture::GradResNet(GradResNetConfig { blind: true, ..gradresnet() }),
        Architecture::GradResNet(GradResNetConfig { norm: Norm::None, ..gradresnet() }),
        Architecture::GradResNet(GradResNetConfig { norm: Norm::Batch, ..gradresnet() }),
        Architecture::GradResNet(GradResNetConfig { blocks: vec![1], ..gradresnet() }),
        Architecture::ResNet18(ResNetConfig {
            channels: 1,
            classes: 3,
            width: 4,
            blocks,
            operands,
        }),
        Architecture::DnCnn(dncnn.clone()),
        Architecture::DnCnn(DnCnnConfig { bias_free: true, conditioned: true, ..dncnn }),
        Architecture::UNet(unet.clone()),
        Architecture::UNet(UNetConfig { bias_free: false, conditioned: false, ..unet }),
    ]
}

fn exported(checkpoint: &Checkpoint, options: &Options) -> ModelProto {
    ModelProto::decode(&export(checkpoint, options).unwrap()[..]).unwrap()
}

fn check(model: &ModelProto) {
    let graph = model.graph.as_ref().unwrap();
    let mut known = BTreeSet::new();
    let initializers = graph.initializer.iter().map(|tensor| &tensor.name);
    for name in graph.input.iter().map(|input| &input.name).chain(initializers) {
        assert!(!name.is_empty() && known.insert(name.clone()), "{name:?} is defined twice");
    }
    let mut names = BTreeSet::new();
    for NodeProto { input, output, name, op_type, domain, .. } in &graph.node {
        assert!(names.insert(name), "two nodes are called {name:?}");
        assert!(domain.is_empty() && OPERATORS.contains(&op_type.as_str()), "{op_type}");
        for input in input {
            assert!(known.contains(input), "{name}: {input:?} is not defined before");
        }
        for output in output {
            assert!(known.insert(output.clone()), "{output:?} is defined twice");
        }
    }
    let used: BTreeSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    for output in &graph.output {
        assert!(known.contains(&output.name), "{} is not computed", output.name);
    }
    let outputs: BTreeSet<&String> = graph.output.iter().map(|output| &output.name).collect();
    let unused: Vec<&String> =
        known.iter().filter(|name| !used.contains(name) && !outputs.contains(name)).collect();
    assert!(unused.is_empty(), "nothing reads {unused:?}");
    for tensor in &graph.initializer {
        let count: i64 = tensor.dims.iter().product();
        let bytes = match tensor.data_type {
            t if t == DataType::Int64 as i32 => 8,
            t if t == DataType::Float as i32 => 4,
            _ => 2,
        };
        assert_eq!(tensor.raw_data.len() as i64, bytes * count, "{}", tensor.name);
    }
}

fn ports(model: &ModelProto) -> (Vec<&str>, Vec<&str>) {
    let graph = model.graph.as_ref().unwrap();
    (
        graph.input.iter().map(|port| port.name.as_str()).collect(),
        graph.output.iter().map(|port| port.name.as_str()).collect(),
    )
}

#[test]
fn graphs_are_ordered_and_have_standard_operators_alone() {
    for network in networks() {
        let checkpoint = checkpoint(network);
        let info = &checkpoint.info;
        for task in Task::ALL.into_iter().filter(|task| task.is_of(info)) {
            for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
                for range in [Range::Unit, Range::Signed] {
                    let options = Options { dtype, range, ..Options::new(task) };
                    check(&exported(&checkpoint, &options));
                }
            }
        }
    }
}

#[test]
fn inputs_are_what_a_network_depends_on() {
    let conditioned = checkpoint(Architecture::GradResNet(gradresnet()));
    let blind =
        checkpoint(Architecture::GradResNet(GradResNetConfig { blind: true, ..gradresnet() }));
    let classes = vec!["logits", "posterior"];
    for (model, task, inputs, outputs) in [
        (&conditioned, Task::Classify, vec!["image", "sigma"], classes.clone()),
        (&blind, Task::Classify, vec!["image"], classes.clone()),
        (&conditioned, Task::Denoise, vec!["image", "sigma"], vec!["denoised"]),
        // The formula of Tweedie and Miyasawa needs the level that the network does not.
        (&blind, Task::Denoise, vec!["image", "sigma"], vec!["denoised"]),
        (
            &conditioned,
            Task::Joint,
            vec!["image", "sigma", "class"],
            [classes, vec!["log_prob", "denoised", "class_denoised"]].concat(),
        ),
    ] {
        let model = exported(model, &Options::new(task));
        assert_eq!(ports(&model), (inputs, outputs), "{task}");
    }
}

#[test]
fn metadata_describes_the_model() {
    let checkpoint = checkpoint(Architecture::GradResNet(gradresnet()));
    let options = Options { name: "mine".to_owned(), ..Options::new(Task::Joint) };
    let model = exported(&checkpoint, &options);
    assert_eq!((model.producer_name.as_str(), model.ir_version), ("miyasawa", IR_VERSION));
    assert_eq!(model.opset_import[0].version, OPERATOR_SET);
    let entry = |key: &str| {
        let found = model.metadata_props.iter().find(|entry| entry.key == key);
        found.map(|entry| entry.value.as_str()).unwrap_or_default()
    };
    assert_eq!(entry("name"), "mine");
    assert_eq!(entry("classes"), r#"["class 0","class 1","class 2","class 3"]"#);
    assert_eq!((entry("value_range"), entry("sigma_range")), ("[0.0,1.0]", "[0.01,1.0]"));
    assert_eq!(entry("checkpoint_sha256"), checkpoint.hash(Path::new("mine")).unwrap());
}

#[test]
fn halves_take_half_the_space_and_refuse_what_is_too_large() {
    let network = GradResNetConfig { width: 32, ..gradresnet() };
    let mut checkpoint = checkpoint(Architecture::GradResNet(network));
    let bytes = |checkpoint: &Checkpoint, dtype| {
        export(checkpoint, &Options { dtype, ..Options::new(Task::Classify) })
    };
    let large = bytes(&checkpoint, Dtype::F32).unwrap().len();
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let small = bytes(&checkpoint, dtype).unwrap().len();
        assert!(small < large * 6 / 10, "{dtype}: {small} of {large}");
    }
    let name = "stages.1.1.conv1.weight";
    let weight = checkpoint.params[name].clone();
    let (shape, mut values) = (weight.shape().to_vec(), weight.try_to_vec::<f32>().unwrap());
    values[3] = 7e4;
    checkpoint.params.insert(name.to_owned(), burn::tensor::TensorData::new(values, shape));
    let error = bytes(&checkpoint, Dtype::F16).unwrap_err();
    assert!(error.is_usage());
    let message = error.to_string();
    assert_eq!(
        message,
        format!("parameter {name}: 70000 is too large for f16, expected bf16 or f32")
    );
    assert!(bytes(&checkpoint, Dtype::Bf16).is_ok());
}

#[test]
fn a_model_is_not_exported_for_what_it_has_not_learned() {
    let classifier = checkpoint(networks().remove(5));
    let error = export(&classifier, &Options::new(Task::Denoise)).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("expected task classify"), "{error}");
    assert_eq!(Task::of(&classifier.info), Task::Classify);
    let mut untaught = checkpoint(Architecture::GradResNet(gradresnet()));
    assert_eq!(Task::of(&untaught.info), Task::Joint);
    untaught.info.training.loss_weights = [0.0, 1.0];
    assert!(export(&untaught, &Options::new(Task::Joint)).is_err());
    assert_eq!(Task::of(&untaught.info), Task::Denoise);
    untaught.params.remove("stem.weight");
    let error = export(&untaught, &Options::new(Task::Denoise)).unwrap_err();
    assert!(!error.is_usage() && error.to_string().contains("stem.weight is missing"), "{error}");
    let (name, channels, classes) = ("Mine".to_owned(), 1, 2);
    let custom = Architecture::Custom(CustomNetwork { name, channels, classes, blind: false });
    let custom = Checkpoint { info: info(custom), params: params::ParamMap::new() };
    let error = export(&custom, &Options::new(Task::Joint)).unwrap_err();
    assert!(error.to_string().contains("its author's own"), "{error}");
}
