use super::Outcome;
use crate::args::Session;
use clap::Args;
use miyasawa::checkpoint::Checkpoint;
use std::path::PathBuf;

/// Tell what a checkpoint holds: model, data, training so far, its hash.
///
/// Example: miyasawa info runs/cifar/model.safetensors
#[derive(Args, Debug)]
pub struct Info {
    /// A checkpoint; left out, the program itself is described
    model: Option<PathBuf>,
}

pub fn run(args: &Info, session: &Session) -> anyhow::Result<Outcome> {
    let isa = miyasawa::isa_name();
    let threads = rayon::current_num_threads();
    let Some(path) = &args.model else {
        if session.json {
            session.print_json(&serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"), "isa": isa, "threads": threads, "model": null,
            }))?;
        } else {
            outln!("miyasawa {}, CPU kernels {isa}, {threads} threads", env!("CARGO_PKG_VERSION"));
            outln!("no model ships inside this binary yet");
        }
        return Ok(Outcome::Done);
    };
    let checkpoint = Checkpoint::load(path)?;
    let hash = checkpoint.hash().map_err(anyhow::Error::msg)?;
    let count: usize = checkpoint.params.values().map(|data| data.shape().iter().product::<usize>()).sum();
    let info = &checkpoint.info;
    if session.json {
        session.print_json(&serde_json::json!({
            "model": path, "parameters": count, "sha256": hash, "info": info, "isa": isa, "threads": threads,
        }))?;
        return Ok(Outcome::Done);
    }
    let (net, data, training) = (&info.network, &info.data, &info.training);
    let kind = if net.blind { "blind" } else { "conditioned on noise" };
    outln!("{}", path.display());
    outln!(
        "  network     GradResNet, width {}, blocks {:?}, {kind}, {count} parameters",
        net.width,
        net.blocks
    );
    outln!(
        "  data        {}, {}x{}x{}, mean {:.4}, standard deviation {:.4}",
        data.name,
        data.channels,
        data.height,
        data.width,
        data.mean,
        data.std
    );
    outln!("  classes     {}: {}", data.classes.len(), data.classes.join(", "));
    outln!("  noise       {} to {}", info.sigma[0], info.sigma[1]);
    outln!(
        "  training    {} steps, {} pictures seen, seed {}, weights of CE and DSM {:?}, by version {}",
        training.steps,
        training.images,
        training.seed,
        training.loss_weights,
        training.version
    );
    outln!(
        "  cost        {:.1} million multiply-adds to classify, twice that to denoise",
        net.multiply_adds([data.height, data.width]) as f64 / 1e6
    );
    outln!("  sha256      {hash}");
    Ok(Outcome::Done)
}
