//! How long finished jobs are retained: `7d`, `1000jobs`, `7d,1000jobs`, `forever`.

use std::time::Duration;

use backroom::RetentionLimit;

use super::span;

/// A bound as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepText(pub(crate) RetentionLimit);

/// Reads a bound by age, by count, or both.
pub(crate) fn keep(text: &str) -> Result<KeepText, String> {
    if text.trim() == "forever" {
        return Ok(KeepText(RetentionLimit::FOREVER));
    }
    let mut keep = RetentionLimit::FOREVER;
    for part in text.split(',').map(str::trim) {
        let twice = match count(part) {
            Some(count) => keep.count.replace(count?).is_some(),
            None => keep.age_secs.replace(age(part)?.as_secs()).is_some(),
        };
        if twice {
            return Err("names two ages or two counts; give at most one of each".into());
        }
    }
    Ok(KeepText(keep))
}

fn count(part: &str) -> Option<Result<u64, String>> {
    let number = part.strip_suffix("jobs").or_else(|| part.strip_suffix("job"))?.trim();
    Some(number.parse().map_err(|_| format!("{part:?} is not a number of jobs; write it like 1000jobs")))
}

fn age(part: &str) -> Result<Duration, String> {
    span(part).map_err(|_| format!("{part:?} is neither an age (7d) nor a count (1000jobs) nor `forever`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_a_count_both_or_neither_can_be_kept() {
        let week = Some(7 * 86_400);
        assert_eq!(keep("7d"), Ok(KeepText(RetentionLimit { age_secs: week, count: None })));
        assert_eq!(keep("1000jobs"), Ok(KeepText(RetentionLimit::newest(1000))));
        assert_eq!(keep("7d, 1000 jobs"), Ok(KeepText(RetentionLimit { age_secs: week, count: Some(1000) })));
        assert_eq!(keep("forever"), Ok(KeepText(RetentionLimit::FOREVER)));
    }

    #[test]
    fn what_bounds_nothing_is_refused() {
        for text in ["", "7", "a week", "-1jobs", "7d,8d", "1jobs,2jobs", "7d,", "99999999999999999999jobs"] {
            assert!(keep(text).is_err(), "{text:?}");
        }
    }
}
