//! What differs between the brokers: how messages are published, and how the settings name what is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::{Deref, DerefMut},
    os::unix::fs::PermissionsExt as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use backroom_testbed::{Broker, BrokerKind};
use serde_json::Value;

use crate::{cli_support::Place, serve_support::Server};

/// A message to publish.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<String>,
    /// Attributes of a CloudEvent in the binary form, without a prefix.
    pub(crate) event: Vec<(String, String)>,
    /// Other headers.
    pub(crate) headers: Vec<(String, String)>,
}

impl Sent {
    pub(crate) fn new(id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), body: body.into(), ..Self::default() }
    }

    /// The message with a number as args.
    pub(crate) fn number(n: usize) -> Self {
        Self::new(&format!("m{n}"), format!("{{\"n\":{n}}}"))
    }

    pub(crate) fn numbers(numbers: std::ops::Range<usize>) -> Vec<Self> {
        numbers.map(Self::number).collect()
    }
}

/// One product of brokers.
pub(crate) trait Bench {
    const KIND: BrokerKind;
    /// Whether it loses messages that it has acknowledged when it is killed.
    const LOSES_WHEN_KILLED: bool = false;
    /// Killed within so long, it may forget what is read, although it has acknowledged that it was made.
    const FORGETS_WITHIN: Duration = Duration::ZERO;
    /// How often it is ended and started again.
    const ENDS: usize = 2;

    /// The keys of a trigger that say what it reads.
    fn source(url: &str, name: &str) -> String;

    /// Makes what is read, where the broker does not make it by itself.
    async fn make(url: &str, name: &str);

    /// Publishes messages in order, and returns when the broker has all of them.
    async fn publish(url: &str, name: &str, messages: Vec<Sent>);

    /// The reasons in the dead letters that the broker itself has, where it has such a place.
    async fn dead_letters(url: &str, name: &str) -> Option<usize>;
}

/// A broker of one test, or of several.
pub(crate) enum Bed {
    Own(Broker),
    Shared(&'static Broker),
}

impl Bed {
    fn own(kind: BrokerKind) -> Broker {
        Broker::start(kind).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// RabbitMQ takes long to start, so tests that do not end it share one.
    pub(crate) fn start(kind: BrokerKind) -> Self {
        match kind {
            BrokerKind::RabbitMq => Self::shared(kind),
            BrokerKind::Redis | BrokerKind::Nats | BrokerKind::Mosquitto => Self::Own(Self::own(kind)),
        }
    }

    /// It ends with the process of the tests.
    fn shared(kind: BrokerKind) -> Self {
        static RUNNING: Mutex<BTreeMap<BrokerKind, &'static Broker>> = Mutex::new(BTreeMap::new());
        // A test that failed while it started one leaves the map as it was.
        let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Self::Shared(running.entry(kind).or_insert_with(|| Box::leak(Box::new(Self::own(kind)))))
    }
}

impl Deref for Bed {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        match self {
            Self::Own(broker) => broker,
            Self::Shared(broker) => broker,
        }
    }
}

impl DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Broker {
        match self {
            Self::Own(broker) => broker,
            Self::Shared(_) => panic!("other tests use this broker; take one of your own: `World::alone`"),
        }
    }
}

/// A broker with a store, a folder of settings, and a place to publish to.
pub(crate) struct World<B> {
    pub(crate) broker: Bed,
    pub(crate) place: Place,
    pub(crate) name: String,
    made_at: Instant,
    runtime: tokio::runtime::Runtime,
    bench: std::marker::PhantomData<B>,
}

impl<B: Bench> World<B> {
    pub(crate) fn start() -> Self {
        Self::over(Bed::start(B::KIND))
    }

    /// With a broker that the test may end.
    pub(crate) fn alone() -> Self {
        Self::over(Bed::Own(Bed::own(B::KIND)))
    }

    #[expect(clippy::disallowed_methods, reason = "the age of what a broker has goes by real time")]
    fn over(broker: Bed) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let name = format!("in{}", COUNT.fetch_add(1, SeqCst));
        runtime.block_on(B::make(&broker.url(), &name));
        let made_at = Instant::now();
        Self { broker, place: Place::new(), name, made_at, runtime, bench: std::marker::PhantomData }
    }

    /// Kills the broker if it loses nothing by that, or else stops it.
    #[expect(clippy::disallowed_methods, reason = "the broker writes to its disk after a while")]
    pub(crate) fn end_broker(&mut self) {
        if B::LOSES_WHEN_KILLED {
            return self.broker.stop().unwrap();
        }
        std::thread::sleep(B::FORGETS_WITHIN.saturating_sub(self.made_at.elapsed()));
        self.broker.kill().unwrap();
    }

    /// Writes settings with one trigger that reads the broker at this URL, and more keys of it.
    pub(crate) fn settings(&self, url: &str, more: &str) {
        self.write_settings(&format!("[triggers.in]\n{}\n{more}\n", B::source(url, &self.name)));
    }

    pub(crate) fn write_settings(&self, text: &str) {
        let path = self.place.path("backroom.toml");
        fs::write(&path, text).unwrap();
        // It has a password.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn publish(&self, messages: Vec<Sent>) {
        self.runtime.block_on(B::publish(&self.broker.url(), &self.name, messages));
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn dead_letters(&self) -> Option<usize> {
        self.runtime.block_on(B::dead_letters(&self.broker.url(), &self.name))
    }
}

/// Every job in the order in which they were made.
pub(crate) fn jobs(place: &Place) -> Vec<Value> {
    let (mut jobs, mut before) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["jobs".to_owned(), "--limit".into(), "1000".into()];
        args.extend(before.iter().flat_map(|id| ["--before".to_owned(), id.clone()]));
        let page = place.json(args);
        jobs.extend(page["jobs"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => before = Some(next.to_owned()),
            None => break,
        }
    }
    jobs.reverse();
    jobs
}

/// The number of the newest job, if there is one.
pub(crate) fn newest(server: &Server) -> Option<usize> {
    let answer = server.get("/v1/jobs?limit=1").json();
    answer["jobs"][0]["args"]["n"].as_u64().map(|n| n as usize)
}

/// What this server has counted for a trigger, such as `trigger_errors_total`, with further labels. Its own, and as of now.
pub(crate) fn counted(server: &Server, metric: &str, trigger: &str, labels: &str) -> Option<u64> {
    let page = server.get("/metrics");
    let begin = format!("backroom_{metric}{{trigger=\"{trigger}\"{labels}}} ");
    page.text().lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok())
}

/// Longest wait. On a busy machine RabbitMQ takes a minute to start, and the trigger asks it every half a minute by then.
const LONGEST: Duration = Duration::from_secs(300);

/// Waits until what is asked for holds.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the test waits for other processes")]
pub(crate) fn until(server: &Server, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONGEST, "waited in vain until {what}: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The newest job has this number: as the order is that of the source, all before it are jobs.
#[track_caller]
pub(crate) fn until_newest(server: &Server, number: usize) {
    until(server, &format!("{number} is a job"), || newest(server) == Some(number));
}

/// Each number is one job.
#[track_caller]
pub(crate) fn each_once(place: &Place, count: usize) -> Vec<usize> {
    let numbers: Vec<usize> =
        jobs(place).iter().map(|job| job["args"]["n"].as_u64().unwrap() as usize).collect();
    let different: BTreeSet<_> = numbers.iter().collect();
    assert_eq!(different.len(), numbers.len(), "some became two jobs");
    let missing: Vec<_> = (0..count).filter(|n| !different.contains(n)).collect();
    assert!(missing.is_empty(), "{} became no job: {:?}", missing.len(), &missing[..missing.len().min(9)]);
    assert_eq!(numbers.len(), count);
    numbers
}

/// Each number is one job, in order.
#[track_caller]
pub(crate) fn each_once_in_order(place: &Place, count: usize) {
    let numbers = each_once(place, count);
    let turned = numbers.windows(2).find(|pair| pair[0] > pair[1]);
    assert_eq!(turned, None, "they are out of order");
}
