//! Long polls: an answer that waits until a job has changed or ended.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use backroom::{JobId, JobRow};

use crate::{
    api::{around::Deadline, codes::Code, problem::Problem},
    serve::AppState,
    terminal::parse::span,
};

/// How long a caller wants to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// At most.
    pub(super) span: Duration,
    /// The header `Prefer` asked for it.
    is_preferred: bool,
}

impl Wait {
    /// From `?wait=30s` (or seconds), which is the stronger one, or `Prefer: wait=30`. None if neither is there.
    pub(super) fn asked(query: Option<&str>, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        if let Some(text) = query {
            let seconds = text.parse::<u32>().map(|secs| Duration::from_secs(secs.into()));
            let wanted = seconds
                .or_else(|_| span(text))
                .map_err(|why| Problem::new(Code::Invalid, format!("the parameter wait {why}")))?;
            return Ok(Some(Self { span: wanted, is_preferred: false }));
        }
        // A preference that is not understood is ignored, as RFC 7240 says.
        let preferences = headers.get_all("prefer").iter().filter_map(|named| named.to_str().ok());
        let wait = preferences.flat_map(|named| named.split([',', ';'])).find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            let secs = value.trim().trim_matches('"').parse::<u32>().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then_some(secs)
        });
        Ok(wait.map(|secs| Self { span: Duration::from_secs(secs.into()), is_preferred: true }))
    }

    /// The header that says that the preference was followed.
    pub(super) fn applied(self) -> Option<HeaderValue> {
        let text = format!("wait={}", self.span.as_secs());
        HeaderValue::from_str(&text).ok().filter(|_| self.is_preferred)
    }

    /// The job once `done` says so of it, or as it is when the time is over or the server stops.
    pub(super) async fn wait(
        self,
        state: &AppState,
        deadline: &Deadline,
        id: JobId,
        done: impl Fn(&JobRow) -> bool,
    ) -> Result<JobRow, Problem> {
        let most = self.span.min(state.settings.now().limits.wait_time);
        deadline.extend(most);
        let clock = state.backroom.clock();
        let until = clock.monotonic().saturating_add(most);
        // Before the first read, so that no change is missed between the two.
        let mut watch = state.backroom.watch(id);
        let mut seen = None;
        loop {
            let job = state.backroom.job(id).await?;
            watch.has_read(&job);
            if seen.replace(job.revision).is_some_and(|seen| seen != job.revision) {
                watch.found_news();
            }
            let left = until.saturating_sub(clock.monotonic());
            if done(&job) || left.is_zero() || state.stopping.is_cancelled() {
                return Ok(job);
            }
            // Thousands may wait, and args may be large.
            drop(job);
            tokio::select! {
                () = watch.next() => {}
                () = clock.sleep(left) => {}
                () = state.stopping.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: Option<&str>, prefer: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(prefer) = prefer {
            headers.insert("prefer", HeaderValue::from_static(prefer));
        }
        Wait::asked(query, &headers).expect("a wait").map(|wait| wait.span)
    }

    #[test]
    fn a_wait_is_asked_for_by_the_query_or_by_a_preference() {
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(asked(None, None), None);
        assert_eq!(asked(Some("30s"), None), secs(30));
        assert_eq!(asked(Some("30"), None), secs(30));
        assert_eq!(asked(Some("1m"), Some("wait=3")), secs(60));
        assert_eq!(asked(None, Some("wait=3")), secs(3));
        assert_eq!(asked(None, Some("respond-async, WAIT = 10")), secs(10));
        assert_eq!(asked(None, Some("respond-async; wait=x")), None);
        assert!(Wait::asked(Some("soon"), &HeaderMap::new()).is_err());
    }
}
