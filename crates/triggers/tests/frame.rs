//! What the frame does with a source that fails, by a clock that the test moves.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use backroom::{Options, testing::TestClock};
use backroom_triggers::{
    Activity, Bounds, Delivery, Mapping, Outcome, RunningTriggers, Settled, Source, SourceContext,
    SourceError, Triggers, admin,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A source to which nothing ever comes, and which fails when the test says so.
struct Line {
    opened: UnboundedSender<()>,
    cuts: UnboundedReceiver<()>,
}

#[async_trait::async_trait]
impl Source for Line {
    fn kind(&self) -> &'static str {
        "line"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        serde_json::Value::Null
    }

    async fn open(&mut self, _: &SourceContext) -> Result<(), SourceError> {
        self.opened.send(()).unwrap();
        Ok(())
    }

    async fn next(&mut self, _: Bounds) -> Result<Vec<Delivery>, SourceError> {
        self.cuts.recv().await.unwrap();
        Err(SourceError::new("read the line: it was cut"))
    }

    async fn settle(&mut self, _: Vec<Settled>) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A source that delivers one message at each opening, and again until it can be settled.
struct Unsettled {
    opened: UnboundedSender<()>,
    is_delivered: bool,
    /// Whether it can be settled.
    settles: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl Source for Unsettled {
    fn kind(&self) -> &'static str {
        "unsettled"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        serde_json::Value::Null
    }

    async fn open(&mut self, _: &SourceContext) -> Result<(), SourceError> {
        self.is_delivered = false;
        self.opened.send(()).unwrap();
        Ok(())
    }

    async fn next(&mut self, _: Bounds) -> Result<Vec<Delivery>, SourceError> {
        if std::mem::replace(&mut self.is_delivered, true) {
            return Err(SourceError::new("read the source: it was cut"));
        }
        Ok(vec![Delivery::new("1", "{}")])
    }

    async fn settle(&mut self, _: Vec<Settled>) -> Result<(), SourceError> {
        if self.settles.load(SeqCst) { Ok(()) } else { Err(SourceError::new("acknowledge: it is forbidden")) }
    }
}

/// Lets the tasks of the frame go on until all of them wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Cuts the line, and answers how long the frame waits until it opens the source again.
async fn wait_after_a_cut(
    clock: &TestClock,
    triggers: &RunningTriggers,
    cut: &UnboundedSender<()>,
    opened: &mut UnboundedReceiver<()>,
) -> Duration {
    cut.send(()).unwrap();
    wait_after_a_failure(clock, triggers, "it was cut", opened).await
}

/// Answers how long the frame waits after this failure until it opens the source again.
async fn wait_after_a_failure(
    clock: &TestClock,
    triggers: &RunningTriggers,
    failure: &str,
    opened: &mut UnboundedReceiver<()>,
) -> Duration {
    let step = Duration::from_millis(250);
    settle().await;
    let status = triggers.status("in").unwrap();
    assert_eq!(status.activity, Activity::Failing);
    assert!(status.error.unwrap().contains(failure));
    let mut waited = Duration::ZERO;
    while opened.try_recv().is_err() {
        assert!(waited < Duration::from_secs(120), "it is not opened again");
        clock.advance(step);
        waited += step;
        settle().await;
    }
    waited
}

#[tokio::test]
async fn a_source_that_was_sound_for_long_is_tried_again_at_once_although_nothing_came() {
    let clock = Arc::new(TestClock::default());
    let backroom = Options::new().clock(Arc::clone(&clock) as _).open("memory:").await.unwrap();
    let (sender, mut opened) = unbounded_channel();
    let (cut, cuts) = unbounded_channel();
    let line = Line { opened: sender, cuts };
    let mapping = Mapping::kind("any").build().unwrap();
    let triggers = Triggers::new(&backroom).add("in", line, mapping).start().await.unwrap();
    opened.recv().await.unwrap();
    settle().await;
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(wait_after_a_cut(&clock, &triggers, &cut, &mut opened).await);
    }
    assert!(waits[0] <= Duration::from_secs(2), "{waits:?}");
    assert!(waits[1..].iter().zip(&waits).all(|(next, before)| next > before), "each is longer: {waits:?}");
    // Less than what takes it for sound changes nothing.
    clock.advance(Duration::from_secs(60));
    settle().await;
    let wait = wait_after_a_cut(&clock, &triggers, &cut, &mut opened).await;
    assert!(wait >= Duration::from_secs(25), "{wait:?}");
    clock.advance(Duration::from_secs(601));
    settle().await;
    let wait = wait_after_a_cut(&clock, &triggers, &cut, &mut opened).await;
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    triggers.stop().await;
}

#[tokio::test]
async fn a_source_that_delivers_but_cannot_be_settled_is_tried_less_and_less_often() {
    let clock = Arc::new(TestClock::default());
    let backroom = Options::new().clock(Arc::clone(&clock) as _).open("memory:").await.unwrap();
    let (sender, mut opened) = unbounded_channel();
    let settles = Arc::new(AtomicBool::new(false));
    let source = Unsettled { opened: sender, is_delivered: false, settles: Arc::clone(&settles) };
    let mapping = Mapping::kind("any").build().unwrap();
    let triggers = Triggers::new(&backroom).add("in", source, mapping).start().await.unwrap();
    opened.recv().await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(wait_after_a_failure(&clock, &triggers, "it is forbidden", &mut opened).await);
    }
    assert!(waits[1..].iter().zip(&waits).all(|(next, before)| next > before), "each is longer: {waits:?}");
    let counters = triggers.status("in").unwrap().counters;
    assert_eq!((counters.enqueued, counters.duplicates), (1, 5), "it is one job");
    // The next opening finds that it can be settled; what fails afterwards is a new failure.
    settles.store(true, SeqCst);
    wait_after_a_failure(&clock, &triggers, "it is forbidden", &mut opened).await;
    let wait = wait_after_a_failure(&clock, &triggers, "it was cut", &mut opened).await;
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    triggers.stop().await;
}

#[tokio::test]
async fn a_large_body_is_in_its_dead_letter_and_can_be_replayed_but_not_one_without_measure() {
    const MIB: usize = 1024 * 1024;
    let backroom = Options::new().open("memory:").await.unwrap();
    let text = |bytes: usize| format!(r#"{{"n":7,"x":"{}"}}"#, "x".repeat(bytes));
    let take = async |mapping: Mapping, id: &str, bytes: usize| {
        let triggers = Triggers::new(&backroom).add_pushed("in", "hook", serde_json::Value::Null, mapping);
        let triggers = triggers.start().await.unwrap();
        let taken = triggers.intake("in").unwrap().take(&[Delivery::new(id, text(bytes))]).await.unwrap();
        triggers.stop().await;
        taken.into_iter().next().unwrap()
    };
    let whole = || Mapping::kind("any").build().unwrap();
    let Outcome::Refused { dead_letter, has_body: true, .. } = take(whole(), "1", 15 * MIB).await else {
        panic!("args may have 1 MiB")
    };
    let letter = admin::dead_letter(&backroom, dead_letter).await.unwrap();
    assert_eq!(letter.body, Some(text(15 * MIB).into_bytes()));
    let Outcome::Refused { dead_letter: larger, has_body: false, .. } = take(whole(), "2", 17 * MIB).await
    else {
        panic!("it is larger than a dead letter stores")
    };
    let letter = admin::dead_letter(&backroom, larger).await.unwrap();
    assert_eq!((letter.body, letter.body_bytes as usize), (None, text(17 * MIB).len()));
    // The mapping is mended: it takes a part of the body.
    take(Mapping::kind("any").pointer("/n").build().unwrap(), "3", 1).await;
    let replayed = admin::replay(&backroom, dead_letter).await.unwrap();
    assert!(matches!(replayed, Outcome::Enqueued(_)), "{replayed:?}");
    assert!(
        admin::replay(&backroom, larger).await.unwrap_err().to_string().contains("too large to be stored")
    );
}
