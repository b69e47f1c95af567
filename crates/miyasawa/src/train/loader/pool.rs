//! Threads that read, decode and augment the images of coming steps.

use crate::data::{Augment, DataError, Stream};
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
pub(super) struct LoaderPool {
    queue: Arc<Queue>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    generation: u64,
    /// The first step that is not requested yet.
    pub next_step: u64,
    partial: BTreeMap<u64, Partial>,
}

impl LoaderPool {
    pub fn start(stream: &Arc<Stream>, workers: usize, augment: Augment, seed: u64) -> Self {
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

    pub fn has(&self, step: u64) -> bool {
        step == self.next_step || self.partial.contains_key(&step)
    }

    /// Drops all requests and goes on at another step.
    pub fn restart(&mut self, step: u64) {
        self.generation += 1;
        self.partial.clear();
        self.next_step = step;
        self.queue.change(|(tasks, _)| tasks.clear());
    }

    /// Requests the batch of the next step.
    pub fn request(&mut self, epoch: u64, indices: &[u32], image: usize, own: Range<usize>) {
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
    pub fn collect(&mut self, step: u64) -> Result<(Vec<f32>, Vec<u32>), DataError> {
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
