//! Each verb of the seam, and the file of this store that answers it.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, Kinds, LeaseId, LogLine, Message, MessageId, Queue, Timestamp,
    draft::NewJob,
    schedule::{Entry, ScheduleRow},
    stats::StatsRow,
};

use super::{
    SqliteStore, bytes, claim, endpoints, health, held, hints::Hints, import, insert, is_of_one, note,
    operation::Weight, queues, read, replies, row, schedules, stats, upkeep, workers,
};
use crate::{
    Error,
    store::{
        Acknowledged, Beaten, Call, Claim, Committed, Count, Deleted, DropMessages, DueAfter, DueSchedules,
        EndedEndpoint, EndpointVerbs, Filter, Health, Holder, Inserted, JobVerbs, LeaseStatus, Load,
        MessageRow, Moved, Note, Notifier, Prune, QueueSetting, QueueVerbs, ReadVerbs, Record, Recorded,
        ReplyQueue, ReplyVerbs, RunningJob, ScheduleMove, ScheduleVerbs, Seen, Store, TakeMessages,
        WorkerRow, WorkerVerbs,
    },
};

#[async_trait]
impl JobVerbs for SqliteStore {
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        _call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        // A read by primary key finds both live and finished jobs, so each call is safe to repeat.
        let weight = Weight::durable(jobs.len()).bytes(bytes::of_jobs(jobs.iter().map(|new| &new.job)));
        self.write(weight, move |tx, hints| insert::insert(tx, &jobs, now, hints)).await?
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error> {
        // The jobs that it takes are in memory until the transaction is committed.
        let weight = Weight::passing(claim.limit).bytes(claim.bytes_max);
        self.write(weight, move |tx, hints| claim::claim(tx, &claim, now, call, hints)).await
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        match self.commit_part(&changes, 0..changes.len()).await {
            Err(error) if changes.len() > 1 && is_of_one(&error) => {}
            answered => return answered,
        }
        // One change that cannot be written has failed the others with it, so each is tried alone. The caller gets the error,
        // and finds the others done when it commits them again.
        let (mut answers, mut refused) = (Vec::with_capacity(changes.len()), None);
        for index in 0..changes.len() {
            match self.commit_part(&changes, index..index + 1).await {
                Ok(answer) => answers.extend(answer),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(answers), Err)
    }

    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error> {
        self.lease_readers.run(move |reader| held::held(reader, &leases)).await
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        let weight = Weight::passing(notes.len()).bytes(bytes::of_notes(&notes));
        self.write(weight, move |tx, hints| note::note(tx, &notes, now, hints)).await
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        // A reader finds the jobs: it may have to pass over any number of others, and in the writer all writes would wait meanwhile.
        let found = self.readers.run(move |reader| upkeep::prunable(reader, &prune, now)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.write(Weight::durable(found.len()), move |tx, hints| upkeep::prune(tx, &found, now, hints)).await
    }

    async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deleted, Error> {
        self.write(Weight::durable(1), move |tx, hints| upkeep::delete(tx, id, None, Some(now), hints)).await
    }

    async fn delete_copy(&self, id: JobId) -> Result<Deleted, Error> {
        self.write(Weight::durable(1), move |tx, hints| upkeep::delete(tx, id, None, None, hints)).await
    }

    async fn delete_unmoved(
        &self,
        jobs: Arc<Vec<(JobId, u64)>>,
        now: Timestamp,
    ) -> Result<Vec<Deleted>, Error> {
        let weight = Weight::durable(jobs.len());
        let delete = move |tx: &rusqlite::Connection, hints: &mut Hints| {
            jobs.iter()
                .map(|(id, revision)| upkeep::delete(tx, *id, Some(*revision), Some(now), hints))
                .collect()
        };
        self.write(weight, delete).await
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        let weight = Weight::durable(records.len()).bytes(bytes::of_records(&records));
        self.write(weight, move |tx, hints| import::import(tx, &records, hints)).await
    }
}

#[async_trait]
impl ReadVerbs for SqliteStore {
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.vital_readers.run(move |reader| row::find(reader, id)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::attempts(reader, id, bytes_max)).await
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::logs(reader, id, skip, limit, bytes_max)).await
    }

    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::history(reader, id, seen, limit, bytes_max)).await
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::list(reader, &filter, before, limit, bytes_max)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        self.readers.run(move |reader| read::counts(reader, now)).await
    }

    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Error> {
        let queue = queue.to_owned();
        self.readers.run(move |reader| read::load(reader, &queue, limit, now)).await
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        self.readers.run(move |reader| read::ahead(reader, &job, limit, now)).await
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Kinds>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.vital_readers.run(move |reader| read::next_due(reader, &queues, &kinds, now)).await
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error> {
        let worker = worker.to_owned();
        self.vital_readers.run(move |reader| workers::running_of(reader, &worker, after, limit)).await
    }

    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.vital_readers.run(move |reader| upkeep::expired_jobs(reader, limit, now)).await
    }
}

#[async_trait]
impl QueueVerbs for SqliteStore {
    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.vital_readers.run(queues::queues).await
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(Weight::durable(1), move |tx, hints| queues::set_queue(tx, &name, &setting, hints)).await
    }
}

#[async_trait]
impl WorkerVerbs for SqliteStore {
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        self.write(Weight::passing(1), move |tx, _| workers::beat(tx, &worker)).await
    }

    async fn deregister(&self, worker: &str) -> Result<(), Error> {
        let worker = worker.to_owned();
        self.write(Weight::passing(1), move |tx, _| workers::leave(tx, &worker)).await
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        self.readers.run(move |reader| workers::workers(reader, since)).await
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.vital_readers.run(workers::holders).await
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        let worker = worker.to_owned();
        // Durably: after the loss of power the dead must not be taken for living.
        self.write(Weight::durable(1), move |tx, _| workers::declare_dead(tx, &worker, beats, now)).await
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        self.write(Weight::passing(1), move |tx, _| stats::put(tx, &row, now)).await
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        self.readers.run(move |reader| stats::stats(reader, since, limit)).await
    }
}

#[async_trait]
impl ReplyVerbs for SqliteStore {
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error> {
        // Most calls of a taker that waits find nothing. They need not wait for the writer. This one reads what is committed, as
        // the writer would.
        if call == Call::First {
            let reply_to = take.reply_to.clone();
            if !self.vital_readers.run(move |reader| replies::has_any(reader, &reply_to)).await? {
                return Ok(Vec::new());
            }
        }
        let weight = Weight::passing(take.limit).bytes(take.bytes_max);
        self.write(weight, move |tx, _| replies::take(tx, &take, now, call)).await
    }

    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error> {
        let weight = Weight::durable(ids.len());
        self.write(weight, move |tx, hints| replies::acknowledge(tx, lease, &ids, hints)).await
    }

    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error> {
        let weight = Weight::passing(ids.len());
        self.write(weight, move |tx, hints| replies::release(tx, lease, &ids, hints)).await
    }

    async fn forget_messages(&self, jobs: Arc<Vec<JobId>>) -> Result<u64, Error> {
        let weight = Weight::durable(jobs.len());
        self.write(weight, move |tx, hints| replies::forget(tx, &jobs, hints)).await
    }

    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        let (reply_to, bytes_max) = (reply_to.map(str::to_owned), self.bytes_max);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.readers
            .run(move |reader| replies::messages(reader, reply_to.as_deref(), after, limit, bytes_max))
            .await
    }

    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error> {
        let after = after.map(str::to_owned);
        self.readers.run(move |reader| replies::reply_queues(reader, after.as_deref(), limit, now)).await
    }

    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error> {
        let weight = Weight::durable(bounds.limit);
        self.write(weight, move |tx, _| replies::drop_messages(tx, &bounds, now)).await
    }

    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error> {
        let bytes = messages.iter().map(|message| bytes::of_message(&message.body)).sum();
        let weight = Weight::durable(messages.len()).bytes(bytes);
        self.write(weight, move |tx, hints| replies::import(tx, &messages, hints)).await
    }
}

#[async_trait]
impl EndpointVerbs for SqliteStore {
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error> {
        self.write(Weight::durable(1), move |tx, _| endpoints::end(tx, &endpoint)).await
    }

    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error> {
        let url = url.to_owned();
        self.readers.run(move |reader| endpoints::find(reader, &url)).await
    }

    async fn ended_endpoints(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<EndedEndpoint>, Error> {
        self.readers.run(move |reader| endpoints::list(reader, after.as_deref(), limit)).await
    }

    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error> {
        let url = url.to_owned();
        self.write(Weight::durable(1), move |tx, _| endpoints::enable(tx, &url)).await
    }
}

#[async_trait]
impl ScheduleVerbs for SqliteStore {
    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, Error> {
        let name = name.to_owned();
        self.vital_readers.run(move |reader| schedules::find(reader, &name)).await
    }

    async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleRow>, Error> {
        let after = after.map(str::to_owned);
        self.readers.run(move |reader| schedules::list(reader, after.as_deref(), limit)).await
    }

    async fn move_schedules(&self, moves: Arc<Vec<ScheduleMove>>) -> Result<Vec<Moved>, Error> {
        let rows = moves.iter().map(ScheduleMove::rows).sum();
        let weight = Weight::durable(rows).bytes(bytes::of_moves(&moves));
        self.write(weight, move |tx, hints| schedules::move_all(tx, &moves, hints)).await
    }

    async fn delete_schedule(&self, name: &str, revision: Option<u64>) -> Result<Moved, Error> {
        let name = name.to_owned();
        self.write(Weight::durable(1), move |tx, _| schedules::delete(tx, &name, revision)).await
    }

    async fn due_schedules(
        &self,
        after: Option<Arc<DueAfter>>,
        limit: usize,
        now: Timestamp,
    ) -> Result<DueSchedules, Error> {
        self.vital_readers.run(move |reader| schedules::due(reader, after.as_deref(), limit, now)).await
    }

    async fn entries(&self, schedule: &str, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        let schedule = schedule.to_owned();
        self.readers.run(move |reader| schedules::entries(reader, &schedule, before, limit)).await
    }

    async fn entry_of_key(&self, schedule: &str, key: &str) -> Result<Option<Entry>, Error> {
        let (schedule, key) = (schedule.to_owned(), key.to_owned());
        self.readers.run(move |reader| schedules::entry_of_key(reader, &schedule, &key)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn health(&self) -> Result<Health, Error> {
        let (path, durability) = (self.path.clone(), self.durability);
        if let Some(found) = self.writer.as_ref().and_then(|writer| writer.identity().found()) {
            return Ok(health::of_lost(&path, durability, found));
        }
        let is_writable = self.writer.is_some();
        self.readers.run(move |reader| health::health(reader, &path, durability, is_writable)).await
    }

    fn notifier(&self) -> &Arc<Notifier> {
        &self.wakes
    }

    async fn close(&self) -> Result<(), Error> {
        // Readers first: the whole log can be copied back only when no connection reads an old state of it.
        self.readers.close().await;
        self.vital_readers.close().await;
        self.lease_readers.close().await;
        match &self.writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }
}
