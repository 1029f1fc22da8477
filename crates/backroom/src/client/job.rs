//! What a user says of a kind of job.

use std::time::Duration;

use backroom_core::{Draft, Extras, RetryPolicy, draft, unique::UniqueRule};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Json};

/// A kind of job: its args are the fields of the type, and the consts are the defaults of every job of this kind.
/// What is set at enqueue wins over them.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Its name in the store, 1 to 128 bytes. Jobs that were enqueued under an older name are found by that name only: list
    /// it in [`ALIASES`](Job::ALIASES) when you change this.
    const KIND: &'static str;

    /// Older names of this kind: a handler of it runs their jobs, too. A name that another handler of the worker has is
    /// refused at start. New jobs are enqueued under [`KIND`](Job::KIND). A unique key belongs to the name under which its job
    /// was enqueued, so a job of an older name does not keep out one of the new name. Default none.
    const ALIASES: &'static [&'static str] = &[];

    /// What becomes of a job whose args do not decode. Default [`BadArgs::Retry`].
    const BAD_ARGS: BadArgs = BadArgs::Retry;

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

    /// The name of the key that args, outputs, steps, progress, logs and errors of its jobs are sealed with: see
    /// [`sealed`](crate::sealed). A client without this key refuses to enqueue, and a worker without it claims none of its jobs. Needs the
    /// feature `sealed`. Default none: they are stored as they are.
    const SEALED: Option<&'static str> = None;

    /// Fields of args and outputs that are hidden from readers, as JSON pointers such as `/card/number`; `*` as a part stands for any name
    /// or place. Pages, the API, exports and log lines show `(hidden)` in their place. They are stored as they are: to keep them from the
    /// store, seal the kind. Default none.
    const HIDDEN: &'static [&'static str] = &[];

    /// The wait between attempts; looked at by the worker when an attempt fails. Default `attempt⁴` seconds.
    fn retry() -> RetryPolicy {
        RetryPolicy::DEFAULT
    }

    /// Keeps duplicates out. Default none.
    fn unique() -> Option<UniqueRule> {
        None
    }
}

/// What becomes of a job whose args do not decode as the type of its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BadArgs {
    /// It is tried again after its back-off, as long as attempts are left. In a rolling deploy a newer version of the
    /// program may have enqueued it, and will run it.
    #[default]
    Retry,
    /// It is discarded at once: for kinds whose args come from outside, where waiting cannot help.
    Discard,
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
        max_attempts: Some(J::MAX_ATTEMPTS.unwrap_or_else(|| J::retry().max_attempts_default())),
        unique: J::unique(),
        seal: J::SEALED.map(str::to_owned),
        extras: Extras {
            timeout: J::TIMEOUT,
            hidden: J::HIDDEN.iter().map(|field| (*field).to_owned()).collect(),
            ..Extras::default()
        },
        ..Draft::new(J::KIND, Json::null())
    }
}

/// Whether a stored job of this kind is a `J`, under its name or an earlier one.
pub(super) fn is_of<J: Job>(kind: &str) -> bool {
    J::KIND == kind || J::ALIASES.contains(&kind)
}

/// Stands for a job whose type the caller does not know: args and output are JSON.
#[derive(Debug, Clone, Copy)]
pub enum Untyped {}
