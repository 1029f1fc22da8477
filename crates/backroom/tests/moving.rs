//! Moving a store into another: every pair of kinds moves the same jobs.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::sync::{Arc, Mutex};

use backroom::{
    Backroom, Job, JobId, Json, Retention, RetentionLimit, RunningWorker, Schedule, State, TriggerOptions,
    UniqueRule, Worker, WorkflowContext,
    store::{
        Compared, Copied, DeadLetter, Prune, Store, TriggerHold, TriggerPause, TriggerReader, WriteState,
        copy_jobs, copy_queues, copy_schedules, copy_triggers,
    },
};
use common::{Act, act, fresh_stores, soon};

/// Jobs in several states, with attempts and logs, more than fit one page.
async fn fill(backroom: &Backroom) -> Vec<JobId> {
    let worker = Worker::new(backroom).queue("done", 4).handle(act);
    let worker = worker
        .handle_untyped("talk", async |_, ctx: backroom::Context| {
            ctx.log("one");
            ctx.log("two");
            Ok(Json::null())
        })
        .start()
        .await
        .unwrap();
    let done = [Act::Succeed, Act::Discard, Act::Cancel, Act::SnoozeOnce, Act::Fail];
    for args in done {
        backroom.enqueue(args).queue("done").await.unwrap();
    }
    let talk = backroom.enqueue_untyped("talk", Json::null()).queue("done").await.unwrap();
    soon("the talk", talk.finished()).await.unwrap();
    worker.stop().await.unwrap();
    let keyed = backroom.enqueue(Act::Succeed).unique(UniqueRule::by_key("k")).tag("t").await.unwrap();
    backroom.enqueue_many((0..120).map(|_| Act::Succeed)).queue("bulk").await.unwrap();
    backroom.pause("bulk").await.unwrap();
    let keep =
        Retention { completed: RetentionLimit { age_secs: Some(77), count: None }, ..Retention::default() };
    backroom.retain("done", keep).await.unwrap();
    vec![keyed.id(), talk.id()]
}

#[tokio::test]
async fn schedules_come_over_with_their_state_and_their_history() {
    for (from, to) in fresh_stores().await.into_iter().zip(fresh_stores().await.into_iter().rev()) {
        let (from, to) = (&from.backroom, &to.backroom);
        from.schedules().put(Schedule::cron("0 2 * * *").name("nightly").job(&Act::Succeed)).await.unwrap();
        let trigger = async |client: &Backroom, key: &str| {
            client.schedules().trigger("nightly", TriggerOptions::default().key(key)).await.unwrap()
        };
        let done = trigger(from, "done").await;
        let live = trigger(from, "live").await;
        // It ends, and no worker takes over its end before the move.
        from.cancel(done).await.unwrap();
        copy_jobs(from.store().as_ref(), to.store().as_ref(), &|_| {}).await.unwrap();
        assert_eq!(copy_schedules(from.store().as_ref(), to.store().as_ref()).await.unwrap(), 1);
        assert_eq!(copy_schedules(from.store().as_ref(), to.store().as_ref()).await.unwrap(), 0);
        let info = to.schedules().get("nightly").await.unwrap().unwrap();
        assert_eq!(info.summary, from.schedules().get("nightly").await.unwrap().unwrap().summary);
        assert_eq!(info.going.iter().map(|entry| entry.job).collect::<Vec<_>>(), [Some(live)]);
        assert_eq!(trigger(to, "done").await, done, "its key is known there");
    }
}

#[tokio::test]
async fn triggers_come_over_with_their_state_until_a_process_reads_them_there() {
    for (from, to) in fresh_stores().await.into_iter().zip(fresh_stores().await.into_iter().rev()) {
        let (from, to) = (&from.backroom, &to.backroom);
        let (source, target) = (from.store().as_ref(), to.store().as_ref());
        let now = from.clock().now();
        let write = async |store: &dyn Store, values: Vec<(String, Option<String>)>| {
            let write = WriteState { trigger: "uploads".into(), lease: None, values };
            assert!(store.write_trigger_state(Arc::new(write)).await.unwrap());
        };
        let state = async |store: &dyn Store| store.trigger_state("uploads", "", None, 5000).await.unwrap();
        source.put_trigger("uploads", Json::parse("{\"a\":1}").unwrap(), now).await.unwrap();
        let pause = TriggerPause { at: now, reason: "maintenance".into() };
        source.pause_trigger("uploads", Some(pause.clone())).await.unwrap();
        write(source, (0..2500).map(|n| (format!("f/{n:04}"), Some(n.to_string()))).collect()).await;
        let letter = DeadLetter {
            id: from.enqueue(Act::Succeed).await.unwrap().id().0,
            trigger: "uploads".into(),
            identity: "1".into(),
            reason: "no JSON".into(),
            at: now,
            delivery: Json::null(),
            body_bytes: 3,
            body: Some(b"x\0\xff".to_vec()),
        };
        source.put_dead_letters(Arc::new(vec![letter.clone()])).await.unwrap();
        assert_eq!(copy_triggers(source, target).await.unwrap(), 1);
        assert_eq!(state(target).await, state(source).await);
        let row = target.trigger("uploads").await.unwrap().unwrap();
        assert_eq!((row.paused.map(|pause| pause.reason), row.dead_letters), (Some("maintenance".into()), 1));
        assert_eq!(target.dead_letter(letter.id).await.unwrap().unwrap().body, letter.body);
        // The source went on meanwhile: a second move takes over what changed.
        write(source, vec![("f/0000".into(), None), ("f/9999".into(), Some("new".into()))]).await;
        assert_eq!(copy_triggers(source, target).await.unwrap(), 1);
        assert_eq!(state(target).await, state(source).await);
        // From here on the target has a state of its own.
        let lease = backroom::ids::Ids::seeded(1).lease();
        let status = Json::null();
        let (holder, beat_at) = ("host/1".to_owned(), now);
        let reader = TriggerReader { lease, holder, exclusive: true, beats: 1, beat_at, status };
        let hold = TriggerHold { trigger: "uploads".into(), reader, dead: None };
        target.hold_trigger(Arc::new(hold), now).await.unwrap();
        write(target, vec![("f/0001".into(), None)]).await;
        assert_eq!(copy_triggers(source, target).await.unwrap(), 0);
        assert_eq!(state(target).await.len(), 2499);
    }
}

fn is_whole(copied: &Copied) -> bool {
    copied.compared.iter().all(Compared::is_whole)
}

fn sum(copied: &Copied, of: impl Fn(&Compared) -> u64) -> u64 {
    copied.compared.iter().map(of).sum()
}

#[tokio::test]
async fn every_job_comes_over_as_it_was_and_once() {
    for (from, to) in fresh_stores().await.into_iter().zip(fresh_stores().await.into_iter().rev()) {
        let (from, to) = (&from.backroom, &to.backroom);
        fill(from).await;
        let (source, target) = (from.store().as_ref(), to.store().as_ref());
        copy_queues(source, target).await.unwrap();
        let seen = Mutex::new(Vec::new());
        let copied =
            copy_jobs(source, target, &|copied| seen.lock().unwrap().push(copied.seen)).await.unwrap();
        assert_eq!((copied.seen, copied.written, copied.refused), (127, 127, 0), "{copied:?}");
        assert_eq!(*seen.lock().unwrap(), [50, 127], "pages, the second larger");

        let list = async |store: &dyn Store| store.list(Arc::default(), None, 1000).await.unwrap();
        let jobs = list(source).await;
        assert_eq!(list(target).await, jobs);
        for job in &jobs {
            assert_eq!(target.attempts(job.id).await.unwrap(), source.attempts(job.id).await.unwrap());
            let lines = target.logs(job.id, 0, 10).await.unwrap();
            assert_eq!(lines, source.logs(job.id, 0, 10).await.unwrap());
            assert_eq!(lines.len(), if job.kind == "talk" { 2 } else { 0 });
        }
        assert_eq!(to.queues().await.unwrap(), from.queues().await.unwrap());
        let again = copy_jobs(source, target, &|_| {}).await.unwrap();
        assert_eq!((again.seen, again.written), (127, 0));
        assert!(is_whole(&copied) && is_whole(&again), "{again:?}");
    }
}

#[tokio::test]
async fn a_move_begun_again_brings_what_is_missing_and_what_went_on() {
    for (from, to) in fresh_stores().await.into_iter().zip(fresh_stores().await.into_iter().rev()) {
        let (from, to) = (&from.backroom, &to.backroom);
        let ids = fill(from).await;
        let (source, target) = (from.store().as_ref(), to.store().as_ref());
        copy_jobs(source, target, &|_| {}).await.unwrap();
        // The source was worked on after all: a job ended and another took its key.
        from.cancel(ids[0]).await.unwrap();
        let keyed = from.enqueue(Act::Succeed).unique(UniqueRule::by_key("k")).await.unwrap();
        to.delete(ids[1]).await.unwrap();

        // The new holder of the key comes before the old one has let go of it.
        let first = copy_jobs(source, target, &|_| {}).await.unwrap();
        assert_eq!((first.written, first.refused), (2, 1), "{first:?}");
        assert_eq!((sum(&first, |sum| sum.missing), is_whole(&first)), (1, false), "{first:?}");
        assert!(first.refusal.unwrap().contains(&keyed.id().to_string()));
        let second = copy_jobs(source, target, &|_| {}).await.unwrap();
        assert_eq!((second.written, second.refused), (1, 0), "{second:?}");
        assert!(is_whole(&second));

        // What goes on at the target stays as it is.
        to.cancel(keyed.id()).await.unwrap();
        let third = copy_jobs(source, target, &|_| {}).await.unwrap();
        assert_eq!((third.written, sum(&third, |sum| sum.gone_on)), (0, 1), "{third:?}");
        assert!(is_whole(&third));

        // Pruned there, it does not come back to run again.
        let prune = Prune {
            queue: "default".into(),
            state: State::Cancelled,
            finished_before: None,
            beyond: Some(0),
            limit: 10,
        };
        assert!(target.prune(Arc::new(prune), to.clock().now()).await.unwrap() > 0);
        let fourth = copy_jobs(source, target, &|_| {}).await.unwrap();
        assert_eq!(target.job(keyed.id()).await.unwrap(), None);
        assert!(sum(&fourth, |sum| sum.pruned) > 0 && is_whole(&fourth), "{fourth:?}");
    }
}

#[tokio::test]
async fn a_queue_that_the_target_knows_keeps_its_settings() {
    let stores = fresh_stores().await;
    let (from, to) = (&stores[0].backroom, &stores[1].backroom);
    from.pause("a").await.unwrap();
    from.pause("b").await.unwrap();
    to.retain("a", Retention::default()).await.unwrap();
    assert_eq!(copy_queues(from.store().as_ref(), to.store().as_ref()).await.unwrap(), 1);
    let paused: Vec<_> = to.queues().await.unwrap().iter().map(|queue| queue.paused_at.is_some()).collect();
    assert_eq!(paused, [false, true]);
}

/// A workflow with two steps and a signal between them.
#[derive(serde::Serialize, serde::Deserialize)]
struct Trip;

impl Job for Trip {
    const KIND: &'static str = "trip";
    type Output = String;
}

async fn guide(backroom: &Backroom, steps: Arc<Mutex<Vec<&'static str>>>) -> RunningWorker {
    let trip = move |_: Trip, ctx: WorkflowContext| {
        let steps = Arc::clone(&steps);
        async move {
            let note = |step: &'static str| {
                steps.lock().unwrap().push(step);
                std::future::ready(Ok(()))
            };
            ctx.step("pack").run(|| note("pack")).await?;
            ctx.publish(&"packed")?;
            let gate: u32 = ctx.wait_signal("gate").await?;
            ctx.step("fly").run(|| note("fly")).await?;
            let again = ctx.wait_signal_within::<u32>("gate", std::time::Duration::from_millis(5)).await?;
            Ok(format!("from gate {gate}, and {again:?}"))
        }
    };
    Worker::new(backroom).workflow(trip).start().await.unwrap()
}

#[tokio::test]
async fn a_workflow_goes_on_at_the_target_where_it_stood() {
    for (from, to) in fresh_stores().await.into_iter().zip(fresh_stores().await.into_iter().rev()) {
        let (from, to, clock) = (&from.backroom, &to.backroom, &to.clock);
        let steps = Arc::new(Mutex::new(Vec::new()));
        let worker = guide(from, Arc::clone(&steps)).await;
        let job = from.enqueue(Trip).await.unwrap();
        soon("it waits at the gate", async {
            while from.job(job.id()).await.unwrap().state != State::Waiting {
                tokio::task::yield_now().await;
            }
        })
        .await;
        worker.stop().await.unwrap();
        let signal = uuid::Uuid::from_u128(7);
        from.signal_as(job.id(), "gate", Json::encode(&12).unwrap(), signal).await.unwrap();
        for _ in 0..2 {
            let copied = copy_jobs(from.store().as_ref(), to.store().as_ref(), &|_| {}).await.unwrap();
            assert_eq!(
                (copied.refused, copied.compared.iter().all(Compared::is_whole)),
                (0, true),
                "{copied:?}"
            );
        }
        let journal = async |backroom: &Backroom| {
            let journal = backroom.journal(job.id()).await.unwrap().unwrap();
            (journal.header, journal.entries, journal.arrivals, journal.wake_at)
        };
        assert_eq!(journal(to).await, journal(from).await);
        // The caller of the signal lost its answer, and sends it once more.
        to.signal_as(job.id(), "gate", Json::encode(&12).unwrap(), signal).await.unwrap();
        let worker = guide(to, Arc::clone(&steps)).await;
        let moved = to.handle::<Trip>(job.id()).await.unwrap();
        common::until("it ends", async || {
            clock.advance(std::time::Duration::from_millis(10));
            common::is_finished(&moved).await
        })
        .await;
        let output = moved.wait().await.unwrap();
        assert_eq!(output, "from gate 12, and None");
        assert_eq!(*steps.lock().unwrap(), ["pack", "fly"]);
        worker.stop().await.unwrap();
    }
}
