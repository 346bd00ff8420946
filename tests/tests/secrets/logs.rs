//! The events that the adapters' dependencies emit through `log` and `tracing`.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Metadata, Subscriber, dispatcher};

/// Records all events of this process from now on, except ureq's at `log` level `trace`, which by design
/// contain every byte.
pub(crate) fn listen() -> Arc<Mutex<String>> {
    let heard = Arc::new(Mutex::new(String::new()));
    log::set_boxed_logger(Box::new(Listener(heard.clone()))).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    dispatcher::set_global_default(dispatcher::Dispatch::new(Listener(heard.clone()))).unwrap();
    heard
}

struct Listener(Arc<Mutex<String>>);

impl Listener {
    fn hear(&self, line: &str) {
        writeln!(self.0.lock().unwrap(), "{line}").unwrap();
    }
}

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.hear(&format!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = span.metadata().target().to_owned();
        span.record(&mut Fields(&mut line));
        self.hear(&line);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = String::new();
        values.record(&mut Fields(&mut line));
        self.hear(&line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().target().to_owned();
        event.record(&mut Fields(&mut line));
        self.hear(&line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of an event, on one line.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
