//! Growth of a trained network to more channels or stages (Chen et al. 2016, "Net2Net"): the larger
//! network starts as the same function. What is new starts at random, and nothing reads it yet.

use crate::model::GradResNetConfig;
use burn::tensor::TensorData;

/// Runs of channels along an axis, `[before, now]`: those of before are the first of each.
type Runs = Vec<[usize; 2]>;

/// Whether a network of the configuration `now` can start as that of `before`: the same but for
/// a larger width or further stages.
pub(super) fn grows(before: &GradResNetConfig, now: &GradResNetConfig) -> bool {
    let alike = GradResNetConfig {
        classes: now.classes,
        width: now.width,
        blocks: now.blocks.clone(),
        operands: now.operands,
        zero_energy_head: now.zero_energy_head,
        ..before.clone()
    };
    alike == *now
        && now.blocks.starts_with(&before.blocks)
        && before.width <= now.width
        && [before.width, before.blocks.len()] != [now.width, now.blocks.len()]
}

/// The random parameter `name` of the larger network with the values of the smaller one: a weight
/// between channels of before is that of before, one from a new channel to one of before is 0, and
/// what leads to new channels stays random. Nothing if the shapes are not those of such networks.
pub(super) fn grown(
    before: &GradResNetConfig,
    now: &GradResNetConfig,
    name: &str,
    (old, random): (&TensorData, &TensorData),
) -> Option<TensorData> {
    let (old_shape, shape) = (old.shape().to_vec(), random.shape().to_vec());
    if old_shape.len() != shape.len() {
        return None;
    }
    let sources: Vec<Vec<Option<usize>>> = (0..shape.len())
        .map(|axis| {
            let sizes = [old_shape[axis], shape[axis]];
            sources(&runs(before, now, name, (axis, sizes)), sizes)
        })
        .collect::<Option<_>>()?;
    let (old, mut values) = (old.try_to_vec::<f32>().ok()?, random.try_to_vec::<f32>().ok()?);
    let mut index = vec![0; shape.len()];
    for value in &mut values {
        let place = index.iter().zip(&sources).map(|(i, sources)| sources[*i]);
        let from = place.zip(&old_shape).try_fold(0, |flat, (i, len)| Some(flat * len + i?));
        match from {
            Some(from) => *value = old[from],
            // An output of before does not read a new channel.
            None if sources[0][index[0]].is_some() => *value = 0.0,
            None => {}
        }
        for (i, len) in index.iter_mut().zip(&shape).rev() {
            *i += 1;
            if *i < *len {
                break;
            }
            *i = 0;
        }
    }
    Some(TensorData::new(values, shape))
}

/// How the channels of an axis lie: those of all stages one after another before a head, scales and
/// then shifts after a modulation, else one run.
fn runs(
    before: &GradResNetConfig,
    now: &GradResNetConfig,
    name: &str,
    (axis, [old, new]): (usize, [usize; 2]),
) -> Runs {
    let is_head = name.starts_with("class_head.") || name.starts_with("energy_head.");
    if is_head && axis == 1 {
        let of = |k| if k < before.blocks.len() { before.width << k } else { 0 };
        return (0..now.blocks.len()).map(|k| [of(k), now.width << k]).collect();
    }
    if name.contains(".modulation.") && axis == 0 {
        return vec![[old / 2, new / 2]; 2];
    }
    vec![[old, new]]
}

/// For every place along an axis the place of before, if it is one of before. Nothing if the runs
/// are not those of the axis.
fn sources(runs: &Runs, [old, new]: [usize; 2]) -> Option<Vec<Option<usize>>> {
    let mut sources = Vec::with_capacity(new);
    let mut begin = 0;
    for &[before, now] in runs {
        sources.extend((0..now).map(|i| (i < before).then_some(begin + i)));
        begin += before;
    }
    let grows = runs.iter().all(|[before, now]| before <= now);
    (grows && begin == old && sources.len() == new).then_some(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JointModel, Norm, params};
    use burn::tensor::{Device, Tensor};

    /// A larger network answers as the smaller one.
    #[test]
    fn a_larger_network_starts_as_the_same_function() {
        let device = Device::flex();
        let cases = [
            (Norm::None, false, 16, vec![1, 2, 1]),
            (Norm::Group, false, 16, vec![1, 2, 1]),
            (Norm::None, true, 16, vec![1, 2, 1]),
            (Norm::Batch, false, 16, vec![1, 2, 1]),
            (Norm::None, false, 8, vec![1, 2, 1, 2]),
            (Norm::None, false, 16, vec![1, 2, 1, 1, 1]),
        ];
        for (norm, blind, width, blocks) in cases {
            let before = GradResNetConfig {
                width: 8,
                blocks: vec![1, 2, 1],
                zero_energy_head: false,
                norm,
                blind,
                ..GradResNetConfig::new(3, 4)
            };
            let now = GradResNetConfig { width, blocks, zero_energy_head: true, ..before.clone() };
            assert!(grows(&before, &now) && !grows(&now, &before));
            let narrow = before.init(&device, 3);
            let old = params::collect(&narrow);
            let mut values = params::collect(&now.init(&device, 5));
            for (name, value) in &mut values {
                if let Some(old) = old.get(name) {
                    let found = grown(&before, &now, name, (old, value));
                    *value = found.expect("shapes of such networks");
                }
            }
            let wide = now.with_params(values, &device).unwrap();
            let y = (0..2 * 3 * 12 * 8).map(|i| ((i * 37) % 100) as f32 / 50.0 - 1.0);
            let y = TensorData::new(y.collect::<Vec<f32>>(), [2, 3, 12, 8]);
            let y = Tensor::<4>::from_data(y, &device);
            let sigma = Tensor::<1>::from_floats([0.1, 0.5], &device);
            let [narrow, wide] = [narrow, wide].map(|net| {
                let model = JointModel::new(net, 0.5);
                let at = model.at(&y, &sigma);
                let of = [at.logits().to_data(), at.energy().to_data(), at.score().to_data()];
                of.map(|data| data.try_to_vec::<f32>().unwrap())
            });
            for (narrow, wide) in narrow.iter().zip(&wide) {
                let largest = narrow.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(largest > 0.0);
                for (a, b) in narrow.iter().zip(wide) {
                    assert!((a - b).abs() < 1e-4 * largest, "{norm:?} {width}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn other_networks_are_not_extended() {
        let before = GradResNetConfig { width: 8, ..GradResNetConfig::new(3, 4) };
        for now in [
            before.clone(),
            GradResNetConfig { width: 16, blind: true, ..before.clone() },
            GradResNetConfig { width: 16, blocks: vec![2, 2], ..before.clone() },
            GradResNetConfig { blocks: vec![2, 2, 2, 3], ..before.clone() },
            GradResNetConfig { width: 16, channels: 1, ..before.clone() },
            GradResNetConfig { width: 16, norm: Norm::None, ..before.clone() },
        ] {
            assert!(!grows(&before, &now), "{now:?}");
        }
        assert!(sources(&vec![[4, 8]], [5, 8]).is_none());
        assert!(sources(&vec![[8, 4]], [8, 4]).is_none());
    }
}
