//! The batches of a run.
//!
//! The batch of a step is a function of the seed and the step alone: its images are a piece of
//! the epoch's order, which follows from (seed, epoch), their augmentation follows from (seed,
//! epoch, index), their noise from (seed, step, index). So a run resumes at any step without saved
//! state, and the number of workers changes nothing.
//!
//! Images in memory are copied when the step asks for them. Streamed ones are read, decoded and
//! augmented ahead of the step by threads of their own; what they have ready is bounded by
//! `data.prefetch` batches.

use super::config::{NoiseConfig, TrainConfig};
use super::contrast::reduce_contrast;
use super::noise::{expose, make_grey, noise_of, store_in_8_bits};
use super::parts::Batch;
use crate::data::{Augment, DataError, Geometry, Images, Stream, gather_augmented};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

/// Images that a worker takes at once.
const CHUNK: usize = 4;

/// Where a run's batches come from.
pub(super) struct DataLoader {
    set: Images,
    seed: u64,
    batch: usize,
    /// The images of a batch that are made here: all, unless other processes make some.
    own: Range<usize>,
    noise: NoiseConfig,
    augment: Augment,
    shuffle: Option<usize>,
    prefetch: u64,
    unlabelled: bool,
    /// Share of the images whose contrast is reduced.
    low_contrast: f64,
    /// Share of the images that are made grey.
    grey: f64,
    /// The epoch whose order is held.
    order: Option<(u64, Vec<u32>)>,
    pool: Option<LoaderPool>,
}

impl DataLoader {
    /// The loader of a run with batches of `batch` images; workers are started where the set is
    /// streamed. Of every batch the images `own` are made, the others are zeros.
    pub fn new(set: &Images, config: &TrainConfig, batch: usize, own: Range<usize>) -> Self {
        let augment = config.augment.augment();
        let workers = config.data.workers.unwrap_or_else(rayon::current_num_threads);
        let pool =
            set.stream().map(|stream| LoaderPool::start(stream, workers, augment, config.seed));
        Self {
            set: set.clone(),
            seed: config.seed,
            batch,
            own,
            noise: config.noise.clone(),
            augment,
            shuffle: config.data.shuffle_buffer,
            prefetch: config.data.prefetch as u64,
            unlabelled: config.data.unlabelled,
            low_contrast: config.augment.low_contrast,
            grey: config.augment.grey,
            order: None,
            pool,
        }
    }

    /// The epoch of a step and the images of its batch.
    fn indices(&mut self, step: u64) -> (u64, Vec<u32>) {
        let per_epoch = (self.set.len() / self.batch) as u64;
        let (epoch, slot) = (step / per_epoch, (step % per_epoch) as usize);
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, self.set.order(self.seed, epoch, self.shuffle)));
        }
        let order = self.order.as_ref().map(|(_, order)| order.as_slice()).unwrap_or_default();
        (epoch, order[slot * self.batch..][..self.batch].to_vec())
    }

    /// The batch of step `step`. Steps are asked for one after the other; going elsewhere is
    /// allowed and costs what was prepared.
    ///
    /// # Errors
    /// If an image cannot be read, or too many are corrupt.
    pub fn batch(&mut self, step: u64) -> Result<Batch, DataError> {
        let Geometry { channels, height, width } = self.set.geometry();
        let len = channels * height * width;
        let (mut x, mut labels) = match self.set.in_memory().is_some() {
            true => self.copied(step, len),
            false => self.streamed(step, len)?,
        };
        let image = [channels, height, width];
        if self.unlabelled {
            labels.fill(0);
        }
        let reduced = reduce_contrast(&mut x, image, self.low_contrast, [self.seed, step]);
        // What is left of such an image does not say what it shows.
        let label_weight =
            reduced.into_iter().map(|reduced| if reduced { 0.0 } else { 1.0 }).collect();
        let own = || self.own.clone();
        let (mut sigma, mut noise) =
            noise_of(&self.noise, [self.seed, step], self.batch, len, own());
        make_grey(&mut x, &mut noise, image, self.grey, [self.seed, step]);
        expose(&mut x, &mut sigma, &mut noise, image, &self.noise, [self.seed, step], own());
        store_in_8_bits(&x, &sigma, &mut noise, self.noise.stored, [self.seed, step]);
        Ok(Batch { image, x, labels, label_weight, sigma, noise })
    }

    fn copied(&mut self, step: u64, image: usize) -> (Vec<f32>, Vec<u32>) {
        let (epoch, indices) = self.indices(step);
        let Some(data) = self.set.in_memory() else { return (Vec::new(), Vec::new()) };
        let mut x = vec![0.0; self.batch * image];
        let made = &mut x[self.own.start * image..self.own.end * image];
        let indices_made = &indices[self.own.clone()];
        gather_augmented(data, indices_made, &self.augment, self.seed, epoch, made);
        (x, indices.iter().map(|i| data.labels()[*i as usize]).collect())
    }

    fn streamed(&mut self, step: u64, image: usize) -> Result<(Vec<f32>, Vec<u32>), DataError> {
        let Some(mut pool) = self.pool.take() else { return Ok((Vec::new(), Vec::new())) };
        if !(pool.next_step.saturating_sub(self.prefetch + 1)..=pool.next_step).contains(&step)
            || !pool.has(step)
        {
            pool.restart(step);
        }
        while pool.next_step <= step + self.prefetch {
            let (epoch, indices) = self.indices(pool.next_step);
            pool.request(epoch, &indices, image, self.own.clone());
        }
        let batch = pool.collect(step);
        self.pool = Some(pool);
        batch
    }
}

/// An image to prepare.
#[derive(Clone, Copy)]
struct Task {
    /// Requests from before a restart are no longer wanted.
    generation: u64,
    step: u64,
    slot: usize,
    epoch: u64,
    index: u32,
    image: usize,
}

/// A prepared image and its class.
struct Done {
    task: Task,
    result: Result<(Vec<f32>, u32), DataError>,
}

/// What workers are to do.
#[derive(Default)]
struct Queue {
    tasks: Mutex<(VecDeque<Task>, bool)>,
    changed: Condvar,
}

impl Queue {
    /// The next tasks; none when the run is over.
    fn take(&self) -> Vec<Task> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if tasks.1 {
                return Vec::new();
            }
            if !tasks.0.is_empty() {
                let count = tasks.0.len().min(CHUNK);
                return tasks.0.drain(..count).collect();
            }
            tasks = self.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change(&self, change: impl FnOnce(&mut (VecDeque<Task>, bool))) {
        change(&mut self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// A batch in the making.
struct Partial {
    x: Vec<f32>,
    labels: Vec<u32>,
    missing: usize,
    error: Option<(usize, DataError)>,
}

/// Threads that prepare the images of coming steps.
struct LoaderPool {
    queue: Arc<Queue>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    generation: u64,
    /// The first step that is not requested yet.
    next_step: u64,
    partial: BTreeMap<u64, Partial>,
}

impl LoaderPool {
    fn start(stream: &Arc<Stream>, workers: usize, augment: Augment, seed: u64) -> Self {
        let queue = Arc::new(Queue::default());
        let (sender, done) = channel();
        let threads = (0..workers.max(1)).filter_map(|i| {
            let (queue, stream, sender) = (Arc::clone(&queue), Arc::clone(stream), sender.clone());
            let work = move || work(&queue, &stream, &augment, seed, &sender);
            std::thread::Builder::new().name(format!("data-{i}")).spawn(work).ok()
        });
        Self {
            threads: threads.collect(),
            queue,
            done,
            generation: 0,
            next_step: 0,
            partial: BTreeMap::new(),
        }
    }

    fn has(&self, step: u64) -> bool {
        step == self.next_step || self.partial.contains_key(&step)
    }

    /// Drops all requests and goes on at another step.
    fn restart(&mut self, step: u64) {
        self.generation += 1;
        self.partial.clear();
        self.next_step = step;
        self.queue.change(|(tasks, _)| tasks.clear());
    }

    /// Requests the batch of the next step.
    fn request(&mut self, epoch: u64, indices: &[u32], image: usize, own: Range<usize>) {
        let (generation, step) = (self.generation, self.next_step);
        let tasks = own.clone().map(|slot| Task {
            generation,
            step,
            slot,
            epoch,
            index: indices[slot],
            image,
        });
        self.queue.change(|(queue, _)| queue.extend(tasks));
        let count = indices.len();
        let (x, labels) = (vec![0.0; count * image], vec![0; count]);
        self.partial.insert(step, Partial { x, labels, missing: own.len(), error: None });
        self.next_step += 1;
    }

    /// Waits for the batch of a step that was requested.
    fn collect(&mut self, step: u64) -> Result<(Vec<f32>, Vec<u32>), DataError> {
        while self.partial.get(&step).is_some_and(|batch| batch.missing > 0) {
            let Ok(Done { task, result }) = self.done.recv() else { break };
            if task.generation != self.generation {
                continue;
            }
            let Some(batch) = self.partial.get_mut(&task.step) else { continue };
            batch.missing -= 1;
            match result {
                Ok((image, label)) => {
                    batch.x[task.slot * task.image..][..task.image].copy_from_slice(&image);
                    batch.labels[task.slot] = label;
                }
                // The error reported is that of the first slot, whichever worker met one first.
                Err(error) if batch.error.as_ref().is_none_or(|(at, _)| *at > task.slot) => {
                    batch.error = Some((task.slot, error));
                }
                Err(_) => {}
            }
        }
        match self.partial.remove(&step) {
            Some(Partial { error: Some((_, error)), .. }) => Err(error),
            Some(Partial { missing: 0, x, labels, .. }) => Ok((x, labels)),
            _ => {
                let error = std::io::Error::other(
                    "the threads that read images could not be started or died",
                );
                Err(DataError::Io { path: "data.workers".into(), source: error })
            }
        }
    }
}

impl Drop for LoaderPool {
    fn drop(&mut self) {
        self.queue.change(|(tasks, over)| {
            tasks.clear();
            *over = true;
        });
        for thread in self.threads.drain(..) {
            // A panic of a worker was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Queue, stream: &Stream, augment: &Augment, seed: u64, done: &Sender<Done>) {
    loop {
        let tasks = queue.take();
        if tasks.is_empty() {
            return;
        }
        for task in tasks {
            let mut image = vec![0.0; task.image];
            let read = || stream.example(task.index, augment, [seed, task.epoch], &mut image);
            // A panic must arrive as an error: the step would wait for its image for ever.
            let label = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                let source = std::io::Error::other("the decoder panicked");
                Err(DataError::Io { path: stream.path_of(task.index), source })
            });
            if done.send(Done { task, result: label.map(|label| (image, label)) }).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, Part};
    use image::{ImageFormat, Rgb, RgbImage};

    /// A folder with 3 classes of images of 6x6, the ninth of which may be corrupt.
    fn images(corrupt: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..40u32 {
            let class = dir.path().join((i % 3).to_string());
            std::fs::create_dir_all(&class).unwrap();
            let image =
                RgbImage::from_fn(6, 6, |x, y| Rgb([x * 40, y * 40, i * 6].map(|v| v as u8)));
            let path = class.join(format!("{i:02}.png"));
            image.save_with_format(&path, ImageFormat::Png).unwrap();
            if corrupt && i == 9 {
                std::fs::write(&path, b"no image").unwrap();
            }
        }
        dir
    }

    fn config(settings: &[&str]) -> TrainConfig {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        TrainConfig::load(None, &settings).unwrap()
    }

    fn loader(dir: &tempfile::TempDir, settings: &[&str]) -> Result<DataLoader, DataError> {
        let augment =
            ["seed=3", "augment.flip=true", "augment.crop=1", "augment.resized_crop=[0.3, 1.0]"];
        let config = config(&[&augment, settings].concat());
        let set =
            DataSource::Path(dir.path().to_owned()).open(Part::Train, &config.open_options())?;
        Ok(DataLoader::new(&set, &config, 12, 0..12))
    }

    fn values(batch: Batch) -> (Vec<f32>, Vec<u32>, Vec<f32>) {
        (batch.x, batch.labels, batch.noise)
    }

    #[test]
    fn batches_are_the_same_in_memory_and_with_any_number_of_workers() {
        let dir = images(false);
        for order in ["data.prefetch=2", "data.shuffle_buffer=5"] {
            let mut memory = loader(&dir, &["data.stream=never", order]).unwrap();
            let expected: Vec<_> = (0..8).map(|step| values(memory.batch(step).unwrap())).collect();
            assert_ne!(expected[0], expected[3], "another epoch");
            for workers in ["data.workers=1", "data.workers=4"] {
                let mut stream = loader(&dir, &["data.stream=always", order, workers]).unwrap();
                for (step, expected) in expected.iter().enumerate() {
                    assert_eq!(
                        &values(stream.batch(step as u64).unwrap()),
                        expected,
                        "{workers}, step {step}"
                    );
                }
                // A run that starts elsewhere or goes back sees the same.
                for step in [6, 2, 3, 7, 7, 1] {
                    assert_eq!(
                        values(stream.batch(step).unwrap()),
                        expected[step as usize],
                        "step {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_broken_image_ends_the_run_only_beyond_the_limit() {
        let dir = images(true);
        let mut stream = loader(&dir, &["data.stream=always", "data.sample=1"]).unwrap();
        assert!((0..6).all(|step| stream.batch(step).is_ok()));
        let strict = ["data.stream=always", "data.max_broken=0", "data.sample=1"];
        let mut stream = loader(&dir, &strict).unwrap();
        let errors: Vec<String> =
            (0..3).filter_map(|step| stream.batch(step).err()).map(|e| e.to_string()).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("09.png"), "{errors:?}");
    }
}
