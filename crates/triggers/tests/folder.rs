//! A folder becomes jobs: real files, a real store, real hints of the operating system.

#![cfg(feature = "folder")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::{fs, time::Duration};

use backroom::{Backroom, Json};
use backroom_triggers::{
    Activity, Folder, FolderEvent, Mapping, Outcome, RunningTriggers, Status, Symlinks, Triggers, admin,
};
use support::{Place, event, events, jobs, until, until_events, until_status};

const ALL: [FolderEvent; 3] = [FolderEvent::Created, FolderEvent::Changed, FolderEvent::Removed];

fn folder(place: &Place) -> Folder {
    Folder::new(place.inbox()).settle(Duration::from_millis(50)).rescan(Duration::from_secs(600))
}

async fn start(backroom: &Backroom, folder: Folder) -> RunningTriggers {
    start_with(backroom, folder, Mapping::kind("file").build().unwrap()).await
}

async fn start_with(backroom: &Backroom, folder: Folder, mapping: Mapping) -> RunningTriggers {
    let lease = Duration::from_secs(2);
    Triggers::new(backroom).lease(lease).add("in", folder, mapping).start().await.unwrap()
}

async fn until_scanned(backroom: &Backroom, triggers: &RunningTriggers) {
    until_status(backroom, triggers, "the folder was scanned", |status| {
        status.activity == Activity::Running && status.details["last_scan"]["files"].is_u64() || {
            // Shown again within five seconds.
            false
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_appear_change_and_go_become_one_job_each() {
    let place = Place::new();
    let backroom = place.open().await;
    place.write("old.txt", "there before");
    let triggers = start(&backroom, folder(&place).events(&ALL)).await;
    until_events(&backroom, &["created old.txt"]).await;
    let new = place.write("below/new.txt", "a");
    until_events(&backroom, &["created below/new.txt", "created old.txt"]).await;
    fs::write(&new, "longer").unwrap();
    until_events(&backroom, &["changed below/new.txt", "created below/new.txt", "created old.txt"]).await;
    fs::remove_file(&new).unwrap();
    until(&backroom, "it is gone", async || {
        events(&backroom).await.contains(&"removed below/new.txt".into())
    })
    .await;
    let job = jobs(&backroom).await.remove(0);
    let args: serde_json::Value = job.args.decode().unwrap();
    assert_eq!(args["size"], 12);
    assert_eq!(args["name"], "old.txt");
    assert_eq!(args["path"], place.inbox().join("old.txt").to_str().unwrap());
    assert_eq!(job.extras.meta["trigger"], "in");
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_it_is_stopped_is_found_and_nothing_is_found_twice() {
    let place = Place::new();
    let backroom = place.open().await;
    for name in ["a", "b", "c"] {
        place.write(name, "x");
    }
    let triggers = start(&backroom, folder(&place).events(&ALL)).await;
    until_events(&backroom, &["created a", "created b", "created c"]).await;
    triggers.stop().await;
    fs::remove_file(place.inbox().join("a")).unwrap();
    fs::rename(place.inbox().join("b"), place.inbox().join("moved")).unwrap();
    place.write("d", "x");
    let triggers = start(&backroom, folder(&place).events(&ALL)).await;
    let all = ["created a", "created b", "created c", "created d", "created moved", "removed a", "removed b"];
    until_events(&backroom, &all).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_renamed_takes_its_files_along() {
    let place = Place::new();
    let backroom = place.open().await;
    place.write("one/a", "x");
    place.write("one/deep/b", "x");
    place.write("one-more", "x");
    let triggers = start(&backroom, folder(&place).events(&ALL)).await;
    until(&backroom, "three files", async || jobs(&backroom).await.len() == 3).await;
    fs::rename(place.inbox().join("one"), place.inbox().join("two")).unwrap();
    until(&backroom, "the files moved", async || jobs(&backroom).await.len() == 7).await;
    let moved: Vec<String> = jobs(&backroom).await.iter().skip(3).map(event).collect();
    for wanted in ["created two/a", "created two/deep/b", "removed one/a", "removed one/deep/b"] {
        assert!(moved.contains(&wanted.into()), "{moved:?}");
    }
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_counts_once_it_is_still() {
    let place = Place::new();
    let backroom = place.open().await;
    let triggers = start(&backroom, folder(&place).settle(Duration::from_secs(2))).await;
    let begun = backroom.clock().monotonic();
    while backroom.clock().monotonic() - begun < Duration::from_secs(3) {
        let size = (backroom.clock().monotonic() - begun).as_millis();
        place.write("growing", &"x".repeat(usize::try_from(size).unwrap()));
        backroom.clock().sleep(Duration::from_millis(50)).await;
        assert_eq!(jobs(&backroom).await.len(), 0, "it grows");
    }
    until_events(&backroom, &["created growing"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_patterns_and_links_decide_what_counts() {
    let place = Place::new();
    let backroom = place.open().await;
    place.write("a.jpg", "x");
    place.write("a.jpg.part", "x");
    place.write("deep/b.jpg", "x");
    place.write("trash/c.jpg", "x");
    std::os::unix::fs::symlink(place.inbox(), place.inbox().join("deep/loop")).unwrap();
    std::os::unix::fs::symlink(place.inbox().join("a.jpg"), place.inbox().join("link.jpg")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.inbox().join("broken.jpg")).unwrap();
    let source = folder(&place).names(["*.jpg"]).ignore(["trash/**"]).symlinks(Symlinks::Follow);
    let triggers = start(&backroom, source).await;
    until_events(&backroom, &["created a.jpg", "created deep/b.jpg", "created link.jpg"]).await;
    triggers.stop().await;
}

/// A folder beside the watched one, with a file in it.
fn outside(place: &Place) -> std::path::PathBuf {
    let out = place.path("out");
    fs::create_dir_all(out.join("deep")).unwrap();
    fs::write(out.join("secret"), "x").unwrap();
    fs::write(out.join("deep/secret"), "x").unwrap();
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_made_while_it_watches_leads_to_no_job() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let backroom = place.open().await;
    let out = outside(&place);
    symlink("../out", place.inbox().join("before")).unwrap();
    place.write("a", "x");
    place.write("below/b", "x");
    let triggers = start(&backroom, folder(&place)).await;
    until_events(&backroom, &["created a", "created below/b"]).await;
    symlink("../out", place.inbox().join("evil")).unwrap();
    symlink("../../out", place.inbox().join("below/evil")).unwrap();
    // Changes behind a link are none of the folder.
    fs::write(out.join("new"), "x").unwrap();
    fs::write(out.join("deep/new"), "x").unwrap();
    // A folder that comes with a link in it.
    fs::create_dir(place.path("made")).unwrap();
    symlink(&out, place.path("made").join("evil")).unwrap();
    fs::write(place.path("made").join("c"), "x").unwrap();
    fs::rename(place.path("made"), place.inbox().join("made")).unwrap();
    fs::write(out.join("deep/newer"), "x").unwrap();
    // Hints come in order: that of the last file comes after those of the links.
    place.write("last", "x");
    let all = ["created a", "created below/b", "created last", "created made/c"];
    until_events(&backroom, &all).await;
    triggers.stop().await;
    // The scan at the start of another run finds nothing behind the links, either.
    place.write("z", "x");
    let triggers = start(&backroom, folder(&place).rescan(Duration::from_millis(100))).await;
    until_events(&backroom, &["created a", "created below/b", "created last", "created made/c", "created z"])
        .await;
    fs::write(out.join("deep/newest"), "x").unwrap();
    place.write("zz", "x");
    until(&backroom, "the last file is a job", async || jobs(&backroom).await.len() >= 6).await;
    assert_eq!(events(&backroom).await[5], "created zz");
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_a_link_replaces_is_gone_with_its_files() {
    let place = Place::new();
    let backroom = place.open().await;
    let out = outside(&place);
    place.write("a/deep/secret", "x");
    let triggers = start(&backroom, folder(&place).events(&ALL)).await;
    until_events(&backroom, &["created a/deep/secret"]).await;
    fs::rename(place.inbox().join("a"), place.path("away")).unwrap();
    std::os::unix::fs::symlink(&out, place.inbox().join("a")).unwrap();
    until_events(&backroom, &["created a/deep/secret", "removed a/deep/secret"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_itself_named_by_a_link_is_watched() {
    let place = Place::new();
    let backroom = place.open().await;
    std::os::unix::fs::symlink("in", place.path("named")).unwrap();
    place.write("below/a", "x");
    let source =
        Folder::new(place.path("named")).settle(Duration::from_millis(50)).rescan(Duration::from_secs(600));
    let triggers = start(&backroom, source).await;
    until_events(&backroom, &["created below/a"]).await;
    place.write("b", "x");
    place.write("below/c", "x");
    until_events(&backroom, &["created b", "created below/a", "created below/c"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_utf8_comes_in_base64() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    let backroom = place.open().await;
    let path = place.inbox().join(std::ffi::OsStr::from_bytes(b"caf\xe9\n%.txt"));
    fs::write(&path, "x").unwrap();
    let triggers = start(&backroom, folder(&place)).await;
    until(&backroom, "one job", async || jobs(&backroom).await.len() == 1).await;
    let args: serde_json::Value = jobs(&backroom).await[0].args.decode().unwrap();
    use base64::Engine as _;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(args["path_base64"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, path.as_os_str().as_bytes());
    triggers.stop().await;
    let triggers = start(&backroom, folder(&place)).await;
    until_scanned(&backroom, &triggers).await;
    triggers.stop().await;
    assert_eq!(jobs(&backroom).await.len(), 1, "the ledger knows it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_removed_is_an_error_until_it_is_made_again() {
    let place = Place::new();
    let backroom = place.open().await;
    place.write("a", "x");
    let triggers = start(&backroom, folder(&place).events(&ALL)).await;
    until_events(&backroom, &["created a"]).await;
    fs::remove_dir_all(place.inbox()).unwrap();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    let error = triggers.status("in").unwrap().error.unwrap();
    assert!(error.contains("make the folder"), "{error}");
    place.write("b", "x");
    until(&backroom, "b is found", async || events(&backroom).await.contains(&"created b".into())).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_it_wait_and_loses_nothing() {
    let place = Place::new();
    let backroom = place.open().await;
    for n in 0..25 {
        place.write(&format!("{n:02}"), "x");
    }
    backroom.limit_depth("narrow", Some(10)).await.unwrap();
    let mapping = Mapping::kind("file").queue("narrow").build().unwrap();
    let triggers = start_with(&backroom, folder(&place), mapping).await;
    until_status(&backroom, &triggers, "it waits", |status| status.activity == Activity::Blocked).await;
    assert_eq!(jobs(&backroom).await.len(), 10);
    assert!(triggers.status("in").unwrap().error.unwrap().contains("is full"));
    backroom.limit_depth("narrow", None).await.unwrap();
    until(&backroom, "all are there", async || jobs(&backroom).await.len() == 25).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_takes_over_when_the_first_one_dies() {
    let place = Place::new();
    let (first, second) = (place.open().await, place.open().await);
    let dying = start(&first, folder(&place)).await;
    until_status(&first, &dying, "the first one reads", |status| status.activity == Activity::Running).await;
    let waiting = start(&second, folder(&place)).await;
    until_status(&second, &waiting, "the second one waits", |status| status.activity == Activity::Standby)
        .await;
    // Its lease is not ended, as after a crash.
    dying.abandon();
    let begun = second.clock().monotonic();
    place.write("a", "x");
    until_events(&second, &["created a"]).await;
    let took = second.clock().monotonic() - begun;
    assert!(took > Duration::from_millis(500), "it waited for a lease: {took:?}");
    waiting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_trigger_reads_nothing_until_it_is_resumed() {
    let place = Place::new();
    let backroom = place.open().await;
    let triggers = start(&backroom, folder(&place)).await;
    until_status(&backroom, &triggers, "it reads", |status| status.activity == Activity::Running).await;
    admin::pause(&backroom, "in", "maintenance").await.unwrap();
    triggers.ask_now();
    until_status(&backroom, &triggers, "it is paused", |status| status.activity == Activity::Paused).await;
    place.write("a", "x");
    triggers.stop().await;
    let triggers = start(&backroom, folder(&place)).await;
    until_status(&backroom, &triggers, "it is still paused", |status| status.activity == Activity::Paused)
        .await;
    assert_eq!(jobs(&backroom).await.len(), 0);
    admin::resume(&backroom, "in").await.unwrap();
    triggers.ask_now();
    until_events(&backroom, &["created a"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_become_a_job_is_a_dead_letter_and_blocks_nothing() {
    let place = Place::new();
    let backroom = place.open().await;
    place.write("a", "x");
    place.write("b", "x");
    let args = Json::parse(r#"{"path":"{{body/path}}"}"#).unwrap();
    let mapping = || Mapping::kind("{{body/name}}").args(args.clone());
    let triggers = start_with(&backroom, folder(&place), mapping().allow_kind("b").build().unwrap()).await;
    until(&backroom, "one job", async || jobs(&backroom).await.len() == 1).await;
    let letters = admin::dead_letters(&backroom, Some("in"), None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.contains("\"a\" is not one of the kinds"), "{}", letters[0].reason);
    let again = admin::replay(&backroom, letters[0].id).await.unwrap();
    assert!(matches!(again, Outcome::Refused { dead_letter, .. } if dead_letter == letters[0].id));
    triggers.stop().await;
    let mended = mapping().allow_kind("a").allow_kind("b").build().unwrap();
    let triggers = start_with(&backroom, folder(&place), mended).await;
    let replayed = admin::replay(&backroom, letters[0].id).await.unwrap();
    assert!(matches!(replayed, Outcome::Enqueued(_)), "{replayed:?}");
    assert_eq!(admin::dead_letters(&backroom, None, None, 10).await.unwrap(), []);
    assert_eq!(jobs(&backroom).await.len(), 2);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_before_it_is_still_becomes_no_job_and_no_error() {
    let place = Place::new();
    let backroom = place.open().await;
    let triggers = start(&backroom, folder(&place).settle(Duration::from_millis(500))).await;
    until_status(&backroom, &triggers, "it reads", |status| status.activity == Activity::Running).await;
    let gone = place.write("gone", "x");
    place.write("stays", "x");
    fs::remove_file(gone).unwrap();
    until_events(&backroom, &["created stays"]).await;
    assert_eq!(triggers.status("in").unwrap().counters.errors, 0);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_settles_is_named_and_holds_up_no_other() {
    let place = Place::new();
    let backroom = place.open().await;
    let triggers = start(&backroom, folder(&place).settle(Duration::from_millis(500))).await;
    until_status(&backroom, &triggers, "it reads", |status| status.activity == Activity::Running).await;
    place.write("still", "x");
    let named = |status: &Status| status.details["longest_settling"]["file"] == "restless";
    let clock = backroom.clock();
    let begun = clock.monotonic();
    let mut size = 1;
    while events(&backroom).await.is_empty() || !named(&triggers.status("in").unwrap()) {
        size += 1;
        place.write("restless", &"x".repeat(size));
        assert!(clock.monotonic() - begun < Duration::from_secs(60), "{:?}", triggers.status("in"));
        clock.sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(events(&backroom).await, ["created still"]);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_time_lies_in_the_future_or_far_in_the_past_becomes_a_job_too() {
    let place = Place::new();
    let backroom = place.open().await;
    let from_epoch = |secs| std::time::UNIX_EPOCH + Duration::from_secs(secs);
    // The clock of a file server is not ours.
    for (name, time) in [("past", from_epoch(1)), ("future", from_epoch(7_000_000_000))] {
        let path = place.write(name, "x");
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let triggers = start(&backroom, folder(&place)).await;
    until_events(&backroom, &["created future", "created past"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn args_that_are_too_large_for_a_job_are_a_dead_letter_and_block_nothing() {
    let place = Place::new();
    let backroom = place.open().await;
    place.write("a", "x");
    place.write("b", "x");
    // The template repeats the whole delivery so often that it exceeds what a job may have.
    let args = Json::parse(format!("[{}]", vec!["\"{{body}}\""; 10_000].join(","))).unwrap();
    let mapping = Mapping::kind("file").args(args).build().unwrap();
    let triggers = start_with(&backroom, folder(&place), mapping).await;
    until(&backroom, "both are dead letters", async || {
        admin::dead_letters(&backroom, Some("in"), None, 10).await.unwrap().len() == 2
    })
    .await;
    let letters = admin::dead_letters(&backroom, Some("in"), None, 10).await.unwrap();
    assert!(letters[0].reason.contains("bytes"), "{}", letters[0].reason);
    triggers.stop().await;
}
