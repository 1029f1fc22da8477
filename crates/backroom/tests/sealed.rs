//! Sealed kinds from the enqueue to the output, over a SQLite file: who can read what, and what becomes of jobs whose key is missing.

#![cfg(all(feature = "sealed", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backroom::{
    Action, Backroom, Context, Draft, Error, ErrorKind, Failure, Filter, Job, JobId, JobRow, Json, Options,
    Reason, State, UniqueRule, Worker,
    sealed::{KeyAlgorithm, KeySet, KeySource, Keys, OpenError},
    store::Call,
};
use serde::{Deserialize, Serialize};

/// Stands in every value that must not be seen.
const SECRET: &str = "brm-marked-secret";

#[derive(Debug, Serialize, Deserialize)]
struct Pay {
    iban: String,
    fails: bool,
}

impl Job for Pay {
    const KIND: &'static str = "pay";
    type Output = String;
    const SEALED: Option<&'static str> = Some("payroll");
    const MAX_ATTEMPTS: Option<u32> = Some(1);
}

fn secret_job() -> Pay {
    Pay { iban: format!("{SECRET}-args"), fails: false }
}

async fn pay(job: Pay, ctx: Context) -> Result<String, Failure> {
    assert!(job.iban.starts_with(SECRET), "the handler gets the args open");
    assert!(ctx.job().args.as_str().contains(SECRET));
    ctx.progress(50, format!("{SECRET}-progress"));
    ctx.log(format!("{SECRET}-log"));
    if job.fails {
        return Err(Failure::retry(format!("{SECRET}-error")));
    }
    Ok(format!("{SECRET}-output"))
}

fn set() -> KeySet {
    let mut set = KeySet::new();
    set.make("payroll", KeyAlgorithm::Symmetric).unwrap();
    set
}

/// Keys that a test changes.
#[derive(Clone, Default)]
struct Changing(Arc<Mutex<KeySet>>);

#[async_trait]
impl KeySource for Changing {
    async fn load(&self) -> Result<KeySet, Error> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn describe(&self) -> String {
        "keys of the test".into()
    }
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("jobs.db").display())
}

async fn open(folder: &Path, set: &KeySet) -> Backroom {
    let keys = Keys::load(set.clone()).await.unwrap();
    Options::new().keys(keys).open(&url(folder)).await.unwrap()
}

async fn open_without_keys(folder: &Path) -> Backroom {
    Backroom::open(&url(folder)).await.unwrap()
}

/// All bytes of the store's files.
fn files(folder: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn reasons(backroom: &Backroom, id: JobId) -> Vec<Reason> {
    backroom.explain(id).await.unwrap().reasons
}

/// Waits until the job is as asked for.
async fn until(backroom: &Backroom, id: JobId, is_so: impl Fn(&JobRow) -> bool) -> JobRow {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        let mut watch = backroom.watch(id);
        loop {
            let job = backroom.job(id).await.unwrap();
            if is_so(&job) {
                return job;
            }
            watch.has_read(&job);
            watch.next().await;
        }
    });
    patience.await.expect("it becomes so")
}

#[tokio::test]
async fn the_store_has_nothing_of_a_sealed_job_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let backroom = open(folder.path(), &set()).await;
    let done = backroom.enqueue(secret_job()).unique(UniqueRule::by_args()).await.unwrap();
    let failed = backroom.enqueue(Pay { fails: true, ..secret_job() }).await.unwrap();
    Worker::new(&backroom).handle(pay).run_until_empty().await.unwrap();
    assert_eq!(done.wait().await.unwrap(), format!("{SECRET}-output"));
    let row = failed.status().await.unwrap();
    assert_eq!(row.state, State::Discarded);

    let stored = files(folder.path());
    assert!(holds(&stored, "ciphertext"), "the test reads the right files");
    assert!(!holds(&stored, SECRET), "the store has a secret in the clear");
    for id in [done.id(), failed.id()] {
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            backroom.job(id).await.unwrap(),
            backroom.attempts(id).await.unwrap(),
            backroom.log(id, 0).await.unwrap(),
            reasons(&backroom, id).await,
        );
        assert!(!shown.contains(SECRET), "{shown}");
    }
    assert_eq!(row.progress.as_ref().unwrap().percent, 50);
    backroom.close().await.unwrap();
}

#[tokio::test]
async fn who_has_the_key_opens_every_value() {
    let folder = tempfile::tempdir().unwrap();
    let set = set();
    let backroom = open(folder.path(), &set).await;
    let failed = backroom.enqueue(Pay { fails: true, ..secret_job() }).await.unwrap();
    Worker::new(&backroom).handle(pay).run_until_empty().await.unwrap();
    let keys = Keys::load(set).await.unwrap();
    let row = failed.status().await.unwrap();
    let open = keys.open_job(&row).unwrap();
    assert!(open.args.as_str().contains(SECRET));
    assert_eq!(open.progress.unwrap().message, format!("{SECRET}-progress"));
    let attempt = backroom.attempts(failed.id()).await.unwrap().remove(0);
    assert_eq!(keys.open_attempt(&row, &attempt).unwrap().error, format!("{SECRET}-error"));
    let line = backroom.log(failed.id(), 0).await.unwrap().remove(0);
    assert_eq!(keys.open_line(&row, &line).unwrap().line, format!("{SECRET}-log"));
}

#[tokio::test]
async fn a_client_without_the_key_enqueues_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let backroom = open_without_keys(folder.path()).await;
    let error = backroom.enqueue(secret_job()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("payroll"), "{error}");
    let error = backroom.enqueue_many([secret_job()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let schedule = backroom::Schedule::cron("0 0 1 * *").job(&secret_job());
    let error = backroom.schedules().put(schedule).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(backroom.list(backroom::Filter::default(), None, 10).await.unwrap().jobs.is_empty());
    // Nor does a client with other keys.
    let mut other = KeySet::new();
    other.make("letters", KeyAlgorithm::Symmetric).unwrap();
    let backroom = open(folder.path(), &other).await;
    let error = backroom.enqueue(secret_job()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_kind_that_the_options_seal_takes_no_plain_args_from_a_client_without_keys() {
    let folder = tempfile::tempdir().unwrap();
    let set = set();
    let keys = Keys::load(set.clone()).await.unwrap();
    let server = Options::new().seal_kind("pay", "payroll").open(&url(folder.path())).await.unwrap();
    let plain = Draft::new("pay", Json::parse("{}").unwrap());
    let error = server.enqueue_draft(plain.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    // Sealed by the client, it is taken, and only for the job that it was sealed for.
    let sealed =
        keys.seal_draft(plain, "payroll", &backroom::ids::Ids::from_entropy(), server.clock().now()).unwrap();
    let job = server.enqueue_draft(sealed.clone()).await.unwrap();
    assert_eq!(Some(job.id()), sealed.id);
    let moved = Draft { id: None, ..sealed };
    let error = server.enqueue_draft(moved).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn jobs_that_are_tied_to_others_are_sealed_or_refused_as_all_are() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, set) = (|| Draft::new("pay", Json::encode(&secret_job()).unwrap()), set());
    let options = || Options::new().seal_kind("pay", "payroll");
    let without = options().open(&url(folder.path())).await.unwrap();
    let first = without.enqueue_untyped("first", Json::null()).await.unwrap();
    let ids = backroom::ids::Ids::from_entropy();
    let chosen = |backroom: &Backroom| backroom::ChosenJob {
        id: ids.job(backroom.clock().now()),
        draft: plain(),
        after: vec![backroom::core::dependency::Edge {
            predecessor: first.id(),
            on_failure: backroom::OnFailure::Cancel,
        }],
        batch: None,
    };
    let graph = || vec![backroom::GraphNode::new("pay", plain())];
    let now = without.clock().now();
    let refused = [
        without.enqueue_chosen_linked(vec![chosen(&without)], now, false).await.unwrap_err(),
        without.enqueue_draft(plain()).after(&first).await.unwrap_err(),
        without.enqueue_graph(graph()).await.unwrap_err(),
        without.open_batch().on_finish_draft(plain()).await.unwrap_err(),
        without.open_batch().on_success(secret_job()).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("payroll"), "{error}");
    }
    assert_eq!(without.list(backroom::Filter::default(), None, 10).await.unwrap().jobs.len(), 1);
    // With the keys they are sealed, but an end job of a batch cannot be.
    let keys = Keys::load(set).await.unwrap();
    let with = options().keys(keys).open(&url(folder.path())).await.unwrap();
    with.enqueue_chosen_linked(vec![chosen(&with)], now, false).await.unwrap();
    with.enqueue_draft(plain()).after(&first).await.unwrap();
    with.enqueue_graph(graph()).await.unwrap();
    let error = with.open_batch().on_finish_draft(plain()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be"), "{error}");
    let jobs = with.list(backroom::Filter::default(), None, 10).await.unwrap().jobs;
    let pays: Vec<_> = jobs.iter().filter(|job| job.kind == "pay").collect();
    assert_eq!(pays.len(), 3);
    assert!(pays.iter().all(|job| !job.args.as_str().contains(SECRET)), "{pays:?}");
    assert!(!holds(&files(folder.path()), SECRET));
}

#[derive(Debug, Serialize, Deserialize)]
struct Report;

impl Job for Report {
    const KIND: &'static str = "report";
    type Output = String;
    const MAX_ATTEMPTS: Option<u32> = Some(1);
}

async fn report(_: Report, ctx: Context) -> Result<String, Failure> {
    match ctx.output_of::<Pay>().await {
        Ok(output) => Ok(format!("{} bytes", output.len())),
        Err(error) => Err(Failure::discard(error.to_string())),
    }
}

#[tokio::test]
async fn a_job_reads_the_sealed_output_of_another_only_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let set = set();
    let with = open(folder.path(), &set).await;
    let worker = Worker::new(&with).handle(pay).handle(report).start().await.unwrap();
    let paid = with.enqueue(secret_job()).await.unwrap();
    let said = with.enqueue(Report).after(&paid).await.unwrap().wait().await.unwrap();
    assert_eq!(said, format!("{} bytes", format!("{SECRET}-output").len()));
    worker.stop().await.unwrap();
    let without = open_without_keys(folder.path()).await;
    let worker = Worker::new(&without).handle(report).start().await.unwrap();
    let job = without.enqueue(Report).after(&paid).await.unwrap();
    let ended = until(&without, job.id(), |job| job.state.is_finished()).await;
    assert_eq!(ended.state, State::Discarded);
    assert!(ended.reason.as_deref().unwrap().contains("has no keys"), "{ended:?}");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_whose_key_no_worker_has_stays_and_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let set = set();
    let producer = open(folder.path(), &set).await;
    let job = producer.enqueue(secret_job()).await.unwrap();
    let without = open_without_keys(folder.path()).await;
    let worker = Worker::new(&without).poll(Duration::from_millis(5)).handle(pay).start().await.unwrap();
    // It claims other kinds, and so has asked the store.
    let other = Worker::new(&without)
        .queue("other", 1)
        .handle_untyped("other", async |args, _| Ok(args))
        .start()
        .await
        .unwrap();
    without.enqueue_untyped("other", Json::null()).queue("other").await.unwrap().wait().await.unwrap();
    let row = producer.job(job.id()).await.unwrap();
    assert_eq!((row.state, row.attempt, row.revision), (State::Queued, 0, 0), "it was never claimed");
    let why = reasons(&producer, job.id()).await;
    let key = "payroll.1".to_owned();
    assert_eq!(why.first(), Some(&Reason::KeyMissing { key, workers: 1 }), "{why:?}");
    worker.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_waits_without_charge_for_a_key_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    // The producer has a newer key than the worker.
    let old = set();
    let mut new = old.clone();
    new.make("payroll", KeyAlgorithm::Symmetric).unwrap();
    let producer = open(folder.path(), &new).await;
    let job = producer.enqueue(secret_job()).await.unwrap();
    let late = open(folder.path(), &old).await;
    let worker = Worker::new(&late).handle(pay).start().await.unwrap();
    let row = until(&producer, job.id(), |job| job.scheduled_at > job.created_at).await;
    assert_eq!((row.state, row.attempt), (State::Queued, 0), "no attempt is charged");
    assert!(producer.attempts(job.id()).await.unwrap().is_empty());
    let why = reasons(&producer, job.id()).await;
    assert_eq!(why.first(), Some(&Reason::KeyMissing { key: "payroll.2".into(), workers: 1 }), "{why:?}");
    worker.stop().await.unwrap();
    // A worker that has the key makes the job due when it starts.
    let source = Changing::default();
    *source.0.lock().unwrap() = new;
    let keys = Keys::load(source).await.unwrap();
    let right = Options::new().keys(keys).open(&url(folder.path())).await.unwrap();
    let worker = Worker::new(&right).handle(pay).start().await.unwrap();
    assert_eq!(job.wait().await.unwrap(), format!("{SECRET}-output"));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_of_the_right_id_leaves_the_job_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let producer = open(folder.path(), &set()).await;
    let job = producer.enqueue(secret_job()).await.unwrap();
    let wrong = open(folder.path(), &set()).await;
    let worker = Worker::new(&wrong).handle(pay).start().await.unwrap();
    let row = until(&producer, job.id(), |job| job.scheduled_at > job.created_at).await;
    assert_eq!((row.state, row.attempt), (State::Queued, 0));
    assert_eq!(row.progress.unwrap().message, "waits for key payroll.1");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn jobs_of_an_older_key_run_after_a_rotation_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = set();
    let producer = open(folder.path(), &set).await;
    let old = producer.enqueue(secret_job()).await.unwrap();
    assert_eq!(set.make("payroll", KeyAlgorithm::PublicPrivate).unwrap(), "payroll.2");
    let rotated = open(folder.path(), &set).await;
    let new = rotated.enqueue(secret_job()).await.unwrap();
    Worker::new(&rotated).handle(pay).run_until_empty().await.unwrap();
    for (job, key) in [(&old, "payroll.1"), (&new, "payroll.2")] {
        let row = rotated.job(job.id()).await.unwrap();
        assert_eq!(backroom::core::sealed::key_id(row.args.as_str()).as_deref(), Some(key));
        // The newest key seals the answer.
        let output = row.output.unwrap();
        assert_eq!(backroom::core::sealed::key_id(output.as_str()).as_deref(), Some("payroll.2"));
    }
    assert!(set.remove("payroll.1"));
    let row = rotated.job(old.id()).await.unwrap();
    let keys = Keys::load(set).await.unwrap();
    assert_eq!(keys.open_job(&row).unwrap_err(), OpenError::NoKey("payroll.1".into()));
}

#[tokio::test]
async fn args_that_were_moved_from_another_job_or_store_discard_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let set = set();
    let backroom = open(folder.path(), &set).await;
    let good = backroom.enqueue(secret_job()).delay(Duration::from_secs(3600)).await.unwrap();
    let args = backroom.job(good.id()).await.unwrap().args;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = open(elsewhere.path(), &set).await;
    let of_other = other.enqueue(secret_job()).await.unwrap().status().await.unwrap().args;
    let plain = Json::parse(r#"{"iban":"x","fails":false}"#).unwrap();
    // The attacker writes the store: another job with these args, and one with args in the clear.
    for (args, why) in [(args, "another job"), (of_other, "another job"), (plain, "not sealed")] {
        let id = backroom::ids::Ids::from_entropy().job(backroom.clock().now());
        let forged = Draft::new("pay", args).check(id, backroom.clock().now(), 10_000).unwrap();
        let now = forged.job.created_at;
        backroom.store().insert(Arc::new(vec![forged]), now, Call::First).await.unwrap();
        let ran = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&ran);
        let handler = move |_: Pay, _: Context| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(String::new()) }
        };
        Worker::new(&backroom).handle(handler).run_until_empty().await.unwrap();
        let row = backroom.job(id).await.unwrap();
        assert_eq!((row.state, ran.load(Ordering::Relaxed)), (State::Discarded, 0));
        assert!(row.reason.unwrap().contains(why));
    }
}

#[tokio::test]
async fn an_output_that_was_replaced_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let backroom = open(folder.path(), &set()).await;
    let job = backroom.enqueue(secret_job()).await.unwrap();
    Worker::new(&backroom).handle(pay).run_until_empty().await.unwrap();
    let other = backroom.enqueue(secret_job()).await.unwrap();
    Worker::new(&backroom).handle(pay).run_until_empty().await.unwrap();
    let sealed = backroom.job(other.id()).await.unwrap().output.unwrap();
    let database = backroom::rusqlite::Connection::open(folder.path().join("jobs.db")).unwrap();
    for forged in [sealed.as_str(), "\"forged\""] {
        let id = job.id().0.as_bytes().to_vec();
        let changed = database
            .execute("UPDATE backroom_jobs SET output = ?2 WHERE id = ?1", (id, forged))
            .expect("the attacker can write the store");
        assert_eq!(changed, 1);
        let error = job.wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    }
}

#[tokio::test]
async fn equal_jobs_are_duplicates_although_they_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let backroom = open(folder.path(), &set()).await;
    let first = backroom.enqueue(secret_job()).unique(UniqueRule::by_args()).await.unwrap();
    let second = backroom.enqueue(secret_job()).unique(UniqueRule::by_args()).await.unwrap();
    assert_eq!((first.id(), second.is_new()), (second.id(), false));
    let replacing = backroom.enqueue(secret_job()).unique(UniqueRule::by_args().replace()).await;
    assert_eq!(replacing.unwrap_err().kind(), ErrorKind::Invalid);
    // Other args would need another key.
    let amended = backroom.amend(first.id()).args(&secret_job()).await;
    assert_eq!(amended.unwrap_err().kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn amended_args_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let backroom = open(folder.path(), &set()).await;
    let job = backroom.enqueue(Pay { fails: true, ..secret_job() }).await.unwrap();
    backroom.amend(job.id()).args(&secret_job()).await.unwrap();
    assert!(!holds(&files(folder.path()), SECRET));
    Worker::new(&backroom).handle(pay).run_until_empty().await.unwrap();
    assert_eq!(job.wait().await.unwrap(), format!("{SECRET}-output"));
    let without = open_without_keys(folder.path()).await;
    let later = backroom.enqueue(secret_job()).delay(Duration::from_secs(3600)).await.unwrap();
    let error = without.amend(later.id()).args(&secret_job()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_producer_with_public_keys_seals_and_cannot_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = KeySet::new();
    set.make("payroll", KeyAlgorithm::PublicPrivate).unwrap();
    let producer = open(folder.path(), &set.for_producers()).await;
    let job = producer.enqueue(secret_job()).await.unwrap();
    let producers = Keys::load(set.for_producers()).await.unwrap();
    let row = producer.job(job.id()).await.unwrap();
    assert_eq!(producers.open_job(&row).unwrap_err(), OpenError::NoKey("payroll.1".into()));
    let backroom = open(folder.path(), &set).await;
    Worker::new(&backroom).handle(pay).run_until_empty().await.unwrap();
    let done = backroom.handle::<Pay>(job.id()).await.unwrap();
    assert_eq!(done.wait().await.unwrap(), format!("{SECRET}-output"));
    assert!(producer.handle::<Pay>(job.id()).await.unwrap().wait().await.is_err());
}

#[tokio::test]
async fn a_key_file_is_for_its_owner_only() {
    use backroom::sealed::KeyFile;
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile(folder.path().join("keys.json"));
    file.write(&set()).unwrap();
    let mode = std::fs::metadata(&file.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(file.load().await.unwrap().opens("payroll"));
    std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(file.load().await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_command_prints_the_keys() {
    use backroom::sealed::KeyCommand;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set().to_text().as_bytes()).unwrap();
    let keys = KeyCommand(vec!["cat".into(), path.display().to_string()]);
    assert!(keys.load().await.unwrap().opens("payroll"));
    for wrong in [vec!["false".to_owned()], vec!["/no/such/program".into()], vec![]] {
        assert_eq!(KeyCommand(wrong).load().await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_kind_that_is_bound_to_a_queue_gets_into_no_other() {
    let backroom = Options::new().only_in_queue("pay", "payroll").open("memory:").await.unwrap();
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("enqueue them into \"payroll\""), "{error}");
    };
    let null = Json::null;
    refused(backroom.enqueue_untyped("pay", null()).await.unwrap_err());
    refused(backroom.enqueue_many_untyped("pay", [null()]).await.unwrap_err());
    refused(backroom.open_batch().on_finish_draft(Draft::new("pay", null())).await.map(drop).unwrap_err());
    let job = backroom.enqueue_untyped("pay", null()).queue("payroll").await.unwrap();
    let other = backroom.enqueue_untyped("mail", null()).queue("payroll").await.unwrap();
    refused(backroom.amend(job.id()).queue("default").await.unwrap_err());
    let action = Action::Move { queue: "default".into() };
    let acted = backroom.act_on_matching(&Filter::default(), &action, None).await.unwrap();
    assert_eq!((acted.matched, acted.done, acted.refused), (2, 1, 1));
    assert!(acted.refusal.unwrap().contains("is not for jobs of kind"));
    assert_eq!(backroom.job(job.id()).await.unwrap().queue, "payroll");
    assert_eq!(backroom.job(other.id()).await.unwrap().queue, "default");
}
