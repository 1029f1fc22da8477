//! Other programs open and close the store's file while jobs are acknowledged, and the process dies by `kill -9`: every
//! acknowledged job is there. And when the files are removed, moved or replaced, nothing more is acknowledged.

#![cfg(all(feature = "sqlite", unix))]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod outsiders;
mod sqlite_support;

use backroom::store::Call;
use backroom::store::JobVerbs as _;
use backroom::store::ReadVerbs as _;
use std::{fs, os::unix::fs::symlink, time::Duration};

use backroom::{
    Backroom, ErrorKind, Json,
    clock::{Clock as _, SystemClock},
    store::{
        Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use outsiders::{Office, Outsider};
use rusqlite::Connection;
use sqlite_support::Place;

/// Not a test: what the other tests start as a process of its own.
#[test]
fn office_process() {
    outsiders::work_if_asked();
}

#[test]
fn an_application_connection_before_the_store_does_not_cost_jobs() {
    keeps_every_job("application-first", |place| place.file());
}

#[test]
fn an_application_connection_before_and_after_that_closes_does_not_cost_jobs() {
    keeps_every_job("application-around", |place| place.file());
}

#[test]
fn several_opens_in_one_process_do_not_cost_jobs() {
    keeps_every_job("several-opens", |place| place.file());
}

#[test]
fn a_look_at_the_version_beside_an_open_store_does_not_cost_jobs() {
    keeps_every_job("version-beside", |place| place.file());
}

#[test]
fn a_path_through_links_does_not_cost_jobs() {
    keeps_every_job("several-opens", |place| {
        let (folder, file) = (place.folder().join("link"), place.folder().join("link.db"));
        symlink(place.folder(), &folder).unwrap();
        fs::write(place.file(), "").unwrap();
        symlink(folder.join("jobs.db"), &file).unwrap();
        file
    });
}

#[test]
fn a_relative_path_and_a_change_of_folder_do_not_cost_jobs() {
    keeps_every_job("relative", |place| place.file());
}

/// An office in a process of its own acknowledges jobs while outsiders of every kind come and go, then is killed.
fn keeps_every_job(scenario: &str, path: impl Fn(&Place) -> std::path::PathBuf) {
    let place = Place::new();
    let path = path(&place);
    let mut office = Office::start(scenario, &path);
    let mut acknowledged = Vec::new();
    for _ in 0..2 {
        for outsider in Outsider::ALL {
            outsider.visits(&path);
            acknowledged.extend(office.enqueue(5).unwrap());
        }
    }
    // And at the same time.
    for outsider in Outsider::ALL {
        let mut visit = outsider.begin(&path);
        acknowledged.extend(office.enqueue(50).unwrap());
        assert!(visit.wait().unwrap().success(), "{outsider:?}");
    }
    acknowledged.extend(office.enqueue(3).unwrap());
    office.kill();
    let stored = outsiders::stored(&place.file());
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged jobs are lost", lost.len(), acknowledged.len());
}

#[test]
fn a_clean_close_after_outsiders_keeps_every_job() {
    let place = Place::new();
    let mut office = Office::start("several-opens", &place.file());
    Outsider::Shell.visits(&place.file());
    let acknowledged = office.enqueue(300).unwrap();
    office.close();
    let stored = outsiders::stored(&place.file());
    assert!(acknowledged.iter().all(|id| stored.contains(id)));
}

#[test]
fn nothing_is_acknowledged_once_a_file_is_removed_moved_or_replaced() {
    type Mishap = fn(&Place);
    let mishaps: [(&str, Mishap); 8] = [
        ("the file is removed", |place| fs::remove_file(place.file()).unwrap()),
        ("the log is removed", |place| fs::remove_file(log_of(place)).unwrap()),
        ("the log's index is removed", |place| fs::remove_file(place.folder().join("jobs.db-shm")).unwrap()),
        ("all of them are removed", |place| {
            for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
                fs::remove_file(place.folder().join(name)).unwrap();
            }
        }),
        ("the file is moved", |place| fs::rename(place.file(), place.folder().join("other.db")).unwrap()),
        ("another file takes its place", |place| {
            fs::write(place.folder().join("new.db"), "").unwrap();
            fs::rename(place.folder().join("new.db"), place.file()).unwrap();
        }),
        ("another log takes its place", |place| {
            fs::write(place.folder().join("new"), "").unwrap();
            fs::rename(place.folder().join("new"), log_of(place)).unwrap();
        }),
        ("the folder is moved", |place| {
            fs::rename(place.folder(), place.folder().with_extension("moved")).unwrap();
        }),
    ];
    for (what, mishap) in mishaps {
        let place = Place::new();
        let mut office = Office::start("plain", &place.file());
        office.enqueue(5).unwrap();
        mishap(&place);
        let refused = office.enqueue(1).expect_err(what);
        assert!(refused.starts_with("Unusable"), "{what}: {refused}");
        assert!(refused.contains("while this process had it open"), "{what}: {refused}");
        assert!(refused.contains("stop every process that uses the store"), "{what}: {refused}");
        // Later ones are refused as well, reads too, and its own health says why.
        assert!(office.enqueue(1).expect_err(what).starts_with("Unusable"), "{what}");
        let (read, health) = office.read_and_health();
        assert!(read.starts_with("Unusable"), "{what}: {read}");
        assert!(health.contains("while this process had it open"), "{what}: {health}");
        office.close();
        let logged = office.logged();
        assert_eq!(logged.matches("the store accepts nothing more").count(), 1, "{what}: {logged}");
        _ = fs::remove_dir_all(place.folder().with_extension("moved"));
    }
}

fn log_of(place: &Place) -> std::path::PathBuf {
    place.folder().join("jobs.db-wal")
}

#[test]
fn an_application_that_drops_the_locks_is_refused_instead_of_answered_into_nowhere() {
    let place = Place::new();
    let mut office = Office::start("careless", &place.file());
    let acknowledged = office.enqueue(5).unwrap();
    // It believes that it is the last, and removes the log.
    Outsider::Shell.visits(&place.file());
    let refused = office.enqueue(1).expect_err("the log has no name any more");
    assert!(refused.starts_with("Unusable"), "{refused}");
    assert!(refused.contains("jobs.db-wal was removed"), "{refused}");
    office.kill();
    let stored = outsiders::stored(&place.file());
    assert!(acknowledged.iter().all(|id| stored.contains(id)));
}

#[test]
fn a_lost_log_is_not_folded_into_the_file_that_others_went_on_with() {
    let place = Place::new();
    let mut office = Office::start("plain", &place.file());
    office.enqueue(200).unwrap();
    // As if all locks were gone: the last other client folds the log and removes it.
    let folder = place.folder().join("copy");
    fs::create_dir(&folder).unwrap();
    for name in ["jobs.db-wal", "jobs.db-shm"] {
        fs::rename(place.folder().join(name), folder.join(name)).unwrap();
    }
    office.enqueue(1).unwrap_err();
    let others = Connection::open(place.file()).unwrap();
    others.execute_batch("CREATE TABLE others (n INTEGER)").unwrap();
    let before: i64 = others.query_row("PRAGMA page_count", [], |found| found.get(0)).unwrap();
    drop(others);
    office.close();
    let others = Connection::open(place.file()).unwrap();
    let whole: String = others.query_row("PRAGMA integrity_check", [], |found| found.get(0)).unwrap();
    let after: i64 = others.query_row("PRAGMA page_count", [], |found| found.get(0)).unwrap();
    assert_eq!((whole.as_str(), before), ("ok", after));
    others.execute_batch("INSERT INTO others VALUES (1)").unwrap();
}

#[test]
fn the_health_of_a_new_file_names_the_process_that_writes_to_the_removed_one() {
    if !cfg!(target_os = "linux") {
        // Only Linux tells which processes hold removed files.
        return;
    }
    let place = Place::new();
    let mut office = Office::start("plain", &place.file());
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        fs::remove_file(place.folder().join(name)).unwrap();
    }
    let health = outsiders::block_on(async {
        let store = SqliteStore::open(place.file(), SqliteOptions::default()).await.unwrap();
        store.health().await.unwrap()
    });
    let files = health.checks.iter().find(|check| check.name == "files").unwrap();
    assert!(!files.ok);
    assert!(files.found.contains(&office.pid().to_string()), "{}", files.found);
    office.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_behind_a_foreign_lock_is_answered_in_ten_seconds_and_names_the_process() {
    let place = Place::new();
    let backroom = Backroom::open(&format!("sqlite:{}", place.file().display())).await.unwrap();
    let mut python = Outsider::locks(&place.file());
    let begun = SystemClock::default();
    let refused = backroom.enqueue_untyped("mail", Json::null()).await.unwrap_err();
    let took = begun.monotonic();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    // On a busy machine the deadline of the call passes before the last try has given up. It names the process, too.
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(took > Duration::from_secs(5), "it was patient: {took:?}");
    if cfg!(target_os = "linux") {
        let named = format!("the process {} (python", python.id());
        assert!(refused.to_string().contains(&named), "{refused}");
    }
    python.kill().unwrap();
    python.wait().unwrap();
    backroom.enqueue_untyped("mail", Json::null()).await.unwrap();
    let jobs = backroom.counts().await.unwrap()[0].jobs;
    let may_be_stored = refused.to_string().contains("may be stored all the same");
    assert!(jobs == 1 || (may_be_stored && jobs == 2), "what was refused is not written later: {jobs}");
}

#[tokio::test]
async fn a_store_whose_file_was_replaced_answers_all_who_wait_and_closes() {
    let place = Place::new();
    let store = place.open().await;
    place.insert(&store, place.job()).await;
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        fs::remove_file(place.folder().join(name)).unwrap();
    }
    let other = place.open().await;
    place.insert(&other, place.job()).await;
    let waiting =
        (0..50).map(|_| store.insert(std::sync::Arc::new(vec![place.job()]), place.now, Call::First));
    for answer in futures_util::future::join_all(waiting).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unusable);
    }
    store.close().await.unwrap();
    assert_eq!(other.list(std::sync::Arc::default(), None, 9).await.unwrap().len(), 1);
}
