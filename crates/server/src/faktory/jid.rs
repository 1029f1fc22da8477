//! Ids that clients choose: of jobs and of workers.

use backroom::{JobId, JobRow, core::bounds::check_name};
use uuid::Uuid;

/// The entry of a job's meta that holds the id that its client chose.
pub(super) const META: &str = "faktory.jid";
/// Shortest id of a job.
pub(super) const BYTES_MIN: usize = 8;
/// Longest id. As a tag it is a name, with a few bytes before it.
const BYTES_MAX: usize = 100;

/// Checks an id that a client chose.
pub(super) fn check(what: &'static str, id: &str) -> Result<(), String> {
    if id.len() > BYTES_MAX {
        return Err(format!("the {what} has {} bytes; at most {BYTES_MAX} are allowed", id.len()));
    }
    check_name(what, id).map_err(|invalid| invalid.to_string())
}

/// The id of a job as clients know it: the one that its client chose, else that of the job itself.
pub(super) fn of(job: &JobRow) -> String {
    job.extras.meta.get(META).cloned().unwrap_or_else(|| job.id.to_string())
}

/// The job that an id names by itself, as for jobs that were not pushed by a Faktory client.
pub(super) fn job_id(jid: &str) -> Option<JobId> {
    jid.parse::<Uuid>().ok().map(JobId)
}

/// The tag by which a job that can be tracked is found.
pub(super) fn tag(jid: &str) -> String {
    format!("{META}={jid}")
}
