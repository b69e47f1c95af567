//! Exports every kind of model, runs the graphs in the runtime `rten`, compares with what the
//! library computes, and writes graphs, inputs and outputs for other runtimes:
//!
//! ```sh
//! cargo run --release --manifest-path tests/onnx/Cargo.toml -- FOLDER
//! ```
//!
//! A file NAME.safetensors beside NAME.onnx has the batches: `0.input.image`, `0.output.logits`.

mod batch;
mod models;

use anyhow::{Context, Result, ensure};
use batch::{Batch, Named};
use miyasawa::onnx::{self, Dtype, Options, Range};
use miyasawa::{Device, checkpoint::save_tensors, verify::relative_error};
use rten::{Value, ValueOrView};
use rten_tensor::{AsView as _, Layout as _, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// The largest relative error.
const TOLERANCE: f64 = 1e-4;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("expected a folder")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let mut worst = BTreeMap::new();
    println!("{:<36} {:<14} {:>8}", "graph", "output", "error");
    for (number, case) in models::all()?.into_iter().enumerate() {
        for (task, dtype) in &case.exports {
            // Both ranges of values, in turn.
            let range = if number % 2 == 0 { Range::Unit } else { Range::Signed };
            let name = format!("{}-{task}-{dtype}", case.name);
            let options =
                Options { dtype: *dtype, range, name: case.name.clone(), ..Options::new(*task) };
            let bytes = onnx::export(&case.checkpoint, &options)?;
            miyasawa::atomic::write_atomic(&folder.join(format!("{name}.onnx")), |file| {
                std::io::Write::write_all(file, &bytes)
            })?;
            let model = case.checkpoint.model(&Device::flex(), Path::new(&name))?;
            let info = &case.checkpoint.info;
            let (channels, classes) = (info.data.channels, info.data.classes.len());
            // `rten` reads no bfloat16.
            let graph = (*dtype != Dtype::Bf16).then(|| rten::Model::load(bytes)).transpose()?;
            let mut written = Vec::new();
            let mut errors = BTreeMap::<&str, f64>::new();
            let batches = case.sizes.iter().flat_map(|size| [(1, *size), (3, *size)]);
            for (k, (count, size)) in batches.enumerate() {
                let batch = Batch::new(count, channels, size, classes);
                let inputs = batch.inputs(range);
                let expected = batch.expected(&model, *task, range)?;
                if let Some(graph) = &graph {
                    for (output, error) in compare(graph, &inputs, &expected)? {
                        let most = errors.entry(output).or_default();
                        *most = most.max(error);
                    }
                }
                for (kind, values) in [("input", inputs), ("output", expected)] {
                    let named =
                        |(name, shape, values)| (format!("{k}.{kind}.{name}"), shape, values);
                    written.extend(values.into_iter().map(named));
                }
            }
            let tensors: Vec<(&str, Vec<usize>, Vec<f32>)> = written
                .iter()
                .map(|(name, shape, values): &(String, Vec<usize>, Vec<f32>)| {
                    (name.as_str(), shape.clone(), values.clone())
                })
                .collect();
            save_tensors(&folder.join(format!("{name}.safetensors")), &tensors)?;
            for (output, error) in errors {
                println!("{name:<36} {output:<14} {error:>8.1e}");
                let most: &mut f64 = worst.entry(output).or_default();
                *most = most.max(error);
            }
        }
    }
    println!("\nlargest relative error of each output in rten:");
    for (output, error) in &worst {
        println!("{output:<14} {error:.1e}");
    }
    ensure!(worst.len() == 5, "expected all five outputs");
    let within = worst.values().all(|error| *error <= TOLERANCE);
    ensure!(within, "expected errors of at most {TOLERANCE:e}");
    Ok(())
}

/// Runs a graph; the relative error of every output.
fn compare(
    graph: &rten::Model,
    inputs: &Named,
    expected: &Named,
) -> Result<Vec<(&'static str, f64)>> {
    let mut fed: Vec<(rten::NodeId, ValueOrView)> = Vec::new();
    for (name, shape, values) in inputs {
        let Ok(id) = graph.node_id(name) else { continue };
        if !graph.input_ids().contains(&id) {
            continue;
        }
        let value: Value = match *name {
            "class" => {
                let class: Vec<i32> = values.iter().map(|class| *class as i32).collect();
                Tensor::from_data(shape, class).into()
            }
            _ => Tensor::from_data(shape, values.clone()).into(),
        };
        fed.push((id, value.into()));
    }
    let ids: Vec<rten::NodeId> =
        expected.iter().map(|(name, ..)| graph.node_id(name)).collect::<Result<_, _>>()?;
    let found = graph.run(fed, &ids, None)?;
    let mut errors = Vec::new();
    for ((name, shape, values), found) in expected.iter().zip(found) {
        let found: Tensor<f32> = found.try_into()?;
        ensure!(found.shape() == *shape, "{name}: {:?}, expected {shape:?}", found.shape());
        errors.push((*name, relative_error(&found.to_vec(), values)));
    }
    Ok(errors)
}
