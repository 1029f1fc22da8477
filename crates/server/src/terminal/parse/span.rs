//! Spans as people write them: `10s`, `5m`, `2h30m`, `7d`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

const EXAMPLES: &str = "write it like 10s, 5m, 2h30m or 7d";

/// Reads a span. A day is 24 hours and a week seven days; months and years have no one length and are refused, and so
/// is a bare number, because its unit would be a guess.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        return Err(format!("has no unit; {EXAMPLES}"));
    }
    let span: Span = text.parse().map_err(|_| format!("is not a span of time; {EXAMPLES}"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years differ in length; count in days, like 30d".into());
    }
    if span.is_negative() {
        return Err(format!("is negative; {EXAMPLES}"));
    }
    let whole = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("is longer than can be counted; {EXAMPLES}"))?;
    Duration::try_from(whole).map_err(|_| format!("is negative; {EXAMPLES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Result<Duration, String> {
        Ok(Duration::from_secs(secs))
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(span("10s"), secs(10));
        assert_eq!(span("5m"), secs(300));
        assert_eq!(span("2h30m"), secs(9000));
        assert_eq!(span("7d"), secs(7 * 86_400));
        assert_eq!(span("2w"), secs(14 * 86_400));
        assert_eq!(span("1 hour, 30 min"), secs(5400));
        assert_eq!(span("PT10M"), secs(600));
        assert_eq!(span("0s"), secs(0));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_span_is_refused_with_an_example() {
        for text in
            ["", "10", "1.5", "soon", "10 apples", "-5m", "5m ago", "99999999999999999999s", "\0", "10s\0"]
        {
            let refused = span(text).expect_err(text);
            assert!(refused.contains("like"), "{text:?}: {refused}");
        }
        assert!(span("1mo").expect_err("a month").contains("days"));
        assert!(span("1y").expect_err("a year").contains("days"));
    }
}
