//! Processes that take messages, killed at any point: each message is delivered at least once, and those of one correlation id in
//! order.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use backroom::{
    Backroom, Json,
    clock::{Clock as _, SystemClock},
};

const URL_VARIABLE: &str = "BACKROOM_TEST_TAKER_URL";
const FILE_VARIABLE: &str = "BACKROOM_TEST_TAKER_FILE";
/// The test of this name in the same program is the taker.
const PROCESS: &str = "taker_process";
const TAKERS: usize = 3;
const KILLS: usize = 12;
const KEYS: usize = 7;
const MESSAGES: usize = 210;

/// Takes messages until it is killed, if this process was started for that. It writes down what it has before it acknowledges.
pub(crate) fn take_if_asked() {
    let (Ok(url), Ok(file)) = (std::env::var(URL_VARIABLE), std::env::var(FILE_VARIABLE)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let backroom = Backroom::open(&url).await.unwrap();
        let mut file = OpenOptions::new().append(true).open(file).unwrap();
        // Short, so that what a killed taker had comes back soon.
        let replies = backroom.replies("orders").lease(Duration::from_millis(300));
        loop {
            let taken = replies.take_wait(4, Duration::from_secs(60)).await.unwrap();
            for message in taken.messages() {
                let body = &message.message.body;
                let key = body.correlation_id.as_deref().unwrap();
                // One write each, so that lines of several processes do not mix.
                file.write_all(format!("{key} {}\n", body.meta["number"]).as_bytes()).unwrap();
            }
            taken.acknowledge().await.unwrap();
        }
    });
}

fn begin(url: &str, file: &Path) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args([PROCESS, "--exact", "--nocapture"]).env(URL_VARIABLE, url).env(FILE_VARIABLE, file);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Kills takers while messages are written; in the end none is missing and none came out of order.
pub(crate) async fn killed_takers_lose_nothing(url: &str) {
    let clock = SystemClock::default();
    let backroom = Backroom::open(url).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivered");
    File::create(&path).unwrap();
    let mut takers: Vec<Child> = (0..TAKERS).map(|_| begin(url, &path)).collect();
    for number in 0..MESSAGES {
        let job = backroom
            .enqueue_untyped("never_run", Json::null())
            .reply_to("orders")
            .correlation_id(format!("order-{}", number % KEYS))
            .meta("number", number.to_string())
            .await
            .unwrap();
        job.cancel().await.unwrap();
        if number % (MESSAGES / KILLS) == 0 {
            let victim = (number / (MESSAGES / KILLS)) % TAKERS;
            takers[victim].kill().unwrap();
            takers[victim].wait().unwrap();
            takers[victim] = begin(url, &path);
        }
    }
    let until = clock.monotonic() + Duration::from_secs(60);
    while backroom.reply_queues().await.unwrap().iter().any(|queue| queue.messages > 0) {
        assert!(clock.monotonic() < until, "messages are left: {:?}", backroom.reply_queues().await);
        clock.sleep(Duration::from_millis(50)).await;
    }
    for taker in &mut takers {
        assert!(taker.try_wait().unwrap().is_none(), "a taker ended by itself");
        taker.kill().unwrap();
        taker.wait().unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut seen, mut order) = (BTreeSet::new(), BTreeMap::<&str, Vec<usize>>::new());
    for line in text.lines() {
        let (key, number) = line.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        if seen.insert(number) {
            order.entry(key).or_default().push(number);
        }
    }
    assert_eq!(seen.len(), MESSAGES, "every message was delivered");
    for (key, numbers) in order {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    backroom.close().await.unwrap();
}
