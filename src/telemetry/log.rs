//! Log set-up: text or JSON lines on standard error, written by a thread of their own.
//!
//! Promises that no thread that carries traffic ever waits for standard error: lines go through a bounded queue, and
//! what does not fit is dropped and counted. Level and format can change while the process runs; `RUST_LOG`, where
//! set, decides about levels for good.

use std::env;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Full, Json, Writer};
use tracing_subscriber::fmt::{self, FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::lines::Lines;

/// What of the log can change while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) level: Level,
    /// `None`: JSON when standard error is no terminal.
    pub(crate) format: Option<LineFormat>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    Text,
    Json,
}

/// The log of this process, as far as it can be changed.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// `None`: `RUST_LOG` decides.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
    json: Arc<AtomicBool>,
}

/// Writes the lines that are still queued when it is dropped: the server holds it until it has ended.
#[must_use]
#[derive(Debug)]
pub(crate) struct Flush(Option<WorkerGuard>);

impl Drop for Flush {
    /// Waits for two seconds at most.
    fn drop(&mut self) {
        // With nobody reading, the guard gives up after a second, and says so on standard output: often the same pipe.
        let Some(guard) = self.0.take() else { return };
        let (done, flushed) = mpsc::channel();
        thread::spawn(move || {
            drop(guard);
            // Whoever waited may have gone on.
            let _late = done.send(());
        });
        let _nobody_reads = flushed.recv_timeout(FLUSH_WITHIN);
    }
}

/// Starts the log on standard error. A second call in one process (tests) changes nothing.
pub(crate) fn start(settings: Settings) -> (LogSettings, Flush) {
    let (queue, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_LINES)
        .lossy(true)
        .thread_name("sidekey-log")
        .finish(io::stderr());
    let dropped = queue.error_counter();
    let (levels, complaint) = Levels::choose(env::var("RUST_LOG").ok().as_deref(), settings.level);
    let (log, subscriber) = build(settings, levels, Colors::of_standard_error(), queue);

    if subscriber.try_init().is_ok() {
        DROPPED.get_or_init(|| dropped);
    }
    if let Some(complaint) = complaint {
        tracing::warn!("RUST_LOG is ignored: {complaint}");
    }
    (log, Flush(Some(guard)))
}

/// How many lines were dropped because standard error did not take them in time.
pub(crate) fn lines_dropped() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}

impl LogSettings {
    /// Takes another level and format from now on.
    pub(crate) fn change(&self, settings: Settings) {
        self.json.store(settings.is_json(), Ordering::Relaxed);
        if let Some(filter) = &self.filter {
            // Fails only when the subscriber is gone: then nobody is left to read the log.
            drop(filter.reload(ours_at(settings.level)));
        }
    }
}

impl Settings {
    fn is_json(self) -> bool {
        match self.format {
            Some(format) => format == LineFormat::Json,
            None => !io::stderr().is_terminal(),
        }
    }
}

/// Who decides about levels.
#[derive(Debug)]
enum Levels {
    RustLog(EnvFilter),
    Config(EnvFilter),
}

impl Levels {
    /// `RUST_LOG` if it is set and can be read, else the config; and what is wrong with `RUST_LOG`.
    fn choose(rust_log: Option<&str>, level: Level) -> (Self, Option<String>) {
        match rust_log.filter(|text| !text.trim().is_empty()).map(EnvFilter::try_new) {
            Some(Ok(filter)) => (Self::RustLog(filter), None),
            Some(Err(error)) => (Self::Config(ours_at(level)), Some(error.to_string())),
            None => (Self::Config(ours_at(level)), None),
        }
    }
}

/// Whether lines may be colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colors {
    Yes,
    No,
}

impl Colors {
    /// On a terminal, unless `NO_COLOR` says otherwise (<https://no-color.org>).
    fn of_standard_error() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stderr().is_terminal() && !refused { Self::Yes } else { Self::No }
    }
}

/// Our own lines from `level` up. What libraries say is for their authors: warnings only, and a trace of theirs could
/// show what a request carries.
fn ours_at(level: Level) -> EnvFilter {
    let theirs = level.min(Level::WARN);
    EnvFilter::new(format!("{theirs},sidekey={level}"))
}

fn build<W>(
    settings: Settings,
    levels: Levels,
    colors: Colors,
    writer: W,
) -> (LogSettings, impl Subscriber + Send + Sync)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = match levels {
        Levels::Config(filter) => {
            let (filter, handle) = reload::Layer::new(filter);
            (filter, Some(handle))
        }
        Levels::RustLog(filter) => (reload::Layer::new(filter).0, None),
    };
    let json = Arc::new(AtomicBool::new(settings.is_json()));
    let lines = fmt::layer().event_format(EventFormat::new(Arc::clone(&json))).with_ansi(colors == Colors::Yes);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines.with_writer(Lines(writer)));
    (LogSettings { filter: handle, json }, subscriber)
}

/// Writes one event in the format of the moment.
///
/// One format that can look two ways, and not two formats that take turns: fields of open spans are kept as the format
/// that saw them open wrote them, and would be missing after the turn.
struct EventFormat {
    json: Arc<AtomicBool>,
    as_text: fmt::format::Format<Full>,
    as_json: fmt::format::Format<Json>,
}

impl EventFormat {
    fn new(json: Arc<AtomicBool>) -> Self {
        let as_json = fmt::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
        Self { json, as_text: fmt::format().with_target(false), as_json }
    }
}

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        if self.json.load(Ordering::Relaxed) {
            self.as_json.format_event(cx, writer, event)
        } else {
            self.as_text.format_event(cx, writer, event)
        }
    }
}

const FLUSH_WITHIN: Duration = Duration::from_secs(2);
/// Enough for a burst; the default of 128,000 would cost 4 MiB at start.
const QUEUED_LINES: usize = 4096;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    const TEXT: Settings = Settings { level: Level::INFO, format: Some(LineFormat::Text) };
    const JSON: Settings = Settings { level: Level::INFO, format: Some(LineFormat::Json) };

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Page {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    /// What `say` leaves on the page.
    fn written(settings: Settings, rust_log: Option<&str>, say: impl FnOnce(&LogSettings)) -> String {
        let page = Page::default();
        let (levels, _) = Levels::choose(rust_log, settings.level);
        let (log, subscriber) = build(settings, levels, Colors::No, page.clone());
        tracing::subscriber::with_default(subscriber, || say(&log));
        page.text()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let line = written(JSON, None, |_| tracing::info!(service = "payments", status = 502, "request failed"));

        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "request failed");
        assert_eq!(line["service"], "payments");
        assert_eq!(line["status"], 502);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_text_line_is_for_people() {
        let line = written(TEXT, None, |_| tracing::info!(service = "payments", "request failed"));

        let (_, behind_time) = line.split_once(' ').unwrap();
        assert_eq!(behind_time, " INFO request failed service=\"payments\"\n");
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        let line = written(TEXT, None, |_| tracing::info!("cannot read {}", "\x1b[2J"));

        assert!(line.contains(r"\x1b[2J"), "{line:?}");
    }

    #[test]
    fn nothing_in_a_line_can_mislead_the_eye() {
        let say = |_: &LogSettings| {
            tracing::info!(path = "/a\u{202e}b", "cannot read {}", "left\u{202e}right\u{200b} Łódź\u{9b}")
        };

        let text = written(TEXT, None, say);
        let json = written(JSON, None, say);

        assert!(text.contains(r"cannot read left\u{202e}right\u{200b} Łódź\"), "{text:?}");
        assert!(text.ends_with("path=\"/a\\u{202e}b\"\n"), "{text:?}");
        assert!(json.contains(r#""cannot read left\u202eright\u200b Łódź\"#), "{json:?}");
        for line in [&text, &json] {
            assert!(!line.contains(['\u{202e}', '\u{200b}', '\u{9b}']), "{line:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["path"], "/a\u{202e}b");
    }

    #[test]
    fn level_and_format_change_while_it_is_written() {
        let lines = written(TEXT, None, |log| {
            tracing::debug!("one");
            log.change(Settings { level: Level::DEBUG, format: Some(LineFormat::Json) });
            tracing::debug!("two");
            log.change(Settings { level: Level::ERROR, format: Some(LineFormat::Text) });
            tracing::warn!("three");
        });

        assert!(lines.starts_with('{') && lines.contains("two"), "{lines}");
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }

    #[test]
    fn rust_log_overrides_the_level_also_after_a_change() {
        let lines = written(TEXT, Some("sidekey=debug"), |log| {
            tracing::debug!("one");
            log.change(Settings { level: Level::ERROR, format: Some(LineFormat::Text) });
            tracing::debug!("two");
        });

        assert!(lines.contains("one") && lines.contains("two"), "{lines}");
    }

    #[test]
    fn a_rust_log_that_cannot_be_read_leaves_the_level_to_the_config() {
        let (levels, complaint) = Levels::choose(Some("sidekey=loud"), Level::INFO);

        assert!(matches!(levels, Levels::Config(_)));
        assert!(complaint.is_some_and(|text| text.starts_with("error parsing level filter")), "says what is wrong");
    }

    #[test]
    fn libraries_say_no_more_than_warnings_whatever_the_level() {
        let settings = Settings { level: Level::TRACE, format: Some(LineFormat::Text) };

        let lines = written(settings, None, |_| {
            tracing::trace!(target: "h2::codec", "send");
            tracing::trace!("ours");
        });

        assert!(!lines.contains("send") && lines.contains("ours"), "{lines}");
    }
}
