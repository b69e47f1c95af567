use super::{Outcome, model};
use crate::{output::shown, session::Session};
use clap::Args;
use std::path::PathBuf;

/// Tell what a checkpoint holds: model, data, training so far, its hash.
///
/// Example: miyasawa info runs/cifar/model.safetensors
#[derive(Args, Debug)]
pub struct Info {
    /// A checkpoint; left out, the program and the bundled model inside are described
    model: Option<PathBuf>,
}

pub fn run(args: &Info, session: &Session) -> anyhow::Result<Outcome> {
    let isa = miyasawa::isa_name();
    let threads = rayon::current_num_threads();
    let version = env!("CARGO_PKG_VERSION");
    let model::LoadedCheckpoint { checkpoint, sha256, path } = model::read(args.model.as_deref())?;
    if args.model.is_none() && !session.json {
        outln!("miyasawa {version}, CPU kernels {isa}, {threads} threads");
    }
    let count: usize = checkpoint.params.values().map(|data| data.shape().iter().product::<usize>()).sum();
    let info = &checkpoint.info;
    if session.json {
        session.print_json(&serde_json::json!({
            "model": shown(&path), "parameters": count, "sha256": sha256, "info": info, "isa": isa, "threads": threads,
            "version": version,
        }))?;
        return Ok(Outcome::Done);
    }
    let (net, data, training) = (&info.network, &info.data, &info.training);
    outln!("{}", path.display());
    outln!("  network     {net}, {count} parameters");
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
        "  training    {} steps, {} images seen, seed {}, weights of CE and DSM {:?}, by version {}",
        training.steps,
        training.images,
        training.seed,
        training.loss_weights,
        training.version
    );
    let pass = net.macs([data.height, data.width]) as f64 / 1e6;
    let mut cost = Vec::new();
    if info.classifies() {
        cost.push(format!("{pass:.1} million MACs to classify"));
    }
    if info.denoises() {
        cost.push(format!("{:.1} million to denoise", pass * net.denoise_passes() as f64));
    }
    outln!("  cost        {} an image of {}x{}", cost.join(", "), data.height, data.width);
    outln!("  sha256      {sha256}");
    Ok(Outcome::Done)
}
