//! What the driver asks for, by environment.

use std::time::Duration;

use crate::Error;

/// One measurement to make. `bench/compare/README.md` lists the variables.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) scenario: Scenario,
    /// `postgres://…` of an empty database, or the path of an empty folder.
    pub store: String,
    /// How many jobs.
    pub jobs: usize,
    /// How many jobs one call enqueues.
    pub batch: usize,
    /// How many callers enqueue single jobs at the same time.
    pub callers: usize,
    /// How many jobs the workers run at once.
    pub slots: usize,
    /// A way to set the library up that is not its default; empty for none.
    pub variant: String,
    /// How long to wait for what does not happen.
    pub limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Enqueue all in batches, then run all.
    Lifecycle,
    /// Enqueue all in batches.
    Bulk,
    /// Enqueue all one by one.
    Single,
    /// One job at a time on an idle worker.
    Pickup,
}

impl Request {
    pub(crate) fn from_environment() -> Result<Self, Error> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let text = |name: &str| variable(name).ok_or_else(|| format!("{name} is not set"));
        let number = |name: &str| -> Result<usize, Error> {
            let text = text(name)?;
            match text.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{name} is {text:?}; it must be a positive number").into()),
            }
        };
        let scenario = match text("COMPARE_SCENARIO")?.as_str() {
            "lifecycle" => Scenario::Lifecycle,
            "bulk" => Scenario::Bulk,
            "single" => Scenario::Single,
            "pickup" => Scenario::Pickup,
            other => return Err(format!("there is no scenario {other:?}").into()),
        };
        Ok(Self {
            scenario,
            store: text("COMPARE_STORE")?,
            jobs: number("COMPARE_JOBS")?,
            batch: number("COMPARE_BATCH")?,
            callers: number("COMPARE_CALLERS")?,
            slots: number("COMPARE_SLOTS")?,
            variant: variable("COMPARE_VARIANT").unwrap_or_default(),
            limit: Duration::from_secs(number("COMPARE_LIMIT_SECS")? as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(without: &str, scenario: &str) -> Result<Request, String> {
        let variable = |name: &str| match name {
            _ if name == without => None,
            "COMPARE_SCENARIO" => Some(scenario.to_owned()),
            "COMPARE_STORE" => Some("somewhere".to_owned()),
            _ => Some("5".to_owned()),
        };
        Request::read(variable).map_err(|error| error.to_string())
    }

    #[test]
    fn request_is_read_from_the_environment() {
        let request = read("COMPARE_VARIANT", "single").unwrap();
        assert_eq!(
            (request.scenario, request.jobs, request.store.as_str()),
            (Scenario::Single, 5, "somewhere")
        );
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        assert_eq!(read("COMPARE_JOBS", "single").unwrap_err(), "COMPARE_JOBS is not set");
        assert_eq!(read("", "all").unwrap_err(), "there is no scenario \"all\"");
    }
}
