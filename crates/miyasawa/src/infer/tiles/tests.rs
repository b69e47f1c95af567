use super::super::{denoise::corrected, denoise_any, large};
use super::*;
use crate::checkpoint::ModelInfo;
use crate::model::{Architecture, GradResNetConfig, JointModel, Norm, UNetConfig};
use crate::ops::Operands;
use crate::random::evaluation_noise;
use crate::{bundled::BundledModel, metrics};
use burn::tensor::TensorData;
use std::borrow::Cow;

#[test]
fn tiles_cover_a_side_and_their_weights_add_up_to_one() {
    for side in [1, 255, 256, 257, 264, 480, 481, 512, 513, 960, 3000, 8660] {
        for trim in [0, 5, 8, 15] {
            let tiles = Side::new(side, trim);
            let (starts, last) = (&tiles.starts, tiles.starts.len() - 1);
            assert_eq!((starts[0], tiles.side, tiles.tile), (0, side, side.min(TILE)));
            assert!(starts.iter().all(|start| start % ALIGN == 0), "{side}: {starts:?}");
            // The last one ends with the side, or a little beyond it where it is mirrored.
            let beyond = starts[last] + tiles.tile - side;
            assert!(beyond < ALIGN && (side > TILE || beyond == 0), "{side}: {starts:?}");
            let overlaps = starts.windows(2).map(|pair| pair[0] + TILE - pair[1]);
            assert!(overlaps.min().is_none_or(|least| least >= OVERLAP), "{side}: {starts:?}");
            for at in 0..side {
                let of = starts.iter().zip(&tiles.weights).filter(|(s, _)| **s <= at);
                let weights: Vec<f32> =
                    of.filter_map(|(s, weights)| weights.get(at - s).copied()).collect();
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{side} {at}");
                assert!(weights.iter().all(|weight| *weight >= 0.0), "{side} {at}: {weights:?}");
            }
            // What is trimmed counts nothing.
            if last > 0 && trim > 0 {
                let first = &tiles.weights[0];
                assert_eq!(first[TILE - trim..].iter().sum::<f32>(), 0.0, "{side}");
            }
        }
    }
    // No more than they need to be: 24 megapixels in 27 by 18 tiles.
    assert_eq!([6000, 4000].map(|side| Side::new(side, TRIM).starts.len()), [27, 18]);
}

/// Values that are not those of a file, noise on a texture beside noise on a constant.
fn half_flat(shape: (usize, usize, usize), sigma: f32) -> (Image, Image) {
    let (channels, height, width) = shape;
    let clean = |i: usize| {
        let (y, x) = (i / width % height, i % width);
        let texture = if (x / 5 + y / 7) % 2 == 0 { 0.4 } else { -0.2 };
        if x + y < (height + width) / 2 { 0.1 } else { texture }
    };
    let clean: Vec<f32> = (0..channels * height * width).map(clean).collect();
    let noise = evaluation_noise(5, 0, 0, 1, clean.len());
    let noisy = clean.iter().zip(noise).map(|(x, e)| x + sigma * e).collect();
    (image_from_values(shape, clean), image_from_values(shape, noisy))
}

/// A model whose energy is zero denoises every pixel by itself: the borders of tiles must be
/// invisible.
#[test]
fn tiles_of_a_large_image_blend_without_seams() {
    let device = Device::flex();
    let config = GradResNetConfig { width: 1, blocks: vec![1], ..GradResNetConfig::new(1, 1) };
    let mut net = config.init(&device, 0);
    let mut values = crate::model::params::collect(&net);
    values.insert("class_head.weight".into(), TensorData::new(vec![0.0f32], [1, 1]));
    net = crate::model::params::assign(net, values).unwrap();
    let model = JointModel::new(net, 0.5);
    let (height, width) = (530, 40);
    let values: Vec<f32> =
        (0..height * width).map(|i| ((i * 37) % 255) as f32 / 127.5 - 1.0).collect();
    let noisy = image_from_values((1, height, width), values);
    let mut shares = Vec::new();
    let mut watch = |p: &Progress<'_>| shares.push(p.share);
    let found = denoise(&model, &noisy, 0.5, None, &device, &mut watch).unwrap();
    assert_eq!(shares, [0.0, 1.0 / 3.0, 2.0 / 3.0]);
    for (found, y) in found.values().iter().zip(noisy.values()) {
        assert!((found - 0.5 * y).abs() < 1e-6, "{found} {y}");
    }
    let mut first = crate::progress::monitor(|_| {}, || true);
    assert_eq!(denoise(&model, &noisy, 0.5, None, &device, &mut first), None);
}

fn info(network: Architecture) -> ModelInfo {
    let (mut info, channels) =
        (BundledModel::Cifar10.checkpoint().unwrap().0.info, network.channels());
    info.data.channels = channels;
    info.network = network;
    info
}

fn joint(blocks: Vec<usize>, channels: usize) -> Architecture {
    let (norm, zero_energy_head) = (Norm::None, false);
    let default = GradResNetConfig::new(channels, 1);
    Architecture::GradResNet(GradResNetConfig {
        width: 8,
        blocks,
        norm,
        zero_energy_head,
        ..default
    })
}

/// Root mean square of the difference.
fn rms(a: &Image, b: &Image) -> f64 {
    metrics::mse(a.values(), b.values()).sqrt()
}

/// A network whose receptive field fits into half of the overlap: tiles are exact, and so is the
/// result in the memory of the image, whatever the number of threads and of tiles at once.
#[test]
fn tiles_of_a_small_receptive_field_are_exact_on_any_number_of_threads() {
    let device = Device::flex();
    let (bias_free, conditioned, operands) = (false, true, Operands::F32);
    let blocks = vec![1, 1];
    let unet = UNetConfig { channels: 1, width: 8, blocks, bias_free, conditioned, operands };
    for network in [Architecture::UNet(unet), joint(vec![1, 1], 1)] {
        let radius = network.receptive_field().unwrap();
        assert!(2 * radius < OVERLAP, "{network}: {radius}");
        let (model, info) = (network.init(&device, 4, 0.5), info(network.clone()));
        let (_, noisy) = half_flat((1, 544, 320), 0.2);
        let query = Query { denoise: true, ..Query::default() };
        let whole = model.predict(&to_tensor(&noisy, &device), &sigma_tensor(0.2, &device), &query);
        let whole = corrected(&noisy, &to_image(whole.denoised.unwrap()), 1.0, 0.2);
        let correction = rms(&whole, &noisy);
        assert!(correction > 1e-3, "{network}: {correction}");
        let results = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let noisy = noisy.clone();
                large::denoise(&model, &info, noisy, 0.2, None, &device, &mut ()).unwrap().unwrap()
            })
        });
        assert!(results.iter().all(|result| *result == results[0]), "{radius}");
        let pairs = results[0].values().iter().zip(whole.values());
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        assert!(largest < 2e-5, "{radius}: {largest}");
    }
}

/// The largest step between neighbouring columns, of a column's mean error, between two of them.
fn largest_step(found: &Image, clean: &Image, columns: std::ops::Range<usize>) -> f64 {
    let width = clean.width();
    let rows = (clean.values().len() / width) as f64;
    let mut means = vec![0.0f64; width];
    for (i, (found, clean)) in found.values().iter().zip(clean.values()).enumerate() {
        means[i % width] += f64::from(found - clean) / rows;
    }
    let steps = means.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    steps.skip(columns.start).take(columns.len()).fold(0.0, f64::max)
}

/// Noise on a texture beside noise on a constant: the step across the borders of tiles is no larger
/// than elsewhere, and the tiles are nearly as good as the image at once, with the bundled model,
/// whose norms see the tile alone, and with a local network whose receptive field is larger than
/// the overlap.
#[test]
fn borders_of_tiles_are_invisible_on_half_flat_images() {
    let device = Device::flex();
    let bundled = crate::predictor::Predictor::bundled().unwrap();
    let local = joint(vec![2, 2, 2, 2], 3);
    assert_eq!(local.receptive_field(), Some(108));
    let side = 2 * TILE - OVERLAP;
    let (clean, noisy) = half_flat((3, side, side), 0.2);
    for (model, info) in [
        (bundled.model(), bundled.info().clone()),
        (&local.init(&device, 2, 0.5), info(local.clone())),
    ] {
        let (tiled, whole) = (
            large::denoise(model, &info, noisy.clone(), 0.2, None, &device, &mut ()),
            denoise(model, &noisy, 0.2, None, &device, &mut ()),
        );
        let (tiled, whole) =
            (tiled.unwrap().unwrap(), corrected(&noisy, &whole.unwrap(), 1.0, 0.2));
        let overlap = TILE - OVERLAP..TILE;
        let border = largest_step(&tiled, &clean, overlap.clone());
        let before = largest_step(&tiled, &clean, 8..overlap.start);
        let after = largest_step(&tiled, &clean, overlap.end..side - 9);
        println!("border {border:.5}, {before:.5} before, {after:.5} after");
        let (error, between) = (rms(&whole, &clean), rms(&tiled, &whole));
        let kept = rms(&tiled, &clean);
        println!("error {error:.5}, in tiles {kept:.5}, between {between:.5}");
        assert!(border <= before.max(after));
        assert!(kept < 1.02 * error && between < 0.2 * error, "{kept} {error} {between}");
    }
}

/// The monitor is asked between tiles, over all channels of a colour image and a grey model.
#[test]
fn the_monitor_sees_every_tile_and_stops_between_them() {
    let device = Device::flex();
    let network = joint(vec![1], 1);
    let (model, info) = (network.init(&device, 4, 0.5), info(network));
    let (_, noisy) = half_flat((3, 520, 40), 0.2);
    let mut shares = Vec::new();
    let mut watch = |p: &Progress<'_>| shares.push(p.share);
    let noisy = || Cow::Borrowed(&noisy);
    let found = denoise_any(&model, &info, noisy(), 0.2, None, &device, &mut watch).unwrap();
    assert_eq!(found.unwrap().shape(), noisy().shape());
    let of_nine: Vec<f64> = shares.iter().map(|share| (9.0 * share).round()).collect();
    assert_eq!(of_nine, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let last = std::cell::Cell::new(0.0);
    let watch = |p: &Progress<'_>| last.set(p.share);
    let mut until = crate::progress::monitor(watch, || last.get() > 0.4);
    let found = denoise_any(&model, &info, noisy(), 0.2, None, &device, &mut until).unwrap();
    assert_eq!(found, None);
    assert!(last.get() > 0.4 && last.get() < 0.5, "{}", last.get());
}
