//! Callbacks from SQLite: what receivers get.

#![cfg(all(feature = "sqlite", feature = "callbacks"))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod callbacks_support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    callbacks_support::work_if_asked().await;
}

fn place() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("backroom.db").display());
    (dir, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_get_what_the_standard_says() {
    let (_dir, url) = place();
    callbacks_support::receivers_get_what_the_standard_says(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_no_other() {
    let (_dir, url) = place();
    callbacks_support::a_receiver_that_hangs_holds_up_no_other(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_refused() {
    let (_dir, url) = place();
    callbacks_support::addresses_that_are_not_public_are_refused(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_loses_no_callback() {
    let (_dir, url) = place();
    callbacks_support::a_killed_worker_loses_no_callback(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_informs_of_what_was_asked_for() {
    let (_dir, url) = place();
    callbacks_support::a_callback_informs_of_what_was_asked_for(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receivers_certificate_is_checked() {
    let (_dir, url) = place();
    callbacks_support::the_receivers_certificate_is_checked(&url).await;
}
