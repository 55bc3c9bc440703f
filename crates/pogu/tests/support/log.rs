//! What a thread logs, line by line.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub message: String,
    /// The other fields as `name=value `, in their order.
    pub fields: String,
    /// The field `suppressed` of a line that stands for others.
    pub suppressed: u64,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!("{name}={value:?} "),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "suppressed" {
            self.suppressed = value;
        }
        self.record_debug(field, &value);
    }
}

/// Collects the lines of pogu.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    /// What the calling thread logs while `body` runs.
    pub fn of<R>(body: impl FnOnce() -> R) -> (R, Vec<Line>) {
        let lines = Lines::default();
        let result = tracing::subscriber::with_default(lines.clone(), body);
        let lines = std::mem::take(&mut *lines.0.lock().expect("lines"));
        (result, lines)
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("pogu")
    }

    fn event(&self, event: &Event<'_>) {
        let level = *event.metadata().level();
        let mut line = Line { level, message: String::new(), fields: String::new(), suppressed: 0 };
        event.record(&mut line);
        self.0.lock().expect("lines").push(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
