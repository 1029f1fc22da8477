//! What a user says of a kind of job.

use std::time::Duration;

use backroom_core::{Draft, RetryPolicy, draft, unique::UniqueRule};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Json};

/// A kind of job: its args are the fields of the type, and the consts are the defaults of every job of this kind.
/// What is set at enqueue wins over them.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Its name in the store, for ever: jobs enqueued under an old name are not found by a handler of the new
    /// one. 1 to 128 bytes.
    const KIND: &'static str;

    /// What its handler returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The queue its jobs wait in. Default `default`.
    const QUEUE: &'static str = draft::QUEUE_DEFAULT;
    /// 0 (first) to 9 (last). Default 5.
    const PRIORITY: u8 = draft::PRIORITY_DEFAULT;
    /// Longest run of one attempt. Default unlimited.
    const TIMEOUT: Option<Duration> = None;
    /// Attempts allowed, the first included. Default 20, or what a list of retry delays spells out.
    const MAX_ATTEMPTS: Option<u32> = None;

    /// The wait between attempts; looked at by the worker when an attempt fails. Default `attempt⁴` seconds.
    fn retry() -> RetryPolicy {
        RetryPolicy::DEFAULT
    }

    /// Keeps duplicates out. Default none.
    fn unique() -> Option<UniqueRule> {
        None
    }
}

/// The draft of a typed job with the defaults of its kind.
pub(crate) fn draft_of<J: Job>(job: &J) -> Result<Draft, Error> {
    Ok(Draft { args: Json::encode(job)?, ..template::<J>() })
}

/// The draft of a typed job without its args.
pub(crate) fn template<J: Job>() -> Draft {
    Draft {
        queue: J::QUEUE.into(),
        priority: J::PRIORITY,
        timeout: J::TIMEOUT,
        max_attempts: Some(J::MAX_ATTEMPTS.unwrap_or_else(|| J::retry().max_attempts_default())),
        unique: J::unique(),
        ..Draft::new(J::KIND, Json::null())
    }
}

/// Whether a stored job of this kind is a `J`.
pub(super) fn is_of<J: Job>(kind: &str) -> bool {
    J::KIND == kind
}

/// Stands for a job whose type the caller does not know: args and output are JSON.
#[derive(Debug, Clone, Copy)]
pub enum Untyped {}
