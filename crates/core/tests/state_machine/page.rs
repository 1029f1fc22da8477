//! Prints `docs/state-machine.md`: an overview by event and state, then every case.

use std::{collections::BTreeSet, fmt::Write as _};

use backroom_core::{Event, JobRow, State, transition::apply};

use crate::{
    common::{now, starts},
    events, words,
};

/// How `events` ends the name of a report that comes too late.
const STALE: &str = "stale lease";

const INTRO: &str = "\
# The state machine

<!-- Printed by crates/core/tests/state_machine; do not edit. -->
<!-- UPDATE_DOCS=1 cargo test -p backroom-core --test state_machine -->

What each event does to a job, as `transition::apply` answers and as the exhaustive test expects. A job is stored
in one of six states: `queued`, `running` and `waiting` are *live*; `completed`, `cancelled` and `discarded` are
*finished*. A queued job is shown as *scheduled* (not due, never tried), *retrying* (not due, tried before) or
*available* (due).

## Legend

| text | meaning |
|---|---|
| refused | the event does not apply and the caller gets the reason; the row stays as it was |
| nothing | the event is accepted and there is nothing left to do; the row stays as it was |
| a state, then effects | the row takes that state, its revision grows by one, and only the effects named happen |
| stale lease | a report about a run that is no longer the current one: the job was rescued or given back |
| attempt +1, given back | `attempt` counts what is charged against `max_attempts`; a claim charges it at once |
| one attempt more | `max_attempts` grows so that one more claim is possible |
| died, … | the worker's process died; `core::blame` says which part the job had in it |
| alone | nothing else ran in the process |
| on trial | the job was suspected and had just begun beside others |
| beside others | several jobs ran and none was on trial, or the job began during the trial of another |
| trial passed | the job was suspected and ran on after its trial |
| not begun, explained | the job was only held ready; the suspect on trial explains the death that both were charged for |
| crashes +1 | the process's death is charged to the job: from then on it is a suspect |
| 1 on trial, 2 alone | so many of its crashes are evidence; two alone and three in all are poison |
| crashes forgiven | the job is no longer a suspect |
| crashes begin again at 1 | the crashes before were too long ago |
| due now, in 5 s, in 60 s … | `scheduled_at` moves; the examples fail with a back-off of 60 s, and snooze and amend for 300 s |
| priority 1, other args | what the caller wrote changes; only an amendment does that |
| new lease | `lease_id`, `lease_until`, `worker` and `started_at` are those of the claim |
| key freed, taken | the unique key, here of a job that holds it while it is live |
| cancel pending | the worker asks the handler to stop; how its run ends decides how the job ends |
| wake remembered, cleared | a wake while the job runs makes its next suspend return at once |
| tied to a journal | the job of a workflow that has children, or steps that can be undone |
| moved on since | the workflow has recorded an answer after it was charged, and the write of that answer forgave it |
| recorded as … | stored effect: a row in `attempts`, written in the same transaction, says how the run ended |

What holds for every change, and is left out below: `lease_until` is set exactly while running. The end
of a run keeps `lease_id` and `worker` as its mark. `finished_at` is set exactly when finished, `output` exactly when
completed. A report is written only while its lease is the current one. Callers that wait for the job are notified. A change
to `queued` also notifies the workers of the queue, and a change that leaves a job running with a cancel pending its worker.
";

const NOTES: &str = "
## Notes

- **Attempt.** Failures are charged; snooze, release, suspend and crashes are not. A job that is not running has
  at least one attempt left, or is finished.
- **Crashes** are no failures: a crash gives its attempt back. A job is discarded as poison after three crashes within
  72 hours if at least two happened while nothing else ran in the process. A suspect that was on trial or alone when its
  process died waits 5 s, then 20 s, 80 s and so on, at most 10 min. Then it runs alone. Retry by hand forgives all crashes.
- **A lease lost by a living process** is no crash. It is recorded as `lost`, with the known cause.
- **`scheduled_at`** moves by back-off, snooze, wake, retry by hand and the wait of a prime suspect. Release and every
  other loss leave it as it is, so the job does not lose its place in line.
- **Cancel** of a running job only asks. Success still wins, and so does the handler's own discard or stop. Every
  other end of the run ends the job as cancelled, with the reason of the first caller that asked.
- **A workflow** that has children, or steps that can be undone, deals with them before it ends. So a cancel asks it as it asks a running
  job, wherever it is, and no end of a run but its own, its last attempt or poison ends it. It does not expire. What is charged to
  it counts from its last recorded answer on.
- **Give up** by hand ends a job that does not run as discarded, as after its last attempt. A retry by hand revives it.
- **Amend** changes time, priority and args of a job that waits for its turn. It is refused if the job would expire before its new time,
  and if its unique key was made from the args that would change. Kind and queue never change.
- **Unique key.** Each hold may have a moment at which it ends in any case. Held *while live*, it is freed at the end and taken again by retry by hand. A store refuses that
  retry if another job holds the key by then. Held *while queued*, it is freed by the first claim for good. Held
  *until a moment*, no event moves it.
- **Expiry** is checked while queued. Retry by hand drops an expiry that has passed.
";

/// The whole page.
pub(crate) fn print() -> String {
    let mut page = String::from(INTRO);
    overview(&mut page);
    for state in State::ALL {
        cases(&mut page, state);
    }
    page.push_str(NOTES);
    page
}

fn answer(job: &JobRow, event: &Event) -> String {
    words::of(job, event, &apply(job, event.clone(), now()))
}

const OVERVIEW: &str = "
## Overview

Where each event can lead from each state, under the current lease; the sections below say when. A pair that is refused
in some situations only is listed by what it does in the others.

| event | queued | running | waiting | finished |
|---|---|---|---|---|
";

/// One line per event, one column per live state and one for all that is finished.
fn overview(page: &mut String) {
    page.push_str(OVERVIEW);
    let columns: [fn(State) -> bool; 4] = [
        |state| state == State::Queued,
        |state| state == State::Running,
        |state| state == State::Waiting,
        State::is_finished,
    ];
    for (name, event) in events().into_iter().filter(|(name, _)| !name.ends_with(STALE)) {
        let _ = write!(page, "| {name} |");
        for belongs in columns {
            let _ = write!(page, " {} |", leads_to(&event, belongs));
        }
        page.push('\n');
    }
}

/// The different states that follow in the situations of one column.
fn leads_to(event: &Event, belongs: fn(State) -> bool) -> String {
    let mut heads: Vec<String> = Vec::new();
    for (_, job) in starts().into_iter().filter(|(_, job)| belongs(job.state)) {
        let said = answer(&job, event);
        let head = match said.split(':').next().unwrap_or(&said) {
            quiet @ ("refused" | "nothing") => quiet.to_owned(),
            state => format!("→ {state}"),
        };
        if !heads.contains(&head) {
            heads.push(head);
        }
    }
    if heads.len() > 1 {
        heads.retain(|head| head.starts_with('→'));
    }
    heads.join(", ")
}

/// Every case of one state; situations with the same answer share a line.
fn cases(page: &mut String, state: State) {
    let _ = write!(page, "\n## {state}\n\n| event | when | what follows |\n|---|---|---|\n");
    let situations: Vec<_> = starts().into_iter().filter(|(_, job)| job.state == state).collect();
    let (stale, others): (Vec<_>, Vec<_>) = events().into_iter().partition(|(name, _)| name.ends_with(STALE));
    let same = stale.iter().flat_map(|(_, event)| situations.iter().map(|(_, job)| answer(job, event)));
    let same: BTreeSet<_> = same.collect();
    assert_eq!(same.len(), 1, "one line speaks for every stale report, so all must be answered alike");
    for said in &same {
        let _ = writeln!(page, "| any report with a stale lease | always | {said} |");
    }
    for (name, event) in others {
        let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
        for (situation, job) in &situations {
            let said = answer(job, &event);
            let when = situation.strip_prefix(state.as_str()).unwrap_or(situation);
            let when = match when.trim_start_matches(", ") {
                "" => "plain",
                when => when,
            };
            match lines.iter_mut().find(|(line, _)| *line == said) {
                Some((_, whens)) => whens.push(when),
                None => lines.push((said, vec![when])),
            }
        }
        for (said, whens) in &lines {
            let when = if lines.len() == 1 { "always".to_owned() } else { whens.join("; ") };
            let _ = writeln!(page, "| {name} | {when} | {said} |");
        }
    }
}
