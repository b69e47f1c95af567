//! How far a pixel of the denoised image looks.

use super::super::gradresnet::Norm;
use super::{Architecture, DnCnnConfig, GradResNetConfig, UNetConfig};

impl Architecture {
    /// The radius of the denoiser's receptive field: pixels of the noisy image that are farther
    /// away than this, in rows or in columns, do not change a pixel of the denoised one. Nothing
    /// where all of the image does (group normalisation, the class posterior of several classes),
    /// where the network is not known, and without a denoiser.
    ///
    /// A 3x3 convolution at the scale of stage `k` reaches `2^k` pixels. The joint model's denoiser
    /// is a gradient: forward and back through the same convolutions, twice the radius of its
    /// features. Of one class the gradient still has a part that depends on the number of pixels,
    /// by one over it.
    ///
    /// ```
    /// use miyasawa::model::{Architecture, GradResNetConfig, Norm};
    /// let config = GradResNetConfig { blocks: vec![1, 1], ..GradResNetConfig::new(3, 1) };
    /// assert_eq!(Architecture::GradResNet(config.clone()).receptive_field(), None);
    /// // Forward 1 + 2 at the first stage, 1 + 2 at the second, whose pixels are two wide.
    /// let local = GradResNetConfig { norm: Norm::None, ..config };
    /// assert_eq!(Architecture::GradResNet(local).receptive_field(), Some(12));
    /// ```
    pub fn receptive_field(&self) -> Option<usize> {
        match self {
            Self::GradResNet(GradResNetConfig { norm, classes: 1, blocks, .. })
                if *norm != Norm::Group =>
            {
                let stages = blocks.iter().enumerate().map(|(k, blocks)| {
                    // The first convolution of a later stage works at the scale before.
                    let shrinking = if k > 0 { 1 << (k - 1) } else { 0 };
                    ((2 * blocks - usize::from(k > 0)) << k) + shrinking
                });
                Some(2 * (1 + stages.sum::<usize>()))
            }
            Self::DnCnn(DnCnnConfig { depth, .. }) => Some(*depth),
            Self::UNet(UNetConfig { blocks, .. }) => {
                let last = blocks.len() - 1;
                let scales = blocks.iter().enumerate().map(|(k, blocks)| match k == last {
                    true => (2 * blocks) << k,
                    // Going down and going up, and to the next scale and back.
                    false => (2 * (2 * blocks + 1)) << k,
                });
                Some(2 + scales.sum::<usize>())
            }
            Self::GradResNet(_) | Self::ResNet18(_) | Self::Custom(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Predict, Query, host};
    use burn::tensor::{Device, Tensor, TensorData};

    const SIDE: usize = 80;

    /// The denoised image of one that is zero except for one pixel, from which the largest distance
    /// in rows to a pixel that it changes follows.
    fn reach(architecture: &Architecture, at: usize) -> usize {
        let device = Device::flex();
        let mut model = architecture.init(&device, 3, 0.5);
        if let Architecture::GradResNet(config) = architecture {
            // Its energy head is zero at first.
            let config = GradResNetConfig { zero_energy_head: false, ..config.clone() };
            model = Architecture::GradResNet(config).init(&device, 3, 0.5);
        }
        let denoised = |value: f32| {
            let mut y: Vec<f32> = (0..SIDE * 16).map(|i| (i % 7) as f32 / 9.0 - 0.4).collect();
            y[at * 16 + 8] += value;
            let y = Tensor::<4>::from_data(TensorData::new(y, [1, 1, SIDE, 16]), &device);
            let query = Query { denoise: true, ..Query::default() };
            let found = model.predict(&y, &Tensor::full([1], 0.3, &device), &query);
            host(found.denoised.unwrap())
        };
        let (before, after) = (denoised(0.0), denoised(2.0));
        // Winograd's sums round all pixels of a tile together: their last bits are no influence.
        let changed =
            |y: &usize| (y * 16..(y + 1) * 16).any(|i| (before[i] - after[i]).abs() > 1e-5);
        (0..SIDE).filter(changed).map(|y| y.abs_diff(at)).max().unwrap()
    }

    /// No pixel farther away changes; influence fades, so that the last ones hardly do.
    #[test]
    fn the_receptive_field_is_what_a_pixel_changes() {
        let operands = crate::ops::Operands::F32;
        let joint = |blocks: Vec<usize>| {
            let norm = Norm::None;
            let config = GradResNetConfig { width: 8, blocks, norm, ..GradResNetConfig::new(1, 1) };
            Architecture::GradResNet(config)
        };
        let unet = |blocks| {
            let (bias_free, conditioned) = (false, true);
            let config =
                UNetConfig { channels: 1, width: 8, blocks, bias_free, conditioned, operands };
            Architecture::UNet(config)
        };
        let (bias_free, conditioned) = (true, false);
        let dncnn =
            DnCnnConfig { channels: 1, width: 8, depth: 5, bias_free, conditioned, operands };
        for (architecture, radius) in [
            (joint(vec![1]), 6),
            (joint(vec![1, 1]), 12),
            (joint(vec![2, 1]), 16),
            (unet(vec![1, 1]), 12),
            (Architecture::DnCnn(dncnn), 5),
        ] {
            assert_eq!(architecture.receptive_field(), Some(radius), "{architecture}");
            let found = (36..44).map(|at| reach(&architecture, at)).max().unwrap();
            assert!(found <= radius && 2 * found >= radius, "{architecture}: {found} {radius}");
        }
        let several = GradResNetConfig { norm: Norm::None, ..GradResNetConfig::new(1, 2) };
        assert_eq!(Architecture::GradResNet(several).receptive_field(), None);
    }
}
