//! A call that is not repeated took effect whole or not at all.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use backroom_core::{
    Attempt, Change, Event, JobRow, LogLine, Queue,
    draft::NewJob,
    links::{ChildCancel, ChildPolicy, Parent},
    workflow::{Answer, Entry, EntryKind, EntryState, Header},
};
use futures_util::future::BoxFuture;

use super::{
    env::{Env, decide, draft, fail, lines, note, progress, succeed},
    run::{close, report},
};
use crate::{
    Error,
    store::{Call, Claim, Filter, JournalPage, JournalWrite, Note, Prune, Record, Store, Wrote},
    testing::faults::{Fault, Faults},
};

/// A writing verb, called with a batch, so that there is a half to be done.
struct Write {
    name: &'static str,
    call: for<'a> fn(&'a Env, &'a Prepared) -> BoxFuture<'a, Result<(), Error>>,
}

/// What the calls speak of.
struct Prepared {
    new: Arc<Vec<NewJob>>,
    records: Arc<Vec<Record>>,
    claim: Arc<Claim>,
    changes: Arc<Vec<Change>>,
    notes: Arc<Vec<Note>>,
    prune: Arc<Prune>,
    journals: Arc<Vec<JournalWrite>>,
}

const WRITES: &[Write] = &[
    Write {
        name: "insert",
        call: |env, p| {
            Box::pin(async { env.store.insert(Arc::clone(&p.new), env.now, Call::First).await.map(drop) })
        },
    },
    Write {
        name: "claim",
        call: |env, p| {
            Box::pin(async { env.store.claim(Arc::clone(&p.claim), env.now, Call::First).await.map(drop) })
        },
    },
    Write {
        name: "commit",
        call: |env, p| Box::pin(async { env.store.commit(Arc::clone(&p.changes)).await.map(drop) }),
    },
    Write {
        name: "note",
        call: |env, p| Box::pin(async { env.store.note(Arc::clone(&p.notes), env.now).await }),
    },
    Write {
        name: "prune",
        call: |env, p| Box::pin(async { env.store.prune(Arc::clone(&p.prune), env.at(9)).await.map(drop) }),
    },
    Write {
        name: "write_journals",
        call: |env, p| Box::pin(async { env.store.write_journals(Arc::clone(&p.journals)).await.map(drop) }),
    },
    Write {
        name: "import",
        call: |env, p| Box::pin(async { env.store.import(Arc::clone(&p.records)).await.map(drop) }),
    },
];

/// The same rows and the same batch in every store: ids and time are fixed.
async fn prepare(env: &Env) -> Prepared {
    let batch = || (0..3).map(|_| env.new_job(draft())).collect::<Vec<_>>();
    env.put_many(vec![draft(); 9]).await;
    let taken = env.claim(env.claim_of(6)).await;
    let mut finished = Vec::new();
    for job in &taken[..2] {
        finished.push(env.drive(job, succeed(job), env.now).await);
    }
    let [one, other, third] = [2, 3, 4].map(|index: usize| taken[index].clone());
    let record = |new: NewJob| Record {
        job: new.job,
        attempts: Vec::new(),
        lines: Vec::new(),
        edges: Vec::new(),
        journal: None,
    };
    let lease = one.lease_id.expect("it runs");
    let journals = vec![race_is_over(env, &taken[5]).await];
    Prepared {
        new: Arc::new(batch()),
        records: Arc::new(batch().into_iter().map(record).collect()),
        claim: Arc::new(env.claim_of(3)),
        changes: Arc::new(vec![
            decide(&one, succeed(&one), env.now),
            decide(&other, fail(&other), env.now),
            decide(&third, Event::Release { lease }, env.now),
        ]),
        notes: Arc::new(
            [one, other]
                .map(|job| note(&job, Some(progress(9, "so far")), lines(&job, 0, &["a", "b"])))
                .to_vec(),
        ),
        prune: Arc::new(Prune {
            queue: finished[0].queue.clone(),
            state: finished[0].state,
            finished_before: None,
            beyond: Some(0),
            limit: 100,
        }),
        journals: Arc::new(journals),
    }
}

/// A write that records the end of a race, begins a child and cancels another one.
async fn race_is_over(env: &Env, workflow: &JobRow) -> JournalWrite {
    let child = |key: &str| {
        let mut new = env.new_job(draft());
        let parent = Parent { workflow: workflow.id, key: key.into(), policy: ChildPolicy::Cancel };
        new.job.links.get_or_insert_default().parent = Some(parent);
        new
    };
    let (loser, next) = (child("loser"), child("next"));
    let begin = JournalWrite {
        workflow: workflow.id,
        lease: workflow.lease_id.expect("it runs"),
        revision_before: 0,
        header: Header::begin(None, env.now),
        publishes: false,
        clears: false,
        entries: Vec::new(),
        taken: Vec::new(),
        at: env.now,
        children: vec![loser.clone()],
        cancels: Vec::new(),
        args: None,
        wake_at: None,
        forgives: false,
        ties: true,
    };
    let wrote = env.store.write_journals(Arc::new(vec![begin.clone()])).await.expect("write a journal");
    assert_eq!(wrote, [Wrote::Done]);
    let state = EntryState::Closed { seq: 1, at: env.now, answer: Answer::Won { branch: 0 } };
    let (key, kind) = ("race".into(), EntryKind::Race);
    let cancel = ChildCancel { workflow: workflow.id, child: loser.job.id, reason: "it has lost".into() };
    JournalWrite {
        revision_before: 1,
        header: Header { progress: 1, ..Header::begin(None, env.now) },
        entries: vec![Entry { key, kind, state, undo: None, began_at: None, tries: 0 }],
        children: vec![next],
        cancels: vec![cancel],
        ties: false,
        ..begin
    }
}

/// All rows that these calls touch.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    jobs: Vec<JobRow>,
    attempts: Vec<Vec<Attempt>>,
    lines: Vec<Vec<LogLine>>,
    queues: Vec<Queue>,
    journals: Vec<JournalPage>,
}

async fn rows(store: &Arc<dyn Store>) -> Rows {
    let jobs = store.list(Arc::new(Filter::default()), None, 1000).await.expect("list");
    let (mut attempts, mut lines, mut journals) = (Vec::new(), Vec::new(), Vec::new());
    for job in &jobs {
        attempts.push(store.attempts(job.id).await.expect("attempts"));
        lines.push(store.logs(job.id, 0, 1000).await.expect("logs"));
        journals.push(store.journal(job.id, None, 1000).await.expect("a journal"));
    }
    Rows { jobs, attempts, lines, queues: store.queues().await.expect("queues"), journals }
}

/// Rows that two reads in succession agree on: an abandoned call may still be under way at the first read.
async fn settled_rows(store: &Arc<dyn Store>) -> Rows {
    let mut last = rows(store).await;
    loop {
        tokio::task::yield_now().await;
        let next = rows(store).await;
        if next == last {
            return next;
        }
        last = next;
    }
}

/// Loses every writing verb's call before and after the store, and abandons it (drops its future) at each point at
/// which it waits. No call is repeated. In each case a store from `fresh` must be left with all that the call does,
/// or with nothing of it. Panics at the end with the list of those that failed.
pub async fn is_atomic_when_calls_are_lost(fresh: impl AsyncFn() -> Arc<dyn Store>) {
    let mut failed = Vec::new();
    let mut runs = 0;
    for write in WRITES {
        let store = fresh().await;
        let env = Env::new(Arc::clone(&store));
        let prepared = prepare(&env).await;
        let nothing = rows(&store).await;
        (write.call)(&env, &prepared).await.expect("a call that is not lost");
        let everything = rows(&store).await;
        close(&store).await;
        assert_ne!(nothing, everything, "{} writes something", write.name);

        for (fault, expected) in [(Fault::Before, &nothing), (Fault::After, &everything)] {
            let left = lose(write, &fresh().await, fault).await;
            runs += 1;
            if left != *expected {
                failed.push(format!("{}: lost {fault:?}", write.name));
            }
        }
        for polls in 1.. {
            let (left, ended) = abandon(write, &fresh().await, polls).await;
            runs += 1;
            if left != nothing && left != everything {
                failed.push(format!("{}: abandoned after {polls} polls", write.name));
            }
            if ended {
                break;
            }
        }
    }
    report("lost calls", runs, &failed);
}

async fn lose(write: &Write, store: &Arc<dyn Store>, fault: Fault) -> Rows {
    let faults = Arc::new(Faults::new(Arc::clone(store)));
    let env = Env::new(Arc::clone(&faults) as _);
    let prepared = prepare(&env).await;
    faults.fail_call(1, fault);
    let error = (write.call)(&env, &prepared).await.expect_err("the call is lost");
    assert!(error.is_transient(), "{error}");
    let left = rows(store).await;
    close(store).await;
    left
}

/// Also answers whether the call came to its end within these polls.
async fn abandon(write: &Write, store: &Arc<dyn Store>, polls: u32) -> (Rows, bool) {
    let env = Env::new(Arc::clone(store));
    let prepared = prepare(&env).await;
    let ended = Abandoned { call: (write.call)(&env, &prepared), polls }.await;
    let left = settled_rows(store).await;
    close(store).await;
    (left, ended)
}

/// Polls a call so many times, as a caller does whose own task is cancelled meanwhile. Ready with whether the call
/// came to its end.
struct Abandoned<'a> {
    call: BoxFuture<'a, Result<(), Error>>,
    polls: u32,
}

impl Future for Abandoned<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        match self.call.as_mut().poll(context) {
            Poll::Ready(answer) => {
                answer.expect("a call that is not lost");
                Poll::Ready(true)
            }
            Poll::Pending if self.polls <= 1 => Poll::Ready(false),
            Poll::Pending => {
                self.polls -= 1;
                Poll::Pending
            }
        }
    }
}
