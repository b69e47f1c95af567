//! The thread that computes: it takes requests from the queue, small ones of one kind together.

use crate::document::NAME;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::models::Model;
use crate::params::{Added, Denoise, Task};
use crate::queue::Queue;
use crate::results::{Answer, Classified, Denoised, Explained};
use axum::body::Bytes;
use miyasawa::image::{Image, ImageFile, Page};
use miyasawa::predictor::{Classification, Noise, PredictError, Strength};
use miyasawa::progress::monitor;
use rayon::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Images up to this size are computed together; larger ones fill the processors by themselves.
const SMALL: u64 = 128 * 128;

/// A request that was read and checked.
pub(crate) struct Job {
    pub model: Arc<Model>,
    pub task: Task,
    pub added: Option<Added>,
    pub bytes: Bytes,
    /// Of all pages, by the headers.
    pub pixels: u64,
    pub pages: usize,
    /// The limit that they were checked against.
    pub most_pixels: u64,
    /// Its share of the memory for bodies.
    pub held: Option<OwnedSemaphorePermit>,
    /// Closed as soon as nobody waits for the answer any more.
    pub answer: oneshot::Sender<Result<Answer, ApiError>>,
}

impl Job {
    /// Whether two small requests are computed in one forward pass.
    fn goes_with(&self, other: &Self) -> bool {
        let small = |job: &Self| job.pixels <= SMALL && job.pages == 1;
        let same = Arc::ptr_eq(&self.model, &other.model) && small(self) && small(other);
        same && match (&self.task, &other.task) {
            (
                Task::Classify { noise: a, levels: of_a, .. },
                Task::Classify { noise: b, levels: of_b, .. },
            ) => a == b && of_a == of_b,
            (Task::Denoise(a), Task::Denoise(b)) => {
                let plain = |d: &Denoise| d.class.is_none() && d.strength == Strength::default();
                a.noise == b.noise && plain(a) && plain(b)
            }
            _ => false,
        }
    }

    fn abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Computes what the queue holds until it is closed and empty.
pub(crate) fn run(queue: &Queue<Job>, batch: usize, metrics: &Metrics) {
    while let Some(mut jobs) = queue.take(batch, Job::goes_with) {
        let all = jobs.len();
        // Nobody waits for these: the client went away, or its time is over.
        jobs.retain(|job| !job.abandoned());
        metrics.abandoned(all - jobs.len());
        if jobs.is_empty() {
            continue;
        }
        metrics.batch(jobs.len());
        let answers = match guarded(|| together(&jobs)) {
            Ok(answers) => answers,
            // One of several is at fault: each by itself.
            Err(_) if jobs.len() > 1 => jobs.iter().map(|job| guarded(|| alone(job))).collect(),
            Err(error) => vec![Err(error)],
        };
        for (job, answer) in jobs.into_iter().zip(answers) {
            drop(job.held);
            // If it fails, nobody waits any more.
            let _ = job.answer.send(answer);
        }
    }
}

/// Runs work; a panic, which would be a bug, is an error of this request and not the end of the
/// server.
fn guarded<T>(work: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> ApiError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    ApiError::Internal(text.to_owned())
}

type Answers = Vec<Result<Answer, ApiError>>;

/// Computes all jobs in one pass; an error if one of them is at fault.
fn together(jobs: &[Job]) -> Result<Answers, ApiError> {
    match jobs {
        [] => Ok(Vec::new()),
        [job] => Ok(vec![alone(job)]),
        [first, ..] => match &first.task {
            Task::Classify { noise, levels, .. } => classify(jobs, *noise, levels),
            Task::Denoise(task) => denoise_small(jobs, task.noise),
            Task::Explain { .. } => Ok(jobs.iter().map(alone).collect()),
        },
    }
}

fn alone(job: &Job) -> Result<Answer, ApiError> {
    match &job.task {
        Task::Classify { noise, levels, .. } => {
            let found = classify(std::slice::from_ref(job), *noise, levels)?;
            found.into_iter().next().unwrap_or_else(|| Err(ApiError::Internal("no result".into())))
        }
        Task::Denoise(task) => denoise_pages(job, task),
        Task::Explain { class, sigma } => explain(job, *class, *sigma),
    }
}

/// The file of a job, its headers read.
fn file(job: &Job) -> Result<ImageFile, ApiError> {
    Ok(ImageFile::read_within(NAME, &job.bytes[..], job.most_pixels)?)
}

/// The first page with its transparency laid over white, and noise where it is asked for.
fn first_image(job: &Job) -> Result<Image, ApiError> {
    noisy(file(job)?.page(0)?.into_opaque(), job.added)
}

fn noisy(image: Image, added: Option<Added>) -> Result<Image, ApiError> {
    match added {
        Some(Added { sigma, seed }) => Ok(image.with_noise(sigma, seed)?),
        None => Ok(image),
    }
}

fn classify(jobs: &[Job], noise: Noise, levels: &[f64]) -> Result<Answers, ApiError> {
    let images: Vec<Image> = jobs.par_iter().map(first_image).collect::<Result<_, _>>()?;
    let model = &jobs[0].model;
    // A single image does not pass through a batch: the same numbers as the command line's.
    let at = |noise| -> Result<Vec<Classification>, PredictError> {
        match &images[..] {
            [image] => Ok(vec![model.predictor.classify(image, noise)?]),
            images => model.predictor.classify_batch(images, noise),
        }
    };
    let found = at(noise)?;
    let at_levels: Vec<Vec<Classification>> =
        levels.iter().map(|level| at(Noise::Level(*level))).collect::<Result<_, _>>()?;
    let answers = jobs.iter().zip(found).enumerate().map(|(i, (job, found))| {
        let Task::Classify { top, .. } = &job.task else {
            return Err(ApiError::Internal("a batch of different tasks".into()));
        };
        let levels = at_levels.iter().map(|level| level[i].clone().truncated(*top)).collect();
        let found = found.truncated(*top);
        Ok(Answer::Classified(Classified { model: model.name.clone(), found, levels }))
    });
    Ok(answers.collect())
}

/// Denoises small images of one page in one pass.
fn denoise_small(jobs: &[Job], noise: Noise) -> Result<Answers, ApiError> {
    let page = |job: &Job| -> Result<Page, ApiError> { Ok(file(job)?.page(0)?) };
    let pages: Vec<Page> = jobs.par_iter().map(page).collect::<Result<_, _>>()?;
    let images: Vec<Image> = jobs
        .iter()
        .zip(&pages)
        .map(|(job, page)| noisy(page.image().clone(), job.added))
        .collect::<Result<_, _>>()?;
    let found = jobs[0].model.predictor.denoise_batch(&images, noise)?;
    let each: Vec<_> = jobs.iter().zip(pages).zip(images).zip(found).collect();
    let answers = each.into_par_iter().map(|(((job, page), image), found)| {
        let Task::Denoise(task) = &job.task else {
            return Err(ApiError::Internal("a batch of different tasks".into()));
        };
        let clean = job.added.is_some().then(|| page.image().clone());
        let mut answer = Denoised::new(job.model.name.clone(), found.sigma);
        answer.compare(task, clean.as_ref(), Some(&image), found.image())?;
        let file = file(job)?;
        let mut writer = Denoised::writer(&file, task);
        writer.add(Path::new(NAME), &page.with_image(found.into_image())?)?;
        answer.finish(writer, &file, task);
        Ok(Answer::Denoised(answer))
    });
    Ok(answers.collect())
}

/// Denoises all pages of an image, one after the other.
fn denoise_pages(job: &Job, task: &Denoise) -> Result<Answer, ApiError> {
    let file = file(job)?;
    let mut first: Option<Denoised> = None;
    let mut writer = Denoised::writer(&file, task);
    for number in 0..file.pages() {
        if !writer.has_room() {
            break;
        }
        let page = file.page(number)?.map_image(|image| -> Result<Image, ApiError> {
            // What is reported is of the first page.
            let truth = (number == 0 && job.added.is_some()).then(|| image.clone());
            let before = noisy(image, job.added)?;
            let shown = number == 0 && (task.before || truth.is_some());
            let shown = shown.then(|| before.clone());
            let stop = &mut monitor(|_| {}, || job.abandoned());
            let predictor = &job.model.predictor;
            let found = predictor.denoise_by(before, task.noise, task.class, task.strength, stop);
            // Nobody waits for this answer.
            let found = found?.ok_or(ApiError::Stopping)?;
            if number == 0 {
                let mut answer = Denoised::new(job.model.name.clone(), found.sigma);
                answer.compare(task, truth.as_ref(), shown.as_ref(), found.image())?;
                first = Some(answer);
            }
            Ok(found.into_image())
        })?;
        writer.add(Path::new(NAME), &page)?;
    }
    let mut answer = first.ok_or_else(|| ApiError::Internal("an image without pages".into()))?;
    answer.finish(writer, &file, task);
    Ok(Answer::Denoised(answer))
}

fn explain(job: &Job, class: usize, sigma: f64) -> Result<Answer, ApiError> {
    let image = first_image(job)?;
    let predictor = &job.model.predictor;
    let found = predictor.explain_at(&image, class, sigma)?;
    let input = predictor.input(&image)?;
    let name = predictor.classes().get(class).cloned().unwrap_or_default();
    let answer = Explained::new(job.model.name.clone(), name, &input, found)?;
    Ok(Answer::Explained(Box::new(answer)))
}
