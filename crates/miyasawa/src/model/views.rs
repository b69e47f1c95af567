//! The mean of a model's results over mirrored and turned views of an image.

use super::{Predict, Prediction, Query};
use burn::tensor::Tensor;

/// A model whose results are means over views of the image: itself, mirrored, turned. A network
/// that is trained on all of them gives almost, not exactly, the same for each; the mean has less
/// of its error (Timofte et al. 2016, "Seven ways to improve example-based single image super
/// resolution", section 3.6, there called enhanced prediction).
///
/// `D(y)` and `D(y, c)` are turned back before the mean is taken. Logits are means over the image
/// and its mirror image alone, as classes are rarely the same upside down.
///
/// ```
/// use miyasawa::burn::tensor::Tensor;
/// use miyasawa::model::{GradResNetConfig, JointModel, Predict as _, Query, Views};
/// use miyasawa::Device;
///
/// let device = Device::flex();
/// let net = GradResNetConfig { width: 8, blocks: vec![1, 1], ..GradResNetConfig::new(1, 10) };
/// let model = Views::new(JointModel::new(net.init(&device, 0), 0.5), 8).expect("1, 2, 4 or 8");
/// let y = Tensor::<4>::ones([2, 1, 8, 12], &device);
/// let query = Query { denoise: true, ..Query::default() };
/// let found = model.predict(&y, &Tensor::full([2], 0.2, &device), &query);
/// assert_eq!(found.denoised.map(|denoised| denoised.dims()), Some([2, 1, 8, 12]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Views<M> {
    model: M,
    views: usize,
}

/// The numbers of views that there are: the image; with its mirror image; both also upside down;
/// all also with rows and columns exchanged.
pub const VIEWS: [usize; 4] = [1, 2, 4, 8];

impl<M> Views<M> {
    /// The mean over 1, 2, 4 or 8 views; none for other numbers. See [`VIEWS`].
    pub fn new(model: M, views: usize) -> Option<Self> {
        VIEWS.contains(&views).then_some(Self { model, views })
    }
}

/// The view `i` of images `[batch, channels, height, width]`.
fn view(y: Tensor<4>, i: usize) -> Tensor<4> {
    let y = if i & 4 == 0 { y } else { y.swap_dims(2, 3) };
    let y = if i & 2 == 0 { y } else { y.flip([2]) };
    if i & 1 == 0 { y } else { y.flip([3]) }
}

/// The images whose view `i` is `y`.
fn viewed(y: Tensor<4>, i: usize) -> Tensor<4> {
    let y = if i & 1 == 0 { y } else { y.flip([3]) };
    let y = if i & 2 == 0 { y } else { y.flip([2]) };
    if i & 4 == 0 { y } else { y.swap_dims(2, 3) }
}

impl<M: Predict> Predict for Views<M> {
    fn predict(&self, y: &Tensor<4>, sigma: &Tensor<1>, query: &Query<'_>) -> Prediction {
        if self.views == 1 {
            return self.model.predict(y, sigma, query);
        }
        let mut sums = Prediction::default();
        for i in 0..self.views {
            let query = Query { classify: query.classify && i < 2, ..*query };
            let found = self.model.predict(&view(y.clone(), i), sigma, &query);
            let images = |found: Option<Tensor<4>>| found.map(|found| viewed(found, i));
            sums = Prediction {
                logits: added(sums.logits, found.logits),
                denoised: added(sums.denoised, images(found.denoised)),
                class_conditional: added(sums.class_conditional, images(found.class_conditional)),
            };
        }
        Prediction {
            logits: sums.logits.map(|sum| sum / self.views.min(2) as f32),
            denoised: sums.denoised.map(|sum| sum / self.views as f32),
            class_conditional: sums.class_conditional.map(|sum| sum / self.views as f32),
        }
    }
}

/// The sum of what there is.
fn added<const D: usize>(sum: Option<Tensor<D>>, found: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (sum, found) {
        (Some(sum), Some(found)) => Some(sum + found),
        (sum, found) => sum.or(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GradResNet, GradResNetConfig, JointModel, host};
    use crate::verify::relative_error;
    use burn::tensor::{Device, Int, TensorData};

    fn model(device: &Device) -> JointModel<GradResNet> {
        let config = GradResNetConfig {
            width: 8,
            blocks: vec![1, 1],
            zero_energy_head: false,
            ..GradResNetConfig::new(1, 3)
        };
        JointModel::new(config.init(device, 3), 0.5)
    }

    fn images(device: &Device) -> Tensor<4> {
        let values: Vec<f32> = (0..2 * 24).map(|i| ((i * 29) % 50) as f32 / 25.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, [2, 1, 4, 6]), device)
    }

    #[test]
    fn each_view_is_another_and_leads_back() {
        let y = images(&Device::flex());
        let all: Vec<_> = (0..8).map(|i| (view(y.clone(), i).dims(), view(y.clone(), i))).collect();
        let all: Vec<_> = all.into_iter().map(|(dims, view)| (dims, host(view))).collect();
        for i in 0..8 {
            assert_eq!(host(viewed(view(y.clone(), i), i)), host(y.clone()), "view {i}");
            assert!(all[..i].iter().all(|other| *other != all[i]), "view {i}");
        }
    }

    #[test]
    fn the_mean_does_not_depend_on_the_view_that_is_given() {
        let device = Device::flex();
        let (y, sigma) = (images(&device), Tensor::full([2], 0.3, &device));
        let labels = Tensor::<1, Int>::from_data([1, 2], &device);
        let query = Query { classify: true, denoise: true, class_conditional: Some(&labels) };
        let of = |views, y: &Tensor<4>| {
            Views::new(model(&device), views).unwrap().predict(y, &sigma, &query)
        };
        let near = |a: Option<Tensor<4>>, b: Option<Tensor<4>>, what: &str| {
            let error = relative_error(&host(a.unwrap()), &host(b.unwrap()));
            assert!(error < 1e-5, "{what}: {error}");
        };
        for views in [2, 4, 8] {
            let found = of(views, &y);
            for i in 0..views {
                let other = of(views, &view(y.clone(), i));
                let name = format!("{views} views, view {i}");
                near(other.denoised, found.denoised.clone().map(|d| view(d, i)), &name);
                let classes = found.class_conditional.clone().map(|d| view(d, i));
                near(other.class_conditional, classes, &name);
                let logits = [other.logits, found.logits.clone()].map(|l| host(l.unwrap()));
                let same = relative_error(&logits[0], &logits[1]) < 1e-5;
                assert_eq!(same, i < 2, "{name}");
            }
        }
        let (one, plain) = (of(1, &y), model(&device).predict(&y, &sigma, &query));
        assert_eq!(host(one.denoised.unwrap()), host(plain.denoised.clone().unwrap()));
        let eight = of(8, &y).denoised.map(host);
        assert_ne!(eight, plain.denoised.map(host));
        assert!(Views::new(model(&device), 3).is_none());
    }
}
