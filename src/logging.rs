//! Logs: lines for people or JSON for collectors, on standard error. Standard output is
//! for what a command was asked for.
//!
//! Whoever reads them may stop, and then writing waits for ever once the pipe is full. So a thread of the log's own
//! writes, and whoever has something to say never waits: a line that finds no room is lost, and that is told.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing_subscriber::EnvFilter;

use crate::config;
use crate::config::LogFormat;

/// Lines that may wait: a burst, at some hundred bytes each.
const WAITING_MAX: usize = 1024;

/// How long the end of the process waits for its last lines.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The way to the log's thread. Clones are the same.
#[derive(Clone)]
pub struct Log {
    entries: Sender<Entry>,
    /// Lines that found no room, and of which nothing has been said yet.
    lost: Arc<AtomicU64>,
}

enum Entry {
    Line(Vec<u8>),
    /// Never sent to: it is dropped when everything before it has been written.
    Mark(#[expect(dead_code, reason = "it is dropped")] Sender<Infallible>),
}

/// Starts logging for the whole process. Called once.
///
/// # Errors
///
/// When the thread cannot be had.
pub fn start(settings: &config::Log) -> io::Result<Log> {
    let (log, entries) = Log::new();
    let lost = log.lost.clone();
    thread::Builder::new().name("log".into()).spawn(move || write_all(&entries, &lost, io::stderr()))?;
    let (filter, way) = (filter(settings.level.as_str()), log.clone());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || way.clone()).with_target(false);
    match settings.format {
        LogFormat::Text => subscriber.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(log)
}

/// What Ringway itself says. Libraries say for themselves what whoever uses them says as well, with it messages of
/// clients, or passwords, and as often as somebody outside makes them.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("ringway={level}"))
}

fn write_all(entries: &Receiver<Entry>, lost: &AtomicU64, mut to: impl Write) {
    for entry in entries {
        if let Entry::Line(line) = entry {
            // There is nobody to whom it could be said.
            let _ = to.write_all(&line);
        }
        if entries.is_empty() {
            let lines = lost.swap(0, Relaxed);
            if lines > 0 {
                tracing::warn!(lines, "the log was not read in time: lines are missing here");
            }
        }
    }
}

impl Log {
    fn new() -> (Self, Receiver<Entry>) {
        let (entries, end) = bounded(WAITING_MAX);
        (Self { entries, lost: Arc::default() }, end)
    }

    /// Waits until everything said so far has been written, but no longer than a moment.
    pub fn flush(&self) {
        let (mark, reached) = bounded(0);
        let until = Instant::now() + LAST_WORDS;
        if self.entries.send_deadline(Entry::Mark(mark), until).is_ok() {
            let _ = reached.recv_deadline(until);
        }
    }
}

/// Takes one whole line at a time, as the subscriber writes them.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_logs_never_waits_and_what_finds_no_room_is_counted() {
        let (mut log, entries) = Log::new();
        (0..WAITING_MAX + 3).for_each(|_| log.write_all(b"a line\n").expect("it never fails"));
        assert_eq!((entries.len(), log.lost.load(Relaxed)), (WAITING_MAX, 3));
        Log::flush(&log);
    }

    #[test]
    fn libraries_are_not_heard() {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter("trace")).finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(target: "ringway", tracing::Level::TRACE));
            assert!(!tracing::enabled!(target: "h2::proto::streams", tracing::Level::ERROR));
        });
    }

    #[test]
    fn what_was_said_is_written_in_order_before_a_flush_is_over() {
        let (mut log, entries) = Log::new();
        let (mut read, written) = io::pipe().expect("a pipe");
        let lost = log.lost.clone();
        let writer = thread::spawn(move || write_all(&entries, &lost, written));
        log.write_all(b"one\n").expect("it never fails");
        log.write_all(b"two\n").expect("it never fails");
        Log::flush(&log);
        drop(log);
        writer.join().expect("it ends with the last who can log");
        assert_eq!(io::read_to_string(&mut read).expect("text"), "one\ntwo\n");
    }
}
