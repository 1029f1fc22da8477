//! What must hold for the children of workflows: each is started once per entry, its end is reported to its workflow once, the policy
//! decides what becomes of it when the workflow ends first, and no workflow stays parked for a child that has ended.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use backroom::{
    Backroom, Error, Job as _, JobId, JobRow, State,
    store::JournalWrite,
    workflow::{Answer, Arrived, ChildPolicy, Entry, EntryKind, EntryState, Opened, WorkflowJournal},
};
use jiff::SignedDuration;

use super::{office::Office, program::Flow};

/// How far the clocks of two machines may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// Reasons with which a workflow cancels children although it completes, or goes on.
const WELL: [&str; 2] = ["its workflow has completed", "its workflow has begun an empty journal"];
/// Reasons with which it cancels them because it, or a branch of it, comes to nothing.
const BADLY: [&str; 3] =
    ["its workflow has failed", "its workflow was cancelled", "its branch has lost a race"];

impl Office {
    /// Notes which children a write has started.
    pub fn started(&self, write: &JournalWrite) {
        // A write that begins the next generation has the header of that one.
        let generation = write.header.generation - u32::from(write.clears);
        for child in &write.children {
            let id = child.job.id;
            let parent = child.job.links.as_ref().and_then(|links| links.parent.clone());
            let Some(parent) = parent.filter(|parent| parent.workflow == write.workflow) else {
                self.model().wrong(format!("child {id} does not name its workflow {}", write.workflow));
                continue;
            };
            let key = (write.workflow, generation, write.header.resumes, parent.key);
            let before = self.known().children.insert(key.clone(), id).filter(|before| *before != id);
            if let Some(before) = before {
                self.model().wrong(format!("entry {key:?} started two children: {before} and {id}"));
            }
        }
    }
}

impl Office {
    /// Whether this is the child that the entry of this key stands for in this generation.
    fn is_last(&self, child: JobId, (workflow, generation): (JobId, u32), key: &str) -> bool {
        let known = self.known();
        let of = |resumes| (workflow, generation, resumes, key.to_owned());
        (0..=known.resumes.get(&workflow).copied().unwrap_or_default())
            .rev()
            .find_map(|resumes| known.children.get(&of(resumes)))
            .is_some_and(|last| *last == child)
    }
}

/// A workflow that is parked waits for no child that has ended.
pub async fn parked(office: &Office, client: &Backroom, rows: &[JobRow]) -> Result<(), Error> {
    let parked = |row: &&JobRow| row.kind == Flow::KIND && row.state == State::Waiting;
    for row in rows.iter().filter(parked) {
        let Some(journal) = client.journal(row.id).await? else { continue };
        let mut ended = Vec::new();
        for child in journal.entries.iter().filter_map(open_child).map(|(child, _)| child) {
            // None is deleted here.
            if client.job(child).await?.state.is_finished() {
                ended.push(child);
            }
        }
        // It may have been woken while this was read.
        let is_still = client.job(row.id).await?.revision == row.revision;
        if !ended.is_empty() && is_still {
            office
                .model()
                .wrong(format!("{row:?} is parked, and its children {ended:?} have ended: {journal:?}"));
        }
    }
    Ok(())
}

/// Judges all children once everything has come to its end.
pub async fn account(office: &Office, client: &Backroom, rows: &[JobRow]) -> Result<(), Error> {
    let started: BTreeSet<JobId> = office.known().children.values().copied().collect();
    let stored: BTreeMap<JobId, &JobRow> = rows.iter().map(|row| (row.id, row)).collect();
    for child in started.iter().filter(|child| !stored.contains_key(child)) {
        office.model().wrong(format!("child {child} was started and is not stored"));
    }
    let mut journals: BTreeMap<JobId, Option<WorkflowJournal>> = BTreeMap::new();
    for child in rows {
        let Some(parent) = child.links.as_ref().and_then(|links| links.parent.as_ref()) else { continue };
        if !started.contains(&child.id) {
            office.model().wrong(format!("no journal has started child {child:?}"));
        }
        if let btree_map::Entry::Vacant(place) = journals.entry(parent.workflow) {
            place.insert(client.journal(parent.workflow).await?);
        }
        let (Some(workflow), Some(Some(journal))) =
            (stored.get(&parent.workflow), journals.get(&parent.workflow))
        else {
            office.model().wrong(format!("the workflow of child {child:?} has no row, or no journal"));
            continue;
        };
        office.model().tally.children += 1;
        let is_last = office.is_last(child.id, (parent.workflow, journal.header.generation), &parent.key);
        let arrival = arrival(child, is_last, workflow, journal);
        for wrong in [policy(child, parent.policy, workflow, journal), arrival].into_iter().flatten() {
            office.model().wrong(format!("{wrong}: {child:?} of {workflow:?} with {journal:?}"));
        }
    }
    Ok(())
}

/// The child of an entry that waits for one.
fn open_child(entry: &Entry) -> Option<(JobId, ChildPolicy)> {
    match entry.state {
        EntryState::Open(Opened::Child { job, policy }) => Some((job, policy)),
        _ => None,
    }
}

/// What is wrong with the way in which the policy of a child was obeyed.
fn policy(
    child: &JobRow,
    policy: ChildPolicy,
    workflow: &JobRow,
    journal: &WorkflowJournal,
) -> Option<&'static str> {
    let reason = child.reason.as_deref().unwrap_or_default();
    let may_not = (WELL.contains(&reason) && policy != ChildPolicy::Cancel)
        || (BADLY.contains(&reason) && policy == ChildPolicy::Abandon);
    if may_not {
        return Some("a workflow cancelled a child against its policy");
    }
    let is_open = journal.entries.iter().filter_map(open_child).any(|(open, _)| open == child.id);
    let reason = workflow.reason.as_deref().unwrap_or_default();
    // An operator may retry it, so its children run on.
    let was_given_up = reason.starts_with("poison") || reason.starts_with("gave up");
    if !is_open || was_given_up || !policy.cancels(workflow.state) {
        return None;
    }
    let was_cancelled = child.state == State::Cancelled || child.cancel_requested_at.is_some();
    let runs_on = match (child.finished_at, workflow.finished_at) {
        (Some(child), Some(workflow)) => child > workflow + SKEW,
        (None, _) | (_, None) => true,
    };
    (runs_on && !was_cancelled).then_some("a workflow has ended and left a child that its policy cancels")
}

/// What is wrong with the way in which the end of a child was reported.
fn arrival(
    child: &JobRow,
    is_last: bool,
    workflow: &JobRow,
    journal: &WorkflowJournal,
) -> Option<&'static str> {
    let is_of = |arrived: &Arrived| matches!(arrived, Arrived::Child { job, .. } if *job == child.id);
    let waiting = journal.arrivals.iter().filter(|arrival| is_of(&arrival.what)).count();
    if waiting > 1 {
        return Some("the end of a child waits twice");
    }
    // The entry of its key stands for another child: of a later generation, or begun again after a retry.
    if !is_last {
        return None;
    }
    let key = child.links.as_ref().and_then(|links| links.parent.as_ref()).map(|parent| parent.key.as_str());
    let entry = journal.entries.iter().find(|entry| Some(entry.key.as_str()) == key)?;
    if entry.kind != EntryKind::Child {
        return Some("the entry of a child is of another kind");
    }
    match &entry.state {
        EntryState::Open(Opened::Child { job, .. }) if *job != child.id => None,
        EntryState::Open(_) => {
            // It is taken with the answer, and not before.
            let is_lost = child.state.is_finished() && waiting == 0 && workflow.state != State::Completed;
            is_lost.then_some("the end of a child was not reported to its workflow")
        }
        EntryState::Closed { answer: Answer::Child { end }, .. } => {
            let is_its = match end {
                backroom::workflow::ChildEnd::Completed { output } => {
                    child.state == State::Completed && child.output.as_ref() == Some(output)
                }
                backroom::workflow::ChildEnd::Cancelled { .. } => child.state == State::Cancelled,
                backroom::workflow::ChildEnd::Discarded { .. } => child.state == State::Discarded,
            };
            if waiting > 0 {
                return Some("the end of a child is recorded, and waits once more");
            }
            (!is_its).then_some("the recorded end of a child is not how it ended")
        }
        EntryState::Closed { .. } => Some("the entry of a child has the answer of something else"),
        // The child was cancelled with its workflow, or has failed before a retry: another one takes its place.
        EntryState::Superseded { .. } | EntryState::Lost => None,
    }
}
