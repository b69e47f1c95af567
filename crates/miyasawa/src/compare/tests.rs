//! Comparisons with networks of the caller's own, and their repetition.

use super::*;
use crate::model::{GradResNet, GradResNetConfig};

const CONFIG: &str = r#"
seeds = [3]
budget.images = 64
base.data = { train = "digits", limit = 64 }
base.schedule.batch = 32
base.network = { width = 8, blocks = [1] }
base.augment.flip = true
eval = { sigmas = [0.1], limit = 8 }
attack = { count = 2, steps = 1, eps = [0.0, 0.5] }
models = [{ name = "mine" }, { name = "ours" }]
"#;

fn config(settings: &[&str]) -> CompareConfig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    CompareConfig::load(&path, &settings).unwrap()
}

fn network(blind: bool) -> impl Fn(&Device, u64) -> GradResNet + Send + Sync {
    move |device, seed| {
        let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 10) };
        GradResNetConfig { blind, ..config }.init(device, seed)
    }
}

/// The result, and how many runs were trained.
fn run(
    config: &CompareConfig,
    out: &Path,
    blind: bool,
) -> Result<(Comparison, usize), ExperimentError> {
    let (device, mut trained) = (Device::flex(), 0);
    let mut observe = |_: Beginning<'_>| trained += 1;
    let compare = Compare::new(config, &device).network("mine", network(blind));
    let found = compare.run(out, &mut observe, &mut ())?.expect("nobody stops it");
    Ok((found, trained))
}

#[test]
fn an_own_network_is_trained_measured_and_attacked_as_ours_and_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[]);
    let (found, trained) = run(&config, dir.path(), false).unwrap();
    assert_eq!(trained, 2);
    let [mine, ours] = &found.runs[..] else { panic!("{:?}", found.runs) };
    // One network, made by two doors, with the same seed on the same images; in parts of another
    // size, which changes last bits.
    let psnr = |run: &RunResult| run.rows[0].psnr.unwrap();
    assert!((psnr(mine) - psnr(ours)).abs() < 0.05, "{} {}", psnr(mine), psnr(ours));
    assert_eq!((mine.robust.len(), mine.attacked), (2, Some(2)));
    assert!(mine.network.starts_with("custom, GradResNet"), "{}", mine.network);
    assert_eq!(mine.costs.denoise_macs, None, "they are not known");
    assert!(mine.costs.denoise_seconds.is_some());
    assert!(dir.path().join("runs/mine-seed3/denoised.png").exists());
    let (again, trained) = run(&config, dir.path(), false).unwrap();
    assert_eq!((again.runs, trained), (found.runs, 2), "finished runs are resumed at their ends");
}

#[test]
fn noise_level_0_is_for_blind_networks() {
    let dir = tempfile::tempdir().unwrap();
    let only = |sigmas: &str| config(&["models=[{name=\"mine\"}]", sigmas]);
    let error = run(&only("eval.sigmas=[0.0, 0.1]"), dir.path(), false).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("for mine"), "{error}");
    let found = run(&only("eval.sigmas=[0.0, 0.1]"), dir.path(), true).unwrap().0;
    assert_eq!(found.runs[0].rows.len(), 2);
}

#[test]
fn an_unknown_name_is_an_error() {
    let device = Device::flex();
    let config = config(&[]);
    let compare = Compare::new(&config, &device).network("theirs", network(false));
    let out = tempfile::tempdir().unwrap();
    let error = compare.run(out.path(), &mut |_: Beginning<'_>| (), &mut ()).unwrap_err();
    assert!(matches!(error, ExperimentError::Unknown { .. }), "{error}");
}
