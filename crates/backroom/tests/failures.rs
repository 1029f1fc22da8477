//! What a handler may return: errors of every sort by `?`, with their causes, and a time of its own to try again.

mod common;

use std::{error::Error as StdError, fmt, time::Duration};

use backroom::{AttemptEnd, Context, DisplayState, Failure, Job, State, Worker, testing::perform};
use common::fresh_stores;
use serde::{Deserialize, Serialize};

/// An error with a cause.
#[derive(Debug)]
struct Outer {
    text: &'static str,
    cause: Option<Box<Outer>>,
}

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

fn nested() -> Outer {
    let disk = Outer { text: "the disk is full", cause: None };
    let write = Outer { text: "write page 7", cause: Some(Box::new(disk)) };
    Outer { text: "save the picture", cause: Some(Box::new(write)) }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Way {
    Standard,
    Anyhow,
    Boxed,
    Text,
    String,
    NotSend,
    Discard,
    Cancel,
}

impl Job for Way {
    const KIND: &'static str = "way";
    type Output = ();
}

/// Every sort of error in one function, each by `?` alone.
async fn fails(way: Way, _: Context) -> Result<(), Failure> {
    match way {
        Way::Standard => Err(nested())?,
        Way::Anyhow => Err(anyhow::Error::new(nested()).context("make the thumbnail"))?,
        Way::Boxed => Err(Box::<dyn StdError + Send + Sync>::from(nested()))?,
        Way::Text => Err("no such picture")?,
        Way::String => Err(format!("no picture {}", 7))?,
        Way::NotSend => {
            let error: Box<dyn StdError> = nested().into();
            Err(Failure::from_dyn(&*error))?;
        }
        Way::Discard => return Err(Failure::discard(nested())),
        Way::Cancel => return Err(Failure::cancel(anyhow::anyhow!("not wanted"))),
    }
    Ok(())
}

#[tokio::test]
async fn errors_of_every_sort_fail_the_attempt_with_all_their_causes() {
    let chain = "save the picture: write page 7: the disk is full";
    for (way, expected) in [
        (Way::Standard, chain),
        (Way::Anyhow, "make the thumbnail: save the picture: write page 7: the disk is full"),
        (Way::Boxed, chain),
        (Way::Text, "no such picture"),
        (Way::String, "no picture 7"),
        (Way::NotSend, chain),
    ] {
        let done = perform(fails, way).await.unwrap();
        let attempt = &done.attempts[0];
        assert_eq!((attempt.end, attempt.error.as_str()), (AttemptEnd::Failed, expected), "{way:?}");
        assert_eq!(done.job.state, State::Queued, "{way:?}");
    }
}

#[tokio::test]
async fn causes_are_recorded_when_a_job_is_discarded_or_cancelled_as_well() {
    let done = perform(fails, Way::Discard).await.unwrap();
    assert_eq!(done.job.reason.as_deref(), Some("save the picture: write page 7: the disk is full"));
    assert_eq!(done.job.state, State::Discarded);
    let done = perform(fails, Way::Cancel).await.unwrap();
    assert_eq!((done.job.state, done.job.reason.as_deref()), (State::Cancelled, Some("not wanted")));
}

#[test]
fn a_cause_that_the_error_prints_itself_is_written_once() {
    let cause = Outer { text: "full", cause: None };
    let printed = Outer { text: "the disk is full", cause: Some(Box::new(cause)) };
    assert_eq!(Failure::from(printed).message(), "the disk is full");
    // A cause whose text merely occurs in the error is no repetition.
    let cause = Outer { text: "no", cause: None };
    let other = Outer { text: "not saved", cause: Some(Box::new(cause)) };
    assert_eq!(Failure::from(other).message(), "not saved: no");
}

#[derive(Serialize, Deserialize)]
struct Busy;

impl Job for Busy {
    const KIND: &'static str = "busy";
    type Output = ();
    const MAX_ATTEMPTS: Option<u32> = Some(2);
}

async fn busy(_: Busy, _: Context) -> Result<(), Failure> {
    Err(Failure::retry_after(Duration::from_secs(90), "429 Too Many Requests"))
}

#[tokio::test]
async fn a_handler_may_say_when_to_try_again() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Busy).await.unwrap();
        let work = async || Worker::new(&store.backroom).handle(busy).run_until_empty().await.unwrap();
        work().await;
        let row = job.status().await.unwrap();
        let now = store.backroom.clock().now();
        assert_eq!(row.scheduled_at.duration_since(row.started_at.unwrap()).as_secs(), 90);
        assert_eq!((row.shown(now), row.attempt), (DisplayState::Retrying, 1), "the attempt is charged");
        store.clock.advance(Duration::from_secs(91));
        work().await;
        let row = job.status().await.unwrap();
        assert_eq!(row.state, State::Discarded, "the attempts are spent");
        assert_eq!(row.reason.as_deref(), Some("gave up after 2 attempts: 429 Too Many Requests"));
        let attempts = store.backroom.attempts(job.id()).await.unwrap();
        assert!(attempts.iter().all(|attempt| attempt.error == "429 Too Many Requests"), "{attempts:?}");
    }
}
