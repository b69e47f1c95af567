//! A model: the library's [`Predictor`] on arrays.

use crate::{
    arrays,
    errors::{IntoPython as _, usage},
    images::{self, Array, Input, Kind, Parts},
    messages, values, work,
};
use miyasawa::{
    bundled::BundledModel,
    image::Image,
    ops::Operands,
    predictor::{Classification, Explanation, Noise, PredictError, Predictor, Strength},
    progress::Monitor as _,
};
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// Images between two looks at the flag that stops the work: a few batches of the library.
const PIECE: usize = 64;

/// The names of the bundled models.
#[pyfunction]
pub fn bundled() -> Vec<&'static str> {
    BundledModel::ALL.map(BundledModel::name).to_vec()
}

/// The predictor behind `miyasawa.Model`.
#[pyclass(frozen, module = "miyasawa._miyasawa")]
pub struct Model(Predictor);

fn noise(level: Option<f64>, estimate: bool) -> Noise {
    match (level, estimate) {
        (Some(level), _) => Noise::Level(level),
        (None, true) => Noise::Estimate,
        (None, false) => Noise::Clean,
    }
}

/// What some work gives in pieces, until it is done or stopped.
fn in_pieces<T>(
    images: &[Image],
    stop: &Arc<AtomicBool>,
    mut work: impl FnMut(&[Image]) -> Result<Vec<T>, PredictError>,
) -> Result<Vec<T>, PredictError> {
    let mut found = Vec::with_capacity(images.len());
    for piece in images.chunks(PIECE).take_while(|_| !stop.stop()) {
        found.extend(work(piece)?);
    }
    Ok(found)
}

impl Model {
    /// Does some work on the images of the inputs.
    fn on<T: Send>(
        &self,
        py: Python<'_>,
        inputs: &[Input],
        work: impl FnOnce(Vec<Image>, Parts, &Arc<AtomicBool>) -> Result<T, PredictError> + Send,
    ) -> PyResult<T> {
        let sources = images::sources(py, inputs)?;
        let work = |caller: work::Caller| {
            let (images, parts) = images::all(sources)?;
            work(images, parts, &caller.stop)
        };
        work::beside(py, work)?.map_err(|error| error.into_python())
    }

    fn classifications(
        &self,
        py: Python<'_>,
        inputs: &[Input],
        noise: Noise,
    ) -> PyResult<Vec<Classification>> {
        self.on(py, inputs, |images, _, stop| match &images[..] {
            // What the program computes, to the last bit.
            [only] => Ok(vec![self.0.classify(only, noise)?]),
            images => in_pieces(images, stop, |images| self.0.classify_batch(images, noise)),
        })
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (path, bundled, device, threads, bf16, views))]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        bundled: Option<&str>,
        device: &str,
        threads: Option<usize>,
        bf16: bool,
        views: usize,
    ) -> PyResult<Self> {
        messages::collect();
        work::has_threads()?;
        let device =
            device.parse().map_err(|e: miyasawa::device::DeviceError| usage(e.to_string()))?;
        let mut builder = Predictor::builder().device(device).views(views);
        if let Some(threads) = threads {
            builder = builder.threads(threads);
        }
        if bf16 {
            builder = builder.operands(Operands::Bf16);
        }
        let bundled = bundled.map(str::parse::<BundledModel>).transpose();
        let bundled = bundled.map_err(|error| usage(error.to_string()))?.unwrap_or_default();
        let found = py.detach(|| match path {
            Some(path) => builder.load(path),
            None => builder.from_bundled(bundled),
        });
        Ok(Self(found.map_err(|error| error.into_python())?))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn sha256(&self) -> &str {
        self.0.sha256()
    }

    #[getter]
    fn kind(&self) -> String {
        self.0.kind().to_string()
    }

    #[getter]
    fn classes(&self) -> Vec<String> {
        self.0.classes().to_vec()
    }

    #[getter]
    fn shape(&self) -> (usize, usize, usize) {
        let geometry = self.0.geometry();
        (geometry.channels, geometry.height, geometry.width)
    }

    #[getter]
    fn noise_levels(&self) -> (f64, f64) {
        self.0.noise_levels().into()
    }

    #[getter]
    fn can_classify(&self) -> bool {
        self.0.can_classify()
    }

    #[getter]
    fn can_denoise(&self) -> bool {
        self.0.can_denoise()
    }

    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::document(py, self.0.info())
    }

    /// The number of a class, by its name or its number as text.
    fn class_index(&self, class: &str) -> PyResult<usize> {
        self.0.class(class).map_err(|error| error.into_python())
    }

    fn classify<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Input>,
        level: Option<f64>,
        estimate: bool,
        top: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let found = self.classifications(py, &inputs, noise(level, estimate))?;
        let document = |found: Classification| {
            values::document(py, &found.truncated(top.unwrap_or(usize::MAX)))
        };
        PyList::new(py, found.into_iter().map(document).collect::<PyResult<Vec<_>>>()?)
    }

    fn probabilities<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Input>,
        level: Option<f64>,
        estimate: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.classifications(py, &inputs, noise(level, estimate))?;
        let (count, classes) = (found.len(), self.0.classes().len());
        let mut probs = vec![0.0_f32; count * classes];
        for (found, probs) in found.iter().zip(probs.chunks_mut(classes.max(1))) {
            found.classes.iter().for_each(|class| probs[class.index] = class.probability);
        }
        arrays::make(py, &probs, &[count, classes])
    }

    fn denoise<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Input>,
        level: (Option<f64>, bool),
        class: Option<usize>,
        strength: Option<(f64, f64)>,
    ) -> PyResult<(Bound<'py, PyList>, Vec<f64>)> {
        let noise = noise(level.0, level.1);
        let plain = class.is_none() && strength.is_none();
        let strength =
            strength.map_or_else(Strength::default, |(luma, chroma)| Strength { luma, chroma });
        let (arrays, sigmas) = self.on(py, &inputs, |images, parts, stop| {
            let found = if plain && images.len() > 1 {
                in_pieces(&images, stop, |images| self.0.denoise_batch(images, noise))?
            } else {
                let mut found = Vec::with_capacity(images.len());
                for image in images {
                    let monitor = &mut Stop(stop.clone());
                    let denoised = self.0.denoise_by(image, noise, class, strength, monitor)?;
                    let Some(denoised) = denoised else { break };
                    found.push(denoised);
                }
                found
            };
            let sigmas = found.iter().map(|found| found.sigma).collect::<Vec<_>>();
            let images = found.into_iter().map(|found| found.into_image()).collect();
            Ok((images::back(images, &parts), sigmas))
        })?;
        Ok((list(py, arrays)?, sigmas))
    }

    fn score<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Input>,
        sigma: f64,
    ) -> PyResult<Bound<'py, PyList>> {
        let arrays = self.on(py, &inputs, |images, mut parts, stop| {
            let one = |images: &[Image]| images.iter().map(|y| self.0.score(y, sigma)).collect();
            let found = in_pieces(&images, stop, one)?;
            parts.iter_mut().for_each(|part| part.1 = Kind::Floats);
            Ok(images::back(found, &parts))
        })?;
        list(py, arrays)
    }

    fn log_prob<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Input>,
        sigma: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.on(py, &inputs, |images, _, stop| {
            let one = |y: &[Image]| y.iter().map(|y| self.0.log_density(y, sigma)).collect();
            in_pieces(&images, stop, one)
        })?;
        arrays::make(py, &found, &[found.len()])
    }

    fn explain<'py>(
        &self,
        py: Python<'py>,
        input: Input,
        classes: Vec<usize>,
        sigma: f64,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let found = self.on(py, &[input], |images, parts, _| {
            let [image] = &images[..] else { return Ok(None) };
            Ok(Some((self.0.explain_classes(image, &classes, sigma)?, parts[0].1)))
        })?;
        let Some((found, kind)) = found else {
            return Err(usage("expected one image"));
        };
        found.into_iter().map(|found| explanation(py, found, kind, self.0.classes())).collect()
    }

    fn estimate_noise(&self, py: Python<'_>, inputs: Vec<Input>) -> PyResult<Vec<f64>> {
        self.on(py, &inputs, |images, _, stop| {
            in_pieces(&images, stop, |images| {
                let level = |image: &Image| {
                    let values = image.values();
                    match values.iter().position(|value| !value.is_finite()) {
                        Some(index) => {
                            Err(PredictError::NotFiniteImage { index, found: values[index] })
                        }
                        None => Ok(self.0.estimate_sigma(image, "image")),
                    }
                };
                images.iter().map(level).collect()
            })
        })
    }
}

/// The flag that stops the work, as a monitor of its own.
struct Stop(Arc<AtomicBool>);

impl miyasawa::progress::Monitor for Stop {
    fn stop(&self) -> bool {
        self.0.stop()
    }
}

fn list(py: Python<'_>, arrays: Vec<Array>) -> PyResult<Bound<'_, PyList>> {
    let arrays: PyResult<Vec<_>> = arrays.into_iter().map(|array| array.into_numpy(py)).collect();
    PyList::new(py, arrays?)
}

/// The document of an explanation with its images.
fn explanation<'py>(
    py: Python<'py>,
    found: Explanation,
    kind: Kind,
    classes: &[String],
) -> PyResult<Bound<'py, PyDict>> {
    let document = values::document(py, &found)?.cast_into::<PyDict>()?;
    document.set_item("class", &classes[found.label])?;
    let Explanation { denoised, class_denoised, difference, gradient, .. } = found;
    for (name, image, kind) in [
        ("denoised", denoised, kind),
        ("class_denoised", class_denoised, kind),
        ("difference", difference, Kind::Floats),
        ("gradient", gradient, Kind::Floats),
    ] {
        document.set_item(name, images::array(vec![image], kind).into_numpy(py)?)?;
    }
    Ok(document)
}
