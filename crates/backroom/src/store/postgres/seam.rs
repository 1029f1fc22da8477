//! Each verb of the seam, and the file of this store that answers it.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, Kinds, LeaseId, LogLine, Message, MessageId, Queue, Timestamp,
    draft::NewJob,
    schedule::{Entry, ScheduleRow},
    stats::StatsRow,
};
use futures_util::future::join4;

use super::{
    Core, PostgresStore,
    background::hints,
    failing,
    verbs::{
        claim, endpoints, health, held, import, insert::Insert, note, queues, read, replies, schedules,
        stats, upkeep, workers,
    },
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
impl JobVerbs for PostgresStore {
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        self.inserts.submit(Arc::new(Insert { jobs, now, call })).await
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error> {
        claim::claim(&self.core, &claim, now, call).await.map_err(failing("claim jobs"))
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        self.commits.submit(changes).await
    }

    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error> {
        held::held(&self.core, &leases).await.map_err(failing("read which leases are held"))
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        note::note(&self.core, &notes, now).await.map_err(failing("write notes"))
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        upkeep::prune(&self.core, &prune, now).await.map_err(failing("prune jobs"))
    }

    async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deleted, Error> {
        upkeep::delete(&self.core, id, Some(now)).await.map_err(failing("delete a job"))
    }

    async fn delete_copy(&self, id: JobId) -> Result<Deleted, Error> {
        upkeep::delete(&self.core, id, None).await.map_err(failing("delete the copy of a job"))
    }

    async fn delete_unmoved(
        &self,
        jobs: Arc<Vec<(JobId, u64)>>,
        now: Timestamp,
    ) -> Result<Vec<Deleted>, Error> {
        upkeep::delete_unmoved(&self.core, &jobs, now).await.map_err(failing("delete jobs"))
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        import::import(&self.core, &records).await.map_err(failing("import jobs"))
    }
}

#[async_trait]
impl ReadVerbs for PostgresStore {
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        read::job(&self.core, id).await.map_err(failing("read a job"))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        read::attempts(&self.core, id).await.map_err(failing("read attempts"))
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        read::logs(&self.core, id, skip, limit).await.map_err(failing("read a log"))
    }

    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error> {
        read::history(&self.core, id, seen, limit).await.map_err(failing("read the history of a job"))
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        read::list(&self.core, &filter, before, limit).await.map_err(failing("list jobs"))
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        read::counts(&self.core, now).await.map_err(failing("count jobs"))
    }

    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Error> {
        read::load(&self.core, queue, limit, now).await.map_err(failing("read how much work waits"))
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        read::ahead(&self.core, &job, limit, now).await.map_err(failing("count jobs ahead"))
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Kinds>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        read::next_due(&self.core, &queues, &kinds, now)
            .await
            .map_err(failing("read when the next job is due"))
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error> {
        let running = workers::running_of(&self.core, worker, after, limit).await;
        running.map_err(failing("find the jobs of a dead worker"))
    }

    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        upkeep::expired_jobs(&self.core, limit, now).await.map_err(failing("find expired jobs"))
    }
}

#[async_trait]
impl QueueVerbs for PostgresStore {
    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        queues::queues(&self.core).await.map_err(failing("list queues"))
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        queues::set_queue(&self.core, name, &setting).await.map_err(failing("change a queue"))
    }
}

#[async_trait]
impl WorkerVerbs for PostgresStore {
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        workers::beat(&self.core, &worker).await.map_err(failing("write a worker's heartbeat"))
    }

    async fn deregister(&self, worker: &str) -> Result<(), Error> {
        workers::leave(&self.core, worker).await.map_err(failing("remove the row of a worker"))
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        workers::workers(&self.core, since).await.map_err(failing("list workers"))
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        workers::holders(&self.core).await.map_err(failing("read which workers live"))
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        workers::declare_dead(&self.core, worker, beats, now).await.map_err(failing("declare a worker dead"))
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        stats::put(&self.core, &row, now).await.map_err(failing("write what a worker counted"))
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        stats::stats(&self.core, since, limit).await.map_err(failing("read what workers counted"))
    }
}

#[async_trait]
impl ReplyVerbs for PostgresStore {
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error> {
        replies::take(&self.core, &take, now, call).await.map_err(failing("take messages"))
    }

    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error> {
        replies::acknowledge(&self.core, lease, &ids).await.map_err(failing("acknowledge messages"))
    }

    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error> {
        replies::release(&self.core, lease, &ids).await.map_err(failing("give messages back"))
    }

    async fn forget_messages(&self, jobs: Arc<Vec<JobId>>) -> Result<u64, Error> {
        replies::forget(&self.core, &jobs).await.map_err(failing("forget messages"))
    }

    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        replies::messages(&self.core, reply_to, after, limit).await.map_err(failing("list messages"))
    }

    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error> {
        replies::reply_queues(&self.core, after, limit, now).await.map_err(failing("list reply queues"))
    }

    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error> {
        replies::drop_messages(&self.core, &bounds, now).await.map_err(failing("drop messages"))
    }

    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error> {
        replies::import(&self.core, &messages).await.map_err(failing("import messages"))
    }
}

#[async_trait]
impl EndpointVerbs for PostgresStore {
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error> {
        endpoints::end(&self.core, &endpoint).await.map_err(failing("end an endpoint"))
    }

    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error> {
        endpoints::find(&self.core, url).await.map_err(failing("find an endpoint"))
    }

    async fn ended_endpoints(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<EndedEndpoint>, Error> {
        endpoints::list(&self.core, after, limit).await.map_err(failing("list endpoints"))
    }

    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error> {
        endpoints::enable(&self.core, url).await.map_err(failing("enable an endpoint"))
    }
}

#[async_trait]
impl ScheduleVerbs for PostgresStore {
    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, Error> {
        schedules::find(&self.core, name).await.map_err(failing("read a schedule"))
    }

    async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleRow>, Error> {
        schedules::list(&self.core, after, limit).await.map_err(failing("list schedules"))
    }

    async fn move_schedules(&self, moves: Arc<Vec<ScheduleMove>>) -> Result<Vec<Moved>, Error> {
        schedules::move_all(&self.core, &moves).await.map_err(failing("write schedules"))
    }

    async fn delete_schedule(&self, name: &str, revision: Option<u64>) -> Result<Moved, Error> {
        schedules::delete(&self.core, name, revision).await.map_err(failing("delete a schedule"))
    }

    async fn due_schedules(
        &self,
        after: Option<Arc<DueAfter>>,
        limit: usize,
        now: Timestamp,
    ) -> Result<DueSchedules, Error> {
        let due = schedules::due(&self.core, after.as_deref(), limit, now).await;
        due.map_err(failing("read which schedules are due"))
    }

    async fn entries(&self, schedule: &str, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        let entries = schedules::entries(&self.core, schedule, before, limit).await;
        entries.map_err(failing("read the history of a schedule"))
    }

    async fn entry_of_key(&self, schedule: &str, key: &str) -> Result<Option<Entry>, Error> {
        let entry = schedules::entry_of_key(&self.core, schedule, key).await;
        entry.map_err(failing("find the trigger of a schedule"))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn health(&self) -> Result<Health, Error> {
        health::health(&self.core).await.map_err(failing("check the server"))
    }

    fn notifier(&self) -> &Arc<Notifier> {
        &self.core.hints.wakes
    }

    async fn close(&self) -> Result<(), Error> {
        self.inserts.finish().await;
        self.commits.finish().await;
        self.journals.finish().await;
        self.signals.finish().await;
        hints::finish(&self.core.hints, &self.core.claims, &self.core.settings).await;
        self.core.settings.closed.cancel();
        let Core { writer, claims, reads, vital, .. } = &*self.core;
        join4(writer.end(), claims.end(), reads.end(), vital.end()).await;
        Ok(())
    }
}
