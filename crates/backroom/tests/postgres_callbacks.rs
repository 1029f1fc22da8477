//! Callbacks from PostgreSQL: what receivers get.

#![cfg(all(feature = "postgres", feature = "callbacks"))]

mod callbacks_support;
mod postgres_support;

use postgres_support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    callbacks_support::work_if_asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_get_what_the_standard_says() {
    callbacks_support::receivers_get_what_the_standard_says(&Place::new().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_no_other() {
    callbacks_support::a_receiver_that_hangs_holds_up_no_other(&Place::new().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_refused() {
    callbacks_support::addresses_that_are_not_public_are_refused(&Place::new().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_loses_no_callback() {
    callbacks_support::a_killed_worker_loses_no_callback(&Place::new().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_informs_of_what_was_asked_for() {
    callbacks_support::a_callback_informs_of_what_was_asked_for(&Place::new().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receivers_certificate_is_checked() {
    callbacks_support::the_receivers_certificate_is_checked(&Place::new().url()).await;
}
