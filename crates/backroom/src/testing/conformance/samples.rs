//! What was done over time.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    bounds::later,
    sample::{Depth, Grain, QueueDepth, Sample},
};

use super::env::Env;

/// A sample of the span that begins so many spans after the first one.
fn sample(env: &Env, grain: Grain, number: u32, done: u64) -> Sample {
    let at = later(grain.begin_of(env.now), grain.span() * number);
    let queue = QueueDepth { queue: "größe \u{1f600}".into(), ready: 3, running: 1, oldest_secs: 70 };
    let depth = Depth { ready: 3, running: 1, workers: 2, slots: 8, queues: vec![queue] };
    let mut sample = Sample { grain, done, failed: 2, ..Sample::of_minute(at, &[], depth, at) };
    sample.pickup.count(Duration::from_micros(300));
    sample
}

async fn put(env: &Env, samples: &[Sample]) {
    let now = samples.iter().map(|sample| sample.at).max().expect("a sample");
    env.store.put_samples(Arc::new(samples.to_vec()), now).await.expect("put samples");
}

async fn all(env: &Env, grain: Grain) -> Vec<Sample> {
    env.store.samples(grain, backroom_core::Timestamp::UNIX_EPOCH).await.expect("samples")
}

pub(super) async fn samples_come_back_by_grain_and_in_their_order(env: Env) {
    assert_eq!(all(&env, Grain::Minute).await, []);
    let minutes = [0, 1, 2].map(|number| sample(&env, Grain::Minute, number, 5));
    let quarter = sample(&env, Grain::Quarter, 0, 9);
    put(&env, &[minutes[2].clone(), quarter.clone(), minutes[0].clone()]).await;
    put(&env, &minutes[1..2]).await;
    assert_eq!(all(&env, Grain::Minute).await, minutes);
    assert_eq!(all(&env, Grain::Quarter).await, [quarter]);
    let later = env.store.samples(Grain::Minute, minutes[1].at).await.expect("samples");
    assert_eq!(later, minutes[1..]);
}

pub(super) async fn a_sample_replaces_the_earlier_one_of_its_span(env: Env) {
    put(&env, &[sample(&env, Grain::Minute, 0, 5)]).await;
    let new = sample(&env, Grain::Minute, 0, 6);
    put(&env, std::slice::from_ref(&new)).await;
    put(&env, std::slice::from_ref(&new)).await;
    assert_eq!(all(&env, Grain::Minute).await, [new]);
}

pub(super) async fn old_samples_go(env: Env) {
    let minutes = u32::try_from(Grain::Minute.retention().as_secs() / 60).expect("few");
    let (old, retained) = (sample(&env, Grain::Minute, 0, 1), sample(&env, Grain::Minute, 1, 2));
    let quarter = sample(&env, Grain::Quarter, 0, 4);
    put(&env, &[old, retained.clone(), quarter.clone()]).await;
    let new = sample(&env, Grain::Minute, minutes + 1, 3);
    put(&env, std::slice::from_ref(&new)).await;
    assert_eq!(all(&env, Grain::Minute).await, [retained, new]);
    assert_eq!(all(&env, Grain::Quarter).await, [quarter], "those of a quarter of an hour stay for days");
}
