//! The clients: 64 connections that enqueue, and two that take the messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    client::{Addresses, Client},
    ledger::Ledger,
    pause,
    receiver::Receiver,
};

/// Clients that enqueue one job after the other, each after the end of the one before.
const CHAINS: usize = 24;
/// Clients that enqueue jobs with a callback, one in each request.
const SINGLES: usize = 24;
/// Clients that enqueue many jobs in each request.
const BATCHES: usize = 16;
/// Jobs in such a request.
const BATCH_JOBS: usize = 20;
/// Clients that take messages.
const TAKERS: usize = 2;
/// Most callbacks that are promised and not sent yet before clients wait: the test is to end in time.
const CALLBACKS_OPEN_MAX: usize = 300;
/// The reply queue.
const REPLIES: &str = "done";

/// The clients that run.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    stop_taking: Arc<AtomicBool>,
    enqueueing: Vec<JoinHandle<()>>,
    taking: Vec<JoinHandle<()>>,
}

/// What every client needs.
#[derive(Clone)]
struct Common {
    addresses: Addresses,
    ledger: Arc<Ledger>,
    receiver: Receiver,
    stop: Arc<AtomicBool>,
}

impl Load {
    pub(super) fn start(addresses: &Addresses, ledger: &Arc<Ledger>, receiver: &Receiver) -> Self {
        let (stop, stop_taking) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let common = |stop: &Arc<AtomicBool>| Common {
            addresses: addresses.clone(),
            ledger: Arc::clone(ledger),
            receiver: receiver.clone(),
            stop: Arc::clone(stop),
        };
        let spawn = |client: fn(&Common, usize), number: usize, stop: &Arc<AtomicBool>| {
            let common = common(stop);
            std::thread::spawn(move || client(&common, number))
        };
        let kinds = [(CHAINS, chain as fn(&Common, usize)), (SINGLES, single), (BATCHES, batch)];
        let clients =
            kinds.into_iter().flat_map(|(count, client)| (0..count).map(move |number| (client, number)));
        let enqueueing = clients.map(|(client, number)| spawn(client, number, &stop)).collect();
        let taking = (0..TAKERS).map(|number| spawn(take, number, &stop_taking)).collect();
        Self { stop, stop_taking, enqueueing, taking }
    }

    /// The clients that enqueue end. The others go on until the load is stopped.
    pub(super) fn stop_enqueueing(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(self) {
        self.stop_enqueueing();
        self.stop_taking.store(true, Ordering::Relaxed);
        for client in self.enqueueing.into_iter().chain(self.taking) {
            client.join().unwrap();
        }
    }
}

impl Common {
    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits while many callbacks are on their way.
    fn wait_for_callbacks(&self) {
        while !self.is_stopping()
            && self.ledger.promised_callbacks() > self.receiver.calls() + CALLBACKS_OPEN_MAX
        {
            pause(Duration::from_millis(5));
        }
    }

    fn callback(&self) -> Value {
        json!({"url": self.receiver.url()})
    }
}

/// A job of the kind that the servers run.
fn job(number: usize) -> Value {
    json!({"kind": "bench_noop", "queue": "bench", "args": {"number": number}})
}

/// What a job of this answer is called, if it is one that promises the job.
fn stored(answer: &crate::serve_support::Answer) -> Option<Value> {
    match answer.status {
        200 | 202 => Some(answer.json()),
        // A server that was killed a moment ago may have left a store that the next one is still opening.
        503 => None,
        _ => panic!("{}: {}", answer.status, answer.text()),
    }
}

/// Enqueues one job after the end of the one before, all with one correlation id. After an answer that was cut off it goes on
/// with another id: it does not know whether that job exists.
fn chain(common: &Common, client: usize) {
    let mut http = Client::new(&common.addresses, client);
    let (mut number, mut generation) = (0, 0);
    while !common.is_stopping() {
        number += 1;
        let correlation = format!("chain {client}.{generation}");
        let mut job = job(number);
        job["reply"] = json!({"to": REPLIES, "correlation_id": correlation, "on": ["started", "completed"]});
        // Before the backlog of the other clients: a chain goes on only when its job has ended.
        job["priority"] = json!(0);
        let answer = http.post("/v1/jobs?wait=20s", &job);
        let Some(answer) = answer.ok().as_ref().and_then(stored) else {
            generation += 1;
            pause(Duration::from_millis(20));
            continue;
        };
        let id = answer["id"].as_str().unwrap();
        common.ledger.answered();
        common.ledger.job(id);
        common.ledger.with_reply(id);
        common.ledger.chained(&correlation, id);
        if answer["state"] != "completed" && !ends(common, &mut http, id) {
            return;
        }
    }
}

/// Whether the job ends before the test does.
fn ends(common: &Common, http: &mut Client, id: &str) -> bool {
    while !common.is_stopping() {
        match http.get(&format!("/v1/jobs/{id}?wait=5s")) {
            Ok(answer) if answer.status == 200 && answer.json()["state"] == "completed" => return true,
            Ok(answer) => assert!([200, 503].contains(&answer.status), "{id}: {}", answer.text()),
            Err(_) => pause(Duration::from_millis(20)),
        }
    }
    false
}

/// Enqueues jobs with a callback.
fn single(common: &Common, client: usize) {
    let mut http = Client::new(&common.addresses, client);
    let mut number = 0;
    while !common.is_stopping() {
        common.wait_for_callbacks();
        number += 1;
        let mut job = job(number);
        job["callback"] = common.callback();
        match http.post("/v1/jobs", &job).ok().as_ref().and_then(stored) {
            Some(answer) => {
                let id = answer["id"].as_str().unwrap();
                common.ledger.answered();
                common.ledger.with_callback(id);
                common.ledger.job(id);
            }
            None => pause(Duration::from_millis(20)),
        }
    }
}

/// Enqueues many jobs at once: the first with a reply queue, the second with a callback.
fn batch(common: &Common, client: usize) {
    let mut http = Client::new(&common.addresses, client);
    while !common.is_stopping() {
        common.wait_for_callbacks();
        let mut jobs: Vec<Value> = (0..BATCH_JOBS).map(job).collect();
        jobs[0]["reply"] = json!({"to": REPLIES, "on": ["started", "completed"]});
        jobs[1]["callback"] = common.callback();
        match http.post("/v1/jobs/batch", &json!(jobs)).ok().as_ref().and_then(stored) {
            Some(answer) => {
                let ids: Vec<&str> = answer["jobs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|job| job["id"].as_str().unwrap())
                    .collect();
                assert_eq!(ids.len(), BATCH_JOBS, "{answer}");
                common.ledger.answered();
                common.ledger.with_reply(ids[0]);
                common.ledger.with_callback(ids[1]);
                ids.iter().for_each(|id| common.ledger.job(id));
            }
            None => pause(Duration::from_millis(20)),
        }
    }
}

/// Takes messages and acknowledges them.
fn take(common: &Common, client: usize) {
    let mut http = Client::new(&common.addresses, client);
    while !common.is_stopping() {
        let wanted = json!({"limit": 200, "wait_ms": 300, "lease_ms": 5000});
        let taken = http.post(&format!("/v1/replies/{REPLIES}/take"), &wanted);
        let Some(taken) = taken.ok().as_ref().and_then(stored) else {
            pause(Duration::from_millis(20));
            continue;
        };
        let messages = taken["messages"].as_array().unwrap();
        common.ledger.arrived(messages);
        let ids: Vec<&Value> = messages.iter().map(|message| &message["id"]).collect();
        // An acknowledgement that is cut off is made up for by another delivery.
        let _ = http.post(
            &format!("/v1/replies/{REPLIES}/acknowledge"),
            &json!({"lease": taken["lease"], "ids": ids}),
        );
    }
}
