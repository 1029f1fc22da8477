//! What a running job reads of those that it runs after, and of its batch.

use backroom_core::{
    JobId, JobRow, State,
    batch::{BatchId, EndsBatch},
    sealed,
};

use super::EDGES_AT_ONCE;
use crate::{
    Context, Error, ErrorKind, Job,
    client::job,
    store::{EdgesOfJob, Side},
};

impl Context {
    /// The output of the one job of kind `A` that this job runs after. [`NotFound`](ErrorKind::NotFound) if it runs after none,
    /// [`Unsuccessful`](ErrorKind::Unsuccessful) if that did not complete, [`Refused`](ErrorKind::Refused) if it runs after several: then
    /// [`outputs_of`](Self::outputs_of) reads all.
    ///
    /// A job is retained for as long as one that runs after it lives.
    pub async fn output_of<A: Job>(&self) -> Result<A::Output, Error> {
        let mut found = self.predecessors_of::<A>().await?.into_iter();
        match (found.next(), found.next()) {
            (Some(job), None) => self.output_of_job::<A>(job).await,
            (Some(_), Some(_)) => {
                let why =
                    format!("read the output of {:?}: this job runs after several of that kind", A::KIND);
                Err(Error::new(ErrorKind::Refused, why))
            }
            (None, _) => {
                let why = format!("read the output of {:?}: this job runs after none of that kind", A::KIND);
                Err(Error::new(ErrorKind::NotFound, why))
            }
        }
    }

    /// The outputs of all completed jobs of kind `A` that this job runs after, in the order of their ids. Those that did not complete
    /// are left out.
    pub async fn outputs_of<A: Job>(&self) -> Result<Vec<A::Output>, Error> {
        let mut outputs = Vec::new();
        for id in self.predecessors_of::<A>().await? {
            let job = self.resources().engine.store.job(id).await?;
            if let Some(job) = job.filter(|job| job.state == State::Completed) {
                outputs.push(self.decode::<A>(&job)?);
            }
        }
        Ok(outputs)
    }

    /// The output of this job, which this one runs after.
    pub async fn output_of_job<A: Job>(&self, id: JobId) -> Result<A::Output, Error> {
        let job = self.resources().engine.store.job(id).await?.ok_or_else(|| Error::not_found(id))?;
        match job.state {
            State::Completed => self.decode::<A>(&job),
            state => {
                let why = format!("read the output of job {id}: it is {state}");
                Err(Error::new(ErrorKind::Unsuccessful, why))
            }
        }
    }

    async fn predecessors_of<A: Job>(&self) -> Result<Vec<JobId>, Error> {
        let of = EdgesOfJob { job: self.id(), side: Side::Predecessors, only_open: false };
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = self.resources().engine.store.edges(of, after, EDGES_AT_ONCE).await?;
            after = page.last().map(|neighbour| neighbour.job);
            let is_last = page.len() < EDGES_AT_ONCE;
            let is_wanted = |kind: &str| job::is_of::<A>(kind);
            let of_kind =
                page.into_iter().filter(|one| one.found.as_ref().is_some_and(|job| is_wanted(&job.kind)));
            ids.extend(of_kind.map(|neighbour| neighbour.job));
            if is_last {
                return Ok(ids);
            }
        }
    }

    /// The output of a completed job, opened if it is sealed.
    fn decode<A: Job>(&self, job: &JobRow) -> Result<A::Output, Error> {
        let output = job.output.clone().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("read the output of job {}: it has none", job.id))
        })?;
        #[cfg(feature = "sealed")]
        let output = self.resources().engine.seals.output(job, output, A::SEALED)?;
        output.decode().map_err(|invalid| match sealed::key_id(output.as_str()) {
            Some(key) => {
                let why = format!(
                    "read the output of job {}: it is sealed with the key {key}, and this program has no keys",
                    job.id
                );
                Error::new(ErrorKind::Refused, why)
            }
            None => Error::new(ErrorKind::Invalid, format!("read the output of job {}: {invalid}", job.id)),
        })
    }

    /// The batch that this job is a member of.
    pub fn batch(&self) -> Option<BatchId> {
        self.job().batch()
    }

    /// If this is the end job of a batch: of which, and how that ended.
    pub fn ended_batch(&self) -> Option<EndsBatch> {
        self.job().links.as_ref()?.ends
    }
}
