//! What clients were promised, and which messages arrived.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

/// What the clients were promised by answers that they read.
#[derive(Debug, Clone, Default)]
pub(super) struct Promised {
    pub(super) jobs: HashSet<String>,
    /// Jobs whose messages go to the reply queue.
    pub(super) replies: HashSet<String>,
    /// Jobs with a callback.
    pub(super) callbacks: HashSet<String>,
    /// For each correlation id the jobs of which each was enqueued after the end of the one before.
    chains: HashMap<String, Vec<String>>,
}

/// A message of the reply queue.
#[derive(Debug, Clone)]
struct Arrived {
    /// The correlation id, or the job's id.
    key: String,
    job: String,
    about: String,
    attempt: u64,
}

#[derive(Default)]
pub(super) struct Ledger {
    answers: AtomicUsize,
    promised: Mutex<Promised>,
    /// In the order in which takers got them, each once.
    arrived: Mutex<(Vec<Arrived>, HashSet<String>)>,
}

impl Ledger {
    /// A request was answered.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of the jobs that are enqueued one after the other have been answered.
    pub(super) fn links(&self) -> usize {
        self.promised.lock().unwrap().chains.values().map(Vec::len).sum()
    }

    /// Requests that were answered.
    pub(super) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn promised(&self) -> Promised {
        self.promised.lock().unwrap().clone()
    }

    pub(super) fn promised_callbacks(&self) -> usize {
        self.promised.lock().unwrap().callbacks.len()
    }

    /// The 2xx of a job was read.
    pub(super) fn job(&self, id: &str) {
        self.promised.lock().unwrap().jobs.insert(id.into());
    }

    pub(super) fn with_reply(&self, id: &str) {
        self.promised.lock().unwrap().replies.insert(id.into());
    }

    pub(super) fn with_callback(&self, id: &str) {
        self.promised.lock().unwrap().callbacks.insert(id.into());
    }

    pub(super) fn chained(&self, correlation: &str, id: &str) {
        let mut promised = self.promised.lock().unwrap();
        promised.chains.entry(correlation.into()).or_default().push(id.into());
    }

    /// A taker has these messages, and has not acknowledged them yet.
    pub(super) fn arrived(&self, messages: &[Value]) {
        let mut arrived = self.arrived.lock().unwrap();
        for message in messages {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let body = &message["body"];
            let (id, job) = (text(&message["id"]), text(&body["job_id"]));
            // Every message is delivered at least once; the first time counts.
            if arrived.1.insert(id.clone()) {
                let key = body["correlation_id"].as_str().unwrap_or(&job).to_owned();
                let attempt = body["attempt"].as_u64().unwrap();
                arrived.0.push(Arrived { key, job, about: text(&body["type"]), attempt });
            }
        }
    }

    /// How many of these jobs have sent no message of their end.
    pub(super) fn missing_replies(&self, jobs: &HashSet<String>) -> usize {
        let arrived = self.arrived.lock().unwrap();
        let ended: HashSet<&String> = arrived
            .0
            .iter()
            .filter(|message| message.about == "completed")
            .map(|message| &message.job)
            .collect();
        jobs.iter().filter(|job| !ended.contains(job)).count()
    }

    /// The messages of each job came in the order of its life, and those of each correlation id in the order of its jobs.
    pub(super) fn check_order(&self) {
        let (arrived, promised) = (self.arrived.lock().unwrap(), self.promised());
        let mut of_job: HashMap<&str, Vec<&Arrived>> = HashMap::new();
        let mut of_key: HashMap<&str, Vec<&str>> = HashMap::new();
        for message in &arrived.0 {
            of_job.entry(&message.job).or_default().push(message);
            of_key.entry(&message.key).or_default().push(&message.job);
        }
        for job in &promised.replies {
            let messages = &of_job[job.as_str()];
            let (last, starts) = messages.split_last().unwrap();
            assert_eq!(last.about, "completed", "{messages:?}");
            assert!(!starts.is_empty(), "no message says that the job has started: {messages:?}");
            assert!(starts.iter().all(|message| message.about == "started"), "{messages:?}");
            assert!(messages.is_sorted_by_key(|message| message.attempt), "{messages:?}");
        }
        assert!(!promised.chains.is_empty());
        for (correlation, jobs) in &promised.chains {
            let places: HashMap<&str, usize> =
                jobs.iter().enumerate().map(|(place, job)| (job.as_str(), place)).collect();
            // A job whose answer was cut off stands in no chain; it was the last one of its correlation id.
            let came: Vec<usize> = of_key[correlation.as_str()]
                .iter()
                .map(|job| *places.get(job).unwrap_or(&jobs.len()))
                .collect();
            assert!(came.is_sorted(), "messages of {correlation} came out of order: {came:?}");
        }
    }
}
