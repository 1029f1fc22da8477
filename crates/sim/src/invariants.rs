//! What must hold at every moment, over all rows of the store.

use std::{collections::BTreeMap, time::Duration};

use backroom::{
    JobRow, State, Timestamp,
    clock::Clock as _,
    core::{bounds::later, unique::UniqueWhile},
};

use crate::{
    handlers::{Play, Stage},
    machine::{Machine, Parts},
    model::{self, Model, Row, machine_of},
};

/// Checks the store's rows against the model and against themselves.
pub fn check_rows(model: &mut Model, rows: &[JobRow]) {
    let mut wrong = Vec::new();
    for (id, known, must) in model.rows() {
        match rows.binary_search_by_key(&id, |row| row.id) {
            Ok(found) => wrong.extend(
                model::difference(must, &rows[found]).map(|what| format!("job {id} changed unseen: {what}")),
            ),
            Err(_) => {
                let acknowledged = if known.acknowledged { "acknowledged " } else { "" };
                wrong.push(format!("the {acknowledged}job {id} is lost"));
            }
        }
    }
    if model.rows().count() < rows.len() {
        wrong.push(format!(
            "the store holds {} jobs that no caller stored",
            rows.len() - model.rows().count()
        ));
    }
    let mut keys = BTreeMap::new();
    for row in rows {
        wrong.extend(broken(row).into_iter().map(|what| format!("{what}: {row:?}")));
        let key = row.unique_key.as_ref().filter(|_| row.unique_held);
        if let Some(other) = key.and_then(|key| keys.insert(key, row.id)) {
            wrong.push(format!("jobs {other} and {} hold the same unique key", row.id));
        }
    }
    wrong.into_iter().for_each(|what| model.wrong(what));
}

/// Where processes die of killers only, no other job is discarded as poison.
pub fn check_poison(model: &mut Model, rows: &[JobRow]) {
    let is_poison = |row: &&JobRow| {
        row.state == State::Discarded
            && row.reason.as_deref().is_some_and(|reason| reason.starts_with("poison"))
    };
    for row in rows.iter().filter(is_poison) {
        if !Play::is_killer(&row.args) {
            model.wrong(format!("the innocent job {} was discarded as poison: {row:?}", row.id));
        }
    }
}

/// What is wrong with a row by itself.
fn broken(row: &JobRow) -> Vec<&'static str> {
    let running = row.state == State::Running;
    let window = matches!(row.unique_while, Some(UniqueWhile::Until(_)));
    let rules = [
        (row.attempt <= row.max_attempts, "more attempts than its budget"),
        (
            row.state.is_finished() || !row.suspicion.is_some_and(|found| found.is_poison(row.crashes)),
            "poison, and still live",
        ),
        (running == row.lease_until.is_some(), "an end of the lease exactly while running"),
        (!running || (row.lease_id.is_some() && row.worker.is_some()), "running without lease or worker"),
        (row.state.is_finished() == row.finished_at.is_some(), "an end exactly when finished"),
        ((row.state == State::Completed) == row.output.is_some(), "an output exactly when completed"),
        (!row.unique_held || row.unique_key.is_some(), "a key held and no key"),
        (!(row.state.is_finished() && row.unique_held) || window, "finished, and holds its key"),
        (
            running || row.state.is_finished() || row.cancel_requested_at.is_none(),
            "to be cancelled, and queued",
        ),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
}

/// A handler whose lease was lost, or whose job was cancelled, is asked to stop as soon as its worker can know. Otherwise it would
/// hold its slot with work that counts for nothing.
pub fn check_stop_requests(parts: &Parts, machines: &[Option<Machine>]) {
    let now = parts.world.now();
    let patience = parts.lease + Duration::from_secs(5);
    let mut wrong = Vec::new();
    {
        let model = parts.stage.model();
        for live in parts.stage.live().iter_mut() {
            let (id, worker) = (live.context.id(), live.context.job().worker.as_deref().unwrap_or_default());
            let wanted = |row: &Row| row.runs_under(live.lease) && !row.cancel_asked;
            let goes_on = model.rows().any(|(other, _, row)| other == id && wanted(row));
            let machine = machines.iter().flatten().find(|machine| machine.name == machine_of(worker));
            let Some(machine) = machine.filter(|machine| machine.is_well()) else {
                live.unwanted_since = None;
                continue;
            };
            if goes_on || live.context.is_cancelled() {
                live.unwanted_since = None;
                continue;
            }
            let since = (*live.unwanted_since.get_or_insert(now)).max(machine.troubled_at);
            if later(since, patience) < now {
                wrong.push(format!("the handler of job {id} on {worker} was not asked to stop"));
            }
        }
    }
    report(&parts.stage, wrong);
}

/// A due job does not wait while a worker that could run it has a free slot: neither polling nor back-off may come between.
pub fn check_prompt(parts: &Parts, machines: &[Option<Machine>]) {
    let mut wrong = Vec::new();
    for machine in machines.iter().flatten().filter(|machine| machine.is_well() && machine.has_free_slot()) {
        let befell_at = machine.troubled_at.max(machine.set_at);
        if machine.clock.is_off_pace() || later(befell_at, TROUBLE_PASSES) > parts.world.now() {
            continue;
        }
        let now = machine.clock.now();
        let (queues, kinds) = &machine.serves;
        let model = parts.stage.model();
        // While a prime suspect runs in a process, or waits there to run alone, nothing else begins.
        let is_prime = |row: &Row| row.suspicion.is_some_and(|suspicion| suspicion.is_prime(row.crashes));
        let holds = |row: &Row| {
            let its = row.worker.as_deref().map(machine_of);
            row.state == State::Running && its == Some(machine.name.as_str())
        };
        if model.rows().any(|(_, _, row)| holds(row) && is_prime(row)) {
            continue;
        }
        let waits = |row: &Row| {
            row.state == State::Queued
                && later(row.scheduled_at, PICKUP_MAX) < now
                && row.expires_at.is_none_or(|at| at > now)
                && !model.is_paused(&row.queue)
                && queues.contains(&row.queue)
                && kinds.contains(&row.kind.as_str())
        };
        let waiting = model.rows().find(|(_, _, row)| waits(row));
        wrong.extend(waiting.map(|(id, _, _)| format!("job {id} is due and {machine:?} does not take it")));
    }
    report(&parts.stage, wrong);
}

/// A due job is taken within this span of a worker's time.
const PICKUP_MAX: Duration = Duration::from_millis(500);
/// So long after a trouble a worker may still wait for its last failed call.
const TROUBLE_PASSES: Duration = Duration::from_secs(20);

/// Once a worker has stopped in order, none of its jobs is left running.
pub fn check_stopped(stage: &Stage, worker: &str) {
    let mut model = stage.model();
    let model = &mut *model;
    let left = model
        .rows()
        .find(|(_, _, row)| {
            let its = row.worker.as_deref().unwrap_or_default();
            row.state == State::Running && machine_of(its) == worker && !model.is_dead(its)
        })
        .map(|(id, _, _)| id);
    if let Some(id) = left {
        model.wrong(format!("worker {worker} stopped and left job {id} running"));
    }
}

/// No worker is declared dead that lives, however wrong its clock or that of its observers is.
pub fn check_dead(parts: &Parts, machines: &[Option<Machine>]) {
    let now = parts.world.now();
    let declared = parts.stage.model().take_declared();
    let lives = |machine: &&Machine| {
        machine.is_well()
            && (!machine.ever_troubled || later(machine.troubled_at, parts.lease + TROUBLE_PASSES) < now)
    };
    let mut wrong = Vec::new();
    for worker in declared {
        let machine = machines.iter().flatten().find(|machine| machine.name == machine_of(&worker));
        if let Some(machine) = machine.filter(lives) {
            wrong.push(format!("worker {worker} was declared dead and lives: {machine:?}"));
        }
    }
    report(&parts.stage, wrong);
}

/// No job of a dead worker waits for its rescue for longer than a lease and a few rounds of upkeep, where a worker does upkeep.
pub fn check_rescued(parts: &Parts, machines: &[Option<Machine>], gone: &BTreeMap<String, Timestamp>) {
    let able = machines.iter().flatten().filter(|machine| machine.upkeep && machine.is_well());
    let Some(since) = able.map(|machine| machine.troubled_at.max(machine.started_at)).min() else { return };
    let (now, patience) = (parts.world.now(), parts.lease + RESCUED_WITHIN);
    let mut wrong = Vec::new();
    {
        let model = parts.stage.model();
        for (id, _, row) in model.rows().filter(|(_, _, row)| row.state == State::Running) {
            let worker = row.worker.as_deref().unwrap_or_default();
            let Some(gone_at) = gone.get(machine_of(worker)) else { continue };
            if later((*gone_at).max(since), patience) < now {
                wrong.push(format!("job {id} of {worker}, which is dead since {gone_at}, was not rescued"));
            }
        }
    }
    report(&parts.stage, wrong);
}

/// So long after its lease a dead worker is declared dead and its jobs are rescued: the pace of heartbeats and of upkeep, and
/// monotonic clocks that drift.
const RESCUED_WITHIN: Duration = Duration::from_secs(10);

fn report(stage: &Stage, wrong: Vec<String>) {
    let mut model = stage.model();
    wrong.into_iter().for_each(|what| model.wrong(what));
}
