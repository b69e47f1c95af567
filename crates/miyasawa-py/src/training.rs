//! Training: the library's trainer with arrays, files and callbacks.

use crate::{
    arrays,
    errors::{IntoPython as _, exception, usage},
    messages, values,
    work::{self, Caller},
};
use miyasawa::{
    data::Dataset,
    device::DeviceSpec,
    eval::EvalRow,
    image::Geometry,
    progress::Monitor,
    train::{Observer, Rollback, StepReport, TrainConfig, TrainError, Trainer},
};
use pyo3::{buffer::PyBuffer, prelude::*};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Images in bytes, (images, channels, height, width); their labels; the names of the classes.
type Arrays = (PyBuffer<u8>, PyBuffer<u32>, Vec<String>);

/// Hands the events of a run to a callback, which may end the run.
struct Events {
    callback: Option<Arc<Py<PyAny>>>,
    caller: Caller,
    /// Whether the callback wants the run to end.
    ended: Arc<AtomicBool>,
}

impl Events {
    fn send(&self, event: Value) {
        let Some(callback) = self.callback.clone() else { return };
        let ended = self.ended.clone();
        self.caller.call(move |py| {
            let answer = callback.call1(py, (values::from_json(py, &event)?,))?;
            if answer.is_truthy(py)? {
                ended.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
    }
}

impl Monitor for Events {
    fn stop(&self) -> bool {
        [&self.caller.stop, &self.ended].into_iter().any(|stop| stop.load(Ordering::Relaxed))
    }
}

impl Observer for Events {
    fn step(&mut self, report: &StepReport, total: u64) {
        let mut event = json!(report);
        event["event"] = json!("step");
        event["total"] = json!(total);
        self.send(event);
    }

    fn evaluation(&mut self, step: u64, rows: &[EvalRow]) {
        self.send(json!({"event": "evaluation", "step": step, "rows": rows}));
    }

    fn rollback(&mut self, event: &Rollback) {
        let mut found = json!(event);
        found["event"] = json!("rollback");
        self.send(found);
    }
}

fn dataset(py: Python<'_>, name: &str, (images, labels, classes): &Arrays) -> PyResult<Dataset> {
    let (pixels, [_, channels, height, width]) = arrays::read(py, images)?;
    let (labels, [_]) = arrays::read(py, labels)?;
    let geometry = Geometry::new(channels, height, width);
    let set = Dataset::new(name, geometry, classes.clone(), pixels, labels);
    set.map_err(|error| usage(error.to_string()))
}

/// Trains: returns the document of `miyasawa train --json`. `callback` gets every event as a
/// dictionary and ends the run with a checkpoint by returning True.
#[pyfunction]
#[pyo3(signature = (config, settings, out, resume, device, data, test, callback))]
#[allow(clippy::too_many_arguments, reason = "the Python function has names for them")]
pub fn train<'py>(
    py: Python<'py>,
    config: Option<PathBuf>,
    settings: Vec<String>,
    out: PathBuf,
    resume: bool,
    device: &str,
    data: Option<Arrays>,
    test: Option<Arrays>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    messages::collect();
    let of_run = Some(out.join("config.toml")).filter(|path| resume && path.exists());
    let config = TrainConfig::load(config.or(of_run).as_deref(), &settings);
    let config = config.map_err(|error| error.into_python())?;
    let device: DeviceSpec =
        device.parse().map_err(|e: miyasawa::device::DeviceError| usage(e.to_string()))?;
    let data = data.map(|arrays| dataset(py, "arrays", &arrays)).transpose()?;
    let test = test.map(|arrays| dataset(py, "test arrays", &arrays)).transpose()?;
    let callback = callback.map(Arc::new);
    let folder = out.clone();
    let found = work::beside(py, move |caller| {
        let device = device.open().map_err(|error| (true, error.to_string()))?;
        let mut builder = Trainer::builder().config(config).device(&device);
        if let Some(data) = data {
            builder = builder.data(data);
        }
        if let Some(test) = test {
            builder = builder.test(test);
        }
        let failed = |error: TrainError| (error.is_usage(), error.to_string());
        let trainer = builder.build().map_err(failed)?;
        let mut events = Events { callback, caller, ended: Arc::default() };
        trainer.run(&folder, resume, &mut events).map_err(failed)
    })?;
    let finish = found.map_err(|(is_usage, message)| {
        exception(if is_usage { "UsageError" } else { "TrainingError" }, message)
    })?;
    let document = json!({
        "model": out.join("model.safetensors").display().to_string(),
        "complete": finish.complete,
        "steps": finish.steps,
        "rows": finish.rows,
        "best": finish.best,
    });
    values::from_json(py, &document)
}
