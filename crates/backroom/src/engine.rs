//! What client, worker and upkeep share: the store, the clock, the source of ids, and the bounds.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use backroom_core::{
    Draft, Invalid, JobRow, Timestamp,
    draft::NewJob,
    redact::{Pointer, Redaction},
    sealed,
};

use crate::{Error, clock::Clock, ids::Ids, store::Store, telemetry::TraceContext};

/// One open store and what belongs to it.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    /// Bound on args and output, each, in bytes of JSON text.
    pub(crate) json_bytes_max: usize,
    /// Bound on the bytes that a worker holds in hand, and on those that one call reads.
    pub(crate) bytes_max: usize,
    /// What joins spans with traces of other processes; none where traces end in this process.
    pub(crate) traces: Option<Arc<dyn TraceContext>>,
    /// The SQLite store, for steps of workflows that write rows of the application; none for other stores.
    #[cfg(feature = "sqlite")]
    pub(crate) sqlite: Option<Arc<crate::store::sqlite::SqliteStore>>,
    /// The fields that are hidden from readers, by kind.
    pub(crate) hidden: Arc<Hidden>,
    /// The kinds that are for one queue only, each with that queue.
    pub(crate) bound: Arc<HashMap<String, String>>,
    /// The keys of this client, and which kinds are sealed.
    #[cfg(feature = "sealed")]
    pub(crate) seals: crate::sealed::Seals,
    /// The schema of a PostgreSQL store, for enqueueing in transactions of the caller; none for other stores.
    #[cfg(feature = "postgres")]
    pub(crate) postgres_within: Option<Arc<crate::store::postgres::Within>>,
}

/// The fields that are hidden from readers, by kind.
pub(crate) type Hidden = HashMap<String, Vec<Pointer>>;

/// What is hidden of jobs of a kind, by the options and by the job. Nearly always nothing.
pub(crate) fn redaction(hidden: &Hidden, kind: &str, of_job: &[String]) -> Redaction {
    let of_kind = hidden.get(kind).into_iter().flatten().cloned();
    // Pointers of a newer program that this one cannot read are checked when the job is enqueued.
    Redaction::new(of_kind.chain(of_job.iter().filter_map(|pointer| pointer.parse::<Pointer>().ok())))
}

/// A text about a job for logs and traces: without what is hidden of the job, and what is sealed only named.
pub(crate) fn loggable<'a>(hidden: &Hidden, job: &JobRow, text: &'a str) -> Cow<'a, str> {
    let text = sealed::shown(text);
    let mut redaction = redaction(hidden, &job.kind, &job.extras.hidden);
    if redaction.is_empty() {
        return text;
    }
    for json in [Some(&job.args), job.output.as_ref()].into_iter().flatten() {
        redaction.json(json);
    }
    Cow::Owned(redaction.text(&text))
}

impl Engine {
    /// The name of the key that a job of this kind is sealed with, by its draft or by the options; none if it is not sealed.
    pub(crate) fn seal_of<'a>(&'a self, kind: &str, seal: Option<&'a str>) -> Option<&'a str> {
        #[cfg(feature = "sealed")]
        let seal = seal.or_else(|| self.seals.of_kind(kind));
        #[cfg(not(feature = "sealed"))]
        let _ = kind;
        seal
    }

    /// Whether jobs of this kind may be in this queue.
    pub(crate) fn check_queue(&self, kind: &str, queue: &str) -> Result<(), Invalid> {
        match self.bound.get(kind) {
            Some(only) if only != queue => {
                let why = format!("{queue:?} is not for jobs of kind {kind:?}; enqueue them into {only:?}");
                Err(Invalid::new("queue", why))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The checked job of a draft. The args of a sealed kind are sealed. Of several drafts, an error about a bound names the number.
    pub(crate) fn check(
        &self,
        mut draft: Draft,
        now: Timestamp,
        number: Option<usize>,
    ) -> Result<NewJob, Error> {
        self.check_queue(&draft.kind, &draft.queue)?;
        let id = draft.id.take().unwrap_or_else(|| self.ids.job(now));
        #[cfg(feature = "sealed")]
        if let Some(new) = self.seals.check(&mut draft, id, now, self.json_bytes_max, &self.ids)? {
            return Ok(new);
        }
        draft.check(id, now, self.json_bytes_max).map_err(|mut invalid| {
            if let Some(number) = number {
                invalid.why = format!("of job {number} {}", invalid.why);
            }
            Error::from(invalid)
        })
    }
}
