//! Costs against what was measured.

use super::*;
use crate::model::GradResNetConfig;

fn config(settings: &[&str]) -> TrainConfig {
    let assume = "data.assume={pictures=50000,channels=3,height=32,width=32,classes=10}";
    let settings = [&[assume], settings].concat();
    TrainConfig::load(None, &settings.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_cost_is_that_of_the_benchmark() {
    let cost =
        Cost::estimate(&config(&["network.width=64", "schedule.batch=32", "schedule.epochs=2"]), 2)
            .unwrap();
    // bench train-step --width 64 --batch 32 counts 213.3 GFLOP.
    assert_eq!(cost.macs_per_step, 6 * 32 * cost.macs_per_image);
    assert_eq!(cost.macs_per_image, 555_417_600);
    assert_eq!((cost.steps, cost.epochs), (2 * 1562, 2.0));
    assert_eq!(cost.macs, 3124 * cost.macs_per_step);
    let hours = &cost.hardware[1];
    assert!((hours.gflops - 209.0).abs() < 1e-9);
    assert!((hours.hours - 2e-9 * cost.macs as f64 / 209.0 / 3600.0).abs() < 1e-9);
}

#[test]
fn losses_take_their_passes() {
    for (settings, passes) in [
        (vec![], 6),
        (vec!["loss.dsm=conditional"], 6),
        (vec!["loss.dsm=both"], 9),
        (vec!["loss.dsm_weight=0"], 3),
        (vec!["loss.clean_ce_weight=1"], 9),
        (vec!["network.kind=unet"], 3),
        (vec!["network.kind=resnet18"], 3),
        (vec!["network.kind=resnet18", "adversarial.steps=4"], 11),
        (vec!["classification.batch=256"], 12),
        (vec!["classification.batch=256", "adversarial.steps=2"], 20),
        (vec!["network.blind=true", "loss.objective=jem", "noise.min=0.03", "noise.max=0.03"], 46),
    ] {
        let cost = Cost::estimate(&config(&settings), 1).unwrap();
        let found = cost.macs_per_step / cost.macs_per_image / 128;
        assert_eq!(found, passes, "{settings:?}");
    }
}

/// Peak resident memory that `bench train-step --threads 2 --json` reported on the AMD EPYC of
/// bench/README.md.
#[test]
fn memory_agrees_with_what_was_measured() {
    for (width, batch, measured_mib) in [(64, 32, 661.0), (32, 64, 316.0), (16, 128, 198.0)] {
        let network = GradResNetConfig { width, ..GradResNetConfig::new(3, 10) };
        let network = Architecture::GradResNet(network);
        let parameters = network.init(&Device::flex(), 0, 1.0).num_params() as u64;
        let options = MemoryOptions {
            size: [32, 32],
            batch,
            micro_batch: default_micro_batch(batch, width, 1024, false, &Device::flex()),
            threads: 2,
            forward_passes: 1,
            scores: 1,
            copies: 3,
            buffer: 0,
            eval_batch: 0,
        };
        let memory = Memory::estimate(&network, parameters, &options);
        let ratio = memory.total as f64 / (1 << 20) as f64 / measured_mib;
        assert!((0.75..1.3).contains(&ratio), "width {width}: {ratio} {memory:?}");
    }
}

#[test]
fn speeds_lie_between_those_measured() {
    let speeds: Vec<f64> = [1, 8, 12, 16, 64, 500].iter().map(|w| HARDWARE[1].gflops(*w)).collect();
    assert!(speeds.windows(2).all(|pair| pair[0] <= pair[1]), "{speeds:?}");
    assert_eq!((speeds[0], speeds[3], speeds[5]), (93.0, 140.0, 239.0));
    assert!((HARDWARE[4].gflops(64) - 6825.0).abs() < 1e-6);
}

#[test]
fn what_is_asked_of_the_images_comes_before_what_is_assumed() {
    let cost =
        Cost::estimate(&config(&["data.size=[16,16]", "data.channels=1", "data.limit=1000"]), 1)
            .unwrap();
    let data = &cost.data;
    assert_eq!((data.images, data.channels, data.height, data.width), (1000, 1, 16, 16));
    // Without anything to assume the data itself is looked at.
    let digits = Cost::estimate(&TrainConfig::load(None, &[]).unwrap(), 1).unwrap().data;
    assert_eq!((digits.images, digits.height, digits.classes), (1437, 8, 10));
}

#[test]
fn the_forecast_of_ranks_is_its_formula() {
    let settings = ["schedule.batch=80", "schedule.micro_batch=8", "schedule.steps=1000"];
    let cost = Cost { parameters: 1_000_000, ..Cost::estimate(&config(&settings), 2).unwrap() };
    // A step of 1 s, of which the optimiser takes a tenth.
    let hours = 1000.0 / 3600.0;
    let here = Hours { hours, optimizer: 0.1, copying: 1e-9, ..cost.hardware[0].clone() };
    let cluster = |ranks| Cluster { ranks, bandwidth: 1e8, latency: 1e-3 };
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
    let found = cost.on_ranks(&here, &cluster(4)).unwrap();
    // This machine and three CPUs.
    assert_eq!(found.len(), 4);
    let found = &found[0];
    // 10 parts: 5 rounds of two threads alone, 2 rounds of at most 3 parts in a rank.
    assert_eq!((found.parts, found.most_parts), (10, 3));
    near(found.gradients, 0.9 * 2.0 / 5.0);
    near(found.optimizer, 0.1);
    // Four gradients of 4 MB, of which three quarters leave.
    assert_eq!((found.bytes, found.memory), (12_000_000, 36_000_000));
    near(found.exchange, 0.12);
    near(found.copying, 0.016);
    // Three exchanges of 3 messages and 3 times 2 rounds.
    near(found.latency, 0.027);
    near(found.step, 0.36 + 0.1 + 0.016 + 0.12 + 0.027);
    near(found.efficiency, 1.0 / (4.0 * 0.623));
    near(found.hours, 623.0 / 3600.0);
    // 2 ranks of one thread: 5 parts travel in 4 rounds, of which 3 are beside the work.
    let cost = Cost { threads: 1, ..cost };
    let found = &cost.on_ranks(&here, &cluster(2)).unwrap()[0];
    assert_eq!((found.rounds, found.bytes, found.memory), (4, 12_000_000, 36_000_000));
    near(found.gradients, 0.9 * 5.0 / 10.0);
    near(found.copying, 0.024);
    near(found.overlap, 0.75 * 0.12 * 5.0 / 6.0);
    near(found.latency, 6.0 * 4.0 * 1e-3);
    near(found.step, 0.45 + 0.1 + 0.024 + 0.12 + 0.024 - found.overlap);
    let alone = &cost.on_ranks(&here, &cluster(1)).unwrap()[0];
    near(alone.step, 1.0);
    near(alone.efficiency, 1.0);
    let error = cost.on_ranks(&here, &cluster(11)).unwrap_err();
    assert!(error.is_usage() && error.to_string().starts_with("11 ranks: a batch of 80"));
}
