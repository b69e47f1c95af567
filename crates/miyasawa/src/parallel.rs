//! Parts of a batch in parallel: each thread computes entire parts by itself.
//!
//! Threads that share an operation wait for each other after every one of them; threads that
//! compute separate parts do not. No layer mixes images, so that the results are the same except
//! for rounding, which depends on the parts. The parts therefore depend only on the batch, not on
//! the number of threads. Devices other than the CPU take an undivided batch.

use crate::device::is_cpu;
use crate::model::{Predict, Prediction, Query, host};
use crate::ranks::{Message, divided, framed, unframed};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

/// The most images of a part where only predictions are wanted: few enough to stay in the cache.
const PART: usize = 16;

/// One pool of one thread for each thread that the program may use; none where the device is not
/// the CPU.
pub(crate) fn workers(device: &Device) -> Vec<&'static rayon::ThreadPool> {
    // Started once and kept: the next caller may want more of them.
    static STARTED: Mutex<Vec<&'static rayon::ThreadPool>> = Mutex::new(Vec::new());
    if !is_cpu(device) {
        return Vec::new();
    }
    let wanted = rayon::current_num_threads();
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    while started.len() < wanted {
        // Where a thread cannot be started the parts are shared by those that could.
        let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(1).build() else { break };
        started.push(Box::leak(Box::new(pool)));
    }
    started.iter().take(wanted).copied().collect()
}

/// Runs `work` on every part and returns the results in the order of the parts; each worker takes
/// the next part.
pub(crate) fn on_workers<P: Sync, T: Send + Sync>(
    workers: &[&rayon::ThreadPool],
    parts: &[P],
    work: impl Fn(&P) -> T + Sync,
) -> Vec<T> {
    on_workers_while(workers, parts, work, || ())
}

/// As [`on_workers`]; this thread does something else `meanwhile`.
pub(crate) fn on_workers_while<P: Sync, T: Send + Sync>(
    workers: &[&rayon::ThreadPool],
    parts: &[P],
    work: impl Fn(&P) -> T + Sync,
    meanwhile: impl FnOnce(),
) -> Vec<T> {
    let done: Vec<OnceLock<T>> = parts.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in workers.iter().take(parts.len()) {
            let (done, work, next) = (&done, &work, &next);
            scope.spawn(move || {
                worker.install(|| {
                    let take_next = || {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        parts.get(i).zip(done.get(i))
                    };
                    while let Some((part, done)) = take_next() {
                        let _ = done.set(work(part));
                    }
                });
            });
        }
        meanwhile();
    });
    done.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// Calls `work` with [`workers`], or where these are more than `most`, with `most` pools that share
/// their threads.
pub(crate) fn with_workers<T>(
    device: &Device,
    most: usize,
    work: impl FnOnce(&[&rayon::ThreadPool]) -> T,
) -> T {
    let threads = rayon::current_num_threads();
    if !is_cpu(device) || threads <= most.max(1) {
        return work(&workers(device));
    }
    let pool = |[_, size]: [usize; 2]| rayon::ThreadPoolBuilder::new().num_threads(size).build();
    let parts = equal_parts(threads, most.max(1)).into_iter();
    let pools: Vec<rayon::ThreadPool> = parts.filter_map(|part| pool(part).ok()).collect();
    work(&pools.iter().collect::<Vec<_>>())
}

/// Runs `work` on `0..count`, each worker on the next, and hands the results to `take` in their
/// order, on this thread, as they come. Ends as soon as `take` returns false. With fewer than two
/// workers all of it is on this thread.
pub(crate) fn in_order<T: Send>(
    workers: &[&rayon::ThreadPool],
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> bool,
) {
    if workers.len() < 2 {
        let _ = (0..count).all(|i| take(i, work(i)));
        return;
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // A worker that is far ahead of the one who takes waits.
        let (send, receive) = mpsc::sync_channel(workers.len());
        for worker in workers.iter().take(count) {
            let (send, work, next) = (send.clone(), &work, &next);
            scope.spawn(move || {
                worker.install(|| {
                    let mut numbers =
                        std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed))
                            .take_while(|i| *i < count);
                    // Nobody receives any more when the work has ended.
                    let _ = numbers.try_for_each(|i| send.send((i, work(i))));
                });
            });
        }
        drop(send);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (i, found) in receive {
            early.insert(i, found);
            while let Some(found) = early.remove(&due) {
                if !take(due, found) {
                    return;
                }
                due += 1;
            }
        }
    });
}

/// Divides `count` images into `parts` parts of nearly equal size: `[first image, size]` of each.
pub(crate) fn equal_parts(count: usize, parts: usize) -> Vec<[usize; 2]> {
    let from = |part: usize| part * count / parts;
    (0..parts).map(|k| [from(k), from(k + 1) - from(k)]).collect()
}

/// Runs `work` on parts of `count` images of nearly equal size, each described by its first image
/// and size; several ranks work on them [`together`](crate::ranks::together).
pub(crate) fn share_out<T: Message + Send + Sync>(
    count: usize,
    device: &Device,
    work: impl Fn([usize; 2]) -> T + Sync,
) -> Vec<T> {
    let workers = workers(device);
    let parts =
        equal_parts(count, if workers.is_empty() { 1 } else { count.div_ceil(PART).max(1) });
    divided(&parts, device, |parts| match workers.len() < 2 || parts.len() < 2 {
        true => parts.iter().map(|part| work(*part)).collect(),
        false => on_workers(&workers, parts, |part| work(*part)),
    })
}

impl Message for Prediction {
    fn to_bytes(&self) -> Vec<u8> {
        framed([
            bytes_of(self.logits.as_ref()),
            bytes_of(self.denoised.as_ref()),
            bytes_of(self.class_conditional.as_ref()),
        ])
    }

    fn of_bytes(bytes: &[u8], device: &Device) -> Option<Self> {
        let [logits, denoised, class_conditional] = unframed(bytes)?.try_into().ok()?;
        Some(Self {
            logits: tensor_of(logits, device)?,
            denoised: tensor_of(denoised, device)?,
            class_conditional: tensor_of(class_conditional, device)?,
        })
    }
}

/// The shape and the values of a tensor; no bytes for none.
fn bytes_of<const D: usize>(tensor: Option<&Tensor<D>>) -> Vec<u8> {
    let Some(tensor) = tensor else { return Vec::new() };
    let shape = tensor.dims().into_iter().flat_map(|side| (side as u64).to_le_bytes());
    framed([shape.collect(), host(tensor.clone()).to_bytes()])
}

/// What [`bytes_of`] made; nothing if it did not.
fn tensor_of<const D: usize>(bytes: &[u8], device: &Device) -> Option<Option<Tensor<D>>> {
    if bytes.is_empty() {
        return Some(None);
    }
    let [shape, values] = unframed(bytes)?.try_into().ok()?;
    let (sides, []) = shape.as_chunks::<8>() else { return None };
    let sides: Vec<usize> = sides.iter().map(|side| u64::from_le_bytes(*side) as usize).collect();
    let shape: [usize; D] = sides.try_into().ok()?;
    let values = Vec::<f32>::of_bytes(values, device)?;
    let fits = shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side)) == Some(values.len());
    fits.then(|| Some(Tensor::from_data(TensorData::new(values, shape), device)))
}

/// As [`Predict::predict`], with the batch divided among the workers.
pub(crate) fn predict(
    model: &(impl Predict + Sync),
    y: &Tensor<4>,
    sigma: &Tensor<1>,
    query: &Query<'_>,
) -> Prediction {
    let predictions = share_out(y.dims()[0], &y.device(), |[from, count]| {
        let class_conditional =
            query.class_conditional.map(|labels| labels.clone().narrow(0, from, count));
        let query = Query { class_conditional: class_conditional.as_ref(), ..*query };
        model.predict(
            &y.clone().narrow(0, from, count),
            &sigma.clone().narrow(0, from, count),
            &query,
        )
    });
    Prediction {
        logits: joined(&predictions, |prediction| prediction.logits.clone()),
        denoised: joined(&predictions, |prediction| prediction.denoised.clone()),
        class_conditional: joined(&predictions, |prediction| prediction.class_conditional.clone()),
    }
}

fn joined<const D: usize>(
    predictions: &[Prediction],
    part: impl Fn(&Prediction) -> Option<Tensor<D>>,
) -> Option<Tensor<D>> {
    let parts: Vec<Tensor<D>> = predictions.iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| Tensor::cat(parts, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GradResNetConfig, JointModel};
    use crate::verify::relative_error;
    use burn::tensor::{Int, TensorData};

    #[test]
    fn parts_are_joined_in_their_order() {
        for count in [0, 1, 2, 3, 40] {
            let parts = share_out(count, &Device::flex(), |part| part.map(|n| n as f32).to_vec());
            let parts: Vec<[usize; 2]> =
                parts.iter().map(|part| [part[0] as usize, part[1] as usize]).collect();
            let next = parts.iter().fold(0, |next, [from, size]| {
                assert_eq!(*from, next);
                next + size
            });
            assert_eq!(next, count);
            assert!(
                parts.iter().all(|[_, size]| *size <= PART && (*size > 0 || count == 0)),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn results_are_taken_in_their_order_until_one_ends_the_work() {
        let device = Device::flex();
        for (threads, most) in [(1, 9), (2, 9), (3, 2), (5, 1)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (count, last) in [(0, 9), (1, 9), (30, 99), (30, 7)] {
                let mut taken = Vec::new();
                let slow = |i: usize| {
                    // Every third is late.
                    std::thread::sleep(std::time::Duration::from_millis(
                        2 * u64::from(i.is_multiple_of(3)),
                    ));
                    (i, rayon::current_num_threads())
                };
                pool.install(|| {
                    with_workers(&device, most, |workers| {
                        assert_eq!(workers.len(), threads.min(most));
                        in_order(workers, count, slow, |i, found| {
                            taken.push((i, found.0));
                            assert!(found.1 >= threads / workers.len(), "{threads} {found:?}");
                            i < last
                        });
                    });
                });
                let expected: Vec<_> = (0..count.min(last + 1)).map(|i| (i, i)).collect();
                assert_eq!(taken, expected, "{threads} threads, {most} at most");
            }
        }
    }

    #[test]
    fn a_shared_batch_has_the_same_predictions() {
        let device = Device::flex();
        let config = GradResNetConfig { width: 8, blocks: vec![1], ..GradResNetConfig::new(1, 3) };
        let model = JointModel::new(config.init(&device, 0), 0.5);
        let values: Vec<f32> =
            (0..37 * 30).map(|i| ((i * 29) % 200) as f32 / 100.0 - 1.0).collect();
        let y = Tensor::<4>::from_data(TensorData::new(values, [37, 1, 6, 5]), &device);
        let sigma: Vec<f32> = (0..37).map(|i| 0.1 + i as f32 / 50.0).collect();
        let sigma = Tensor::<1>::from_data(TensorData::new(sigma, [37]), &device);
        let labels: Vec<i32> = (0..37).map(|i| i % 3).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [37]), &device);
        let query = Query { classify: true, denoise: true, class_conditional: Some(&labels) };
        let (direct, shared) =
            (model.predict(&y, &sigma, &query), predict(&model, &y, &sigma, &query));
        let values = |p: Prediction| {
            let (d, g) =
                (p.denoised.unwrap().into_data(), p.class_conditional.unwrap().into_data());
            let z = p.logits.unwrap().into_data();
            [z, d, g].map(|data| data.try_to_vec::<f32>().unwrap())
        };
        for (a, b) in values(direct).iter().zip(values(shared)) {
            assert!(relative_error(a, &b) < 1e-5);
        }
        let nothing = predict(&model, &y, &sigma, &Query::default());
        assert!(
            nothing.logits.is_none()
                && nothing.denoised.is_none()
                && nothing.class_conditional.is_none()
        );
    }
}
