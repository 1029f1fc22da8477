//! The log of this test process, for tests that read lines: one subscriber for all threads, those of the runtime among them.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

/// Every line from level DEBUG on, with the spans around it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The log of the process; it is listened to from the first call on.
    pub(crate) fn of_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_ansi(false)
                .without_time()
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("the first subscriber of the process");
            log
        })
    }

    /// The lines that hold `part`, of this level.
    pub(crate) fn lines(&self, level: &str, part: &str) -> Vec<String> {
        let bytes = self.0.lock().expect("the log").clone();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let is_wanted = |line: &&str| line.trim_start().starts_with(level) && line.contains(part);
        text.lines().filter(is_wanted).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
