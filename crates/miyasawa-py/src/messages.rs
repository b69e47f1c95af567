//! What the library logs, as records of Python's logger `miyasawa`.

use pyo3::prelude::*;
use std::fmt::Write as _;
use std::sync::{Mutex, Once, PoisonError};
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::{Context, Layer, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// Messages that wait until a thread of Python takes them: the threads of the library never wait
/// for the interpreter.
static WAITING: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Messages;

/// Finds the text of a message.
struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Messages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((*event.metadata().level(), text.0));
    }
}

/// Begins to collect messages, unless the process has a log already.
pub fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The decoder of JPEG XL logs what it also returns as errors.
        let targets =
            Targets::new().with_default(LevelFilter::INFO).with_target("jxl", LevelFilter::OFF);
        // Another log of the process is as good.
        let _ = tracing_subscriber::registry().with(targets).with(Messages).try_init();
    });
}

/// Hands the messages over to the logger.
pub fn hand_over(py: Python<'_>) -> PyResult<()> {
    let waiting = std::mem::take(&mut *WAITING.lock().unwrap_or_else(PoisonError::into_inner));
    if waiting.is_empty() {
        return Ok(());
    }
    let logger = py.import("logging")?.call_method1("getLogger", ("miyasawa",))?;
    for (level, text) in waiting {
        let level = match level {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        logger.call_method1("log", (level, "%s", text))?;
    }
    Ok(())
}
