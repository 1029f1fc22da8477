//! Writes what a call has led to, under the lease of its run.

use std::{collections::HashSet, sync::Arc};

use backroom_core::{
    Draft, JobId, JobRow,
    draft::NewJob,
    links::{ChildCancel, Parent},
    workflow::{Entry, Write},
};

use super::Turn;
use crate::{
    Error, ErrorKind,
    engine::Engine,
    leases::{RunKey, RunOutcome},
    store::{JournalWrite, Wrote},
};

impl Turn {
    /// Writes to the journal what the call leads to, if anything.
    pub(super) async fn write(&self, engine: &Engine, job: &JobRow, run: RunKey) -> Result<Wrote, Error> {
        let parks = self.outcome == Some(RunOutcome::Park);
        if self.writes.is_empty() && !self.is_header_new && !parks && self.next_args.is_none() {
            return Ok(Wrote::Done);
        }
        let (mut entries, mut taken, mut children, mut publishes) =
            (Vec::<Entry>::new(), Vec::new(), Vec::new(), false);
        let mut cancels = Vec::new();
        // Children that this call begins and cancels are not begun.
        let (begun, ended) = self.children();
        let is_unborn = |job: &JobId| begun.contains(job) && ended.contains(job);
        for write in &self.writes {
            match write {
                Write::Entry(entry) => match entries.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => *known = entry.clone(),
                    None => entries.push(entry.clone()),
                },
                Write::Take { n } => taken.push(*n),
                Write::StartChild { job, .. } | Write::CancelChild { job, .. } if is_unborn(job) => {}
                Write::StartChild { key, job: id, policy } => {
                    let parent = Parent { workflow: job.id, key: key.clone(), policy: *policy };
                    children.push(self.child(engine, *id, parent)?);
                }
                Write::CancelChild { job: child, reason } => {
                    cancels.push(ChildCancel { workflow: job.id, child: *child, reason: reason.clone() });
                }
                Write::Publish(_) => publishes = true,
                Write::Phase(_) | Write::Failed(_) | Write::Resume { .. } | Write::NextGeneration => {}
            }
        }
        let clears = self.next_args.is_some();
        if clears {
            entries.clear();
        }
        let is_charged = job.attempt > 1 || job.crashes > 0;
        let ties =
            !job.undoes() && (!children.is_empty() || entries.iter().any(|entry| entry.undo.is_some()));
        let write = JournalWrite {
            workflow: job.id,
            lease: run.lease,
            revision_before: self.revision,
            header: self.header.clone(),
            publishes,
            clears,
            entries,
            taken,
            at: engine.clock.now(),
            children,
            cancels,
            args: self.next_args.clone(),
            // Another call of this run may have written it, and parks now.
            wake_at: if parks { self.wake_at } else { self.wake_at_before },
            forgives: is_charged && self.header.progress > self.progress_before,
            ties,
        };
        let is_timed = write.wake_at.is_some();
        let wrote = engine.store.write_journals(Arc::new(vec![write])).await?;
        if is_timed {
            engine.store.notifier().notify_wakes();
        }
        Ok(wrote.first().copied().unwrap_or(Wrote::Fenced))
    }

    /// Children that the call begins, and those that it cancels.
    fn children(&self) -> (HashSet<JobId>, HashSet<JobId>) {
        let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
        for write in &self.writes {
            match write {
                Write::StartChild { job, .. } => _ = begun.insert(*job),
                Write::CancelChild { job, .. } => _ = ended.insert(*job),
                Write::Entry(_)
                | Write::Take { .. }
                | Write::Publish(_)
                | Write::Phase(_)
                | Write::Failed(_)
                | Write::Resume { .. }
                | Write::NextGeneration => {}
            }
        }
        (begun, ended)
    }

    fn child(&self, engine: &Engine, id: JobId, parent: Parent) -> Result<NewJob, Error> {
        let missing = || {
            let message = format!("begin child {:?}: the ask names no job", parent.key);
            Error::new(ErrorKind::Invalid, message)
        };
        let draft = self.drafts.get(&parent.key).cloned().ok_or_else(missing)?;
        let mut new = engine.check(Draft { id: Some(id), ..draft }, engine.clock.now(), None)?;
        new.job.links.get_or_insert_default().parent = Some(parent);
        Ok(new)
    }
}
