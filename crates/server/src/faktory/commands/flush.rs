//! `FLUSH`: delete everything.

use backroom::{Action, Filter, RunOutcome, State};

use super::super::{
    Faktory,
    reply::{Refusal, Reply},
    watch::commit,
};

/// Ends that are recorded in one call.
const COMMITS: usize = 500;

/// Deletes every job of every queue. What a client has fetched ends at once; what other workers run is asked to stop, and stays.
pub(in super::super) async fn flush(faktory: &Faktory) -> Result<Reply, Refusal> {
    if !faktory.state.settings.now().faktory.flush {
        return Err(Refusal::new("FLUSH is switched off, because it deletes every job: set faktory.flush"));
    }
    let backroom = &faktory.state.backroom;
    let runs = faktory.runs().drain(|_| true);
    for some in runs.chunks(COMMITS) {
        let ends = some.iter().map(|(_, run)| commit(run, RunOutcome::Cancel("flushed".into()))).collect();
        faktory.state.leases.commit(None, ends).await?;
    }
    let queues = super::queues::all(faktory).await?;
    let running = Filter { queues: Some(queues.clone()), states: vec![State::Running], ..Filter::default() };
    each_page(faktory, &running, &Action::Cancel { reason: "flushed by a Faktory client".into() }).await?;
    each_page(faktory, &Filter { queues: Some(queues.clone()), ..Filter::default() }, &Action::Delete)
        .await?;
    for queue in &queues {
        backroom.resume(queue).await?;
    }
    faktory.removed().extend(queues);
    Ok(Reply::Ok)
}

async fn each_page(faktory: &Faktory, filter: &Filter, action: &Action) -> Result<(), Refusal> {
    let mut before = None;
    loop {
        before = faktory.state.backroom.act_on_matching(filter, action, before).await?.next;
        if before.is_none() {
            return Ok(());
        }
    }
}
