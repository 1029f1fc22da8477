//! The short forms of policies, as they stand in settings and on command lines: `buffer_all 50`, `once 2h`, `all 3h 50`.

use std::time::Duration;

use backroom::{
    RetryPolicy,
    core::{
        retry::Backoff,
        schedule::policy::{CatchUp, Dst, OnFailure, Overlap},
    },
};

use crate::terminal::{parse::span, words};

/// Most runs of `all WINDOW`, where no number follows.
const CATCH_UP_MAX: u32 = 100;

/// What an occurrence does while a run is going.
pub(crate) fn overlap(text: &str) -> Result<Overlap, String> {
    let expected = "write skip, buffer_one, buffer_all N (such as buffer_all 50), cancel_other or allow_all";
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["skip"] => Ok(Overlap::Skip),
        ["buffer_one"] => Ok(Overlap::BufferOne),
        ["buffer_all", size] => {
            size.parse().map(Overlap::BufferAll).map_err(|_| format!("has {size:?} for a number; {expected}"))
        }
        ["cancel_other"] => Ok(Overlap::CancelOther),
        ["allow_all"] => Ok(Overlap::AllowAll),
        _ => Err(format!("is no overlap; {expected}")),
    }
}

/// What happens with missed occurrences.
pub(crate) fn catch_up(text: &str) -> Result<CatchUp, String> {
    let expected =
        "write once, once WINDOW (such as once 2h), all WINDOW, all WINDOW MAX (such as all 6h 50) or none";
    let window = |text: &str| span(text).map_err(|why| format!("has a window that {why}"));
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["none"] => Ok(CatchUp::None),
        ["once"] => Ok(CatchUp::DEFAULT),
        ["once", text] => Ok(CatchUp::Once { window: window(text)? }),
        ["all", text] => Ok(CatchUp::All { window: window(text)?, max: CATCH_UP_MAX }),
        ["all", text, max] => {
            let max = max.parse().map_err(|_| format!("has {max:?} for a number; {expected}"))?;
            Ok(CatchUp::All { window: window(text)?, max })
        }
        _ => Err(format!("is no catch-up; {expected}")),
    }
}

/// What happens where clocks are changed.
pub(crate) fn dst(text: &str) -> Result<Dst, String> {
    match text {
        "once" => Ok(Dst::Once),
        "literal" => Ok(Dst::Literal),
        _ => Err("is neither once nor literal".into()),
    }
}

/// What a failed run does.
pub(crate) fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "go_on" => Ok(OnFailure::GoOn),
        "pause" => Ok(OnFailure::Pause),
        _ => Err("is neither go_on nor pause".into()),
    }
}

/// How long a job waits between attempts.
pub(crate) fn retry(text: &str) -> Result<RetryPolicy, String> {
    let expected = "write quartic, constant SPAN, linear SPAN, exponential SPAN or list SPAN SPAN …, and after it cap SPAN or jitter \
                    PERCENT (such as exponential 10s cap 1h jitter 20)";
    let mut parts = text.split_whitespace().peekable();
    let wait = |text: Option<&str>| {
        span(text.ok_or_else(|| format!("lacks a span; {expected}"))?)
            .map_err(|why| format!("has a wait that {why}"))
    };
    let backoff = match parts.next() {
        Some("quartic") => Backoff::Quartic,
        Some("constant") => Backoff::Constant(wait(parts.next())?),
        Some("linear") => Backoff::Linear(wait(parts.next())?),
        Some("exponential") => Backoff::Exponential(wait(parts.next())?),
        Some("list") => {
            let mut waits = Vec::new();
            while let Some(text) = parts.next_if(|text| !["cap", "jitter"].contains(text)) {
                waits.push(wait(Some(text))?);
            }
            Backoff::List(waits)
        }
        _ => return Err(format!("is no retry policy; {expected}")),
    };
    let mut policy = RetryPolicy { backoff, ..RetryPolicy::DEFAULT };
    while let Some(part) = parts.next() {
        match part {
            "cap" => policy.cap = wait(parts.next())?,
            "jitter" => {
                let percent = parts.next().unwrap_or_default();
                let number = percent.trim_end_matches('%').parse();
                policy.jitter_percent =
                    number.map_err(|_| format!("has {percent:?} for a percentage; {expected}"))?;
            }
            other => return Err(format!("has {other:?} where it should end; {expected}")),
        }
    }
    policy.check().map_err(|invalid| invalid.to_string())?;
    Ok(policy)
}

/// The short form of a retry policy.
pub(crate) fn retry_text(policy: &RetryPolicy) -> String {
    let RetryPolicy { backoff, jitter_percent, cap } = policy;
    let mut text = match backoff {
        Backoff::Constant(wait) => format!("constant {}", exact(*wait)),
        Backoff::Linear(wait) => format!("linear {}", exact(*wait)),
        Backoff::Exponential(wait) => format!("exponential {}", exact(*wait)),
        Backoff::List(waits) => waits.iter().fold("list".to_owned(), |text, wait| text + " " + &exact(*wait)),
        // The library may learn of further ones; this form then has no name for them.
        Backoff::Quartic | _ => "quartic".into(),
    };
    if *cap != RetryPolicy::DEFAULT.cap {
        text += &format!(" cap {}", exact(*cap));
    }
    if *jitter_percent != RetryPolicy::DEFAULT.jitter_percent {
        text += &format!(" jitter {jitter_percent}");
    }
    text
}

/// A span of which nothing is rounded.
fn exact(span: Duration) -> String {
    match (span.as_secs(), span.subsec_millis()) {
        (secs, 0) => format!("{secs}s"),
        (_, _) => format!("{}ms", span.as_millis()),
    }
}

/// The short form of an overlap.
pub(crate) fn overlap_text(overlap: Overlap) -> String {
    match overlap {
        Overlap::Skip => "skip".into(),
        Overlap::BufferOne => "buffer_one".into(),
        Overlap::BufferAll(size) => format!("buffer_all {size}"),
        Overlap::CancelOther => "cancel_other".into(),
        Overlap::AllowAll => "allow_all".into(),
    }
}

/// The short form of a catch-up.
pub(crate) fn catch_up_text(catch_up: CatchUp) -> String {
    let span = |window| words::span(window).replace(' ', "");
    match catch_up {
        CatchUp::Once { window } => format!("once {}", span(window)),
        CatchUp::All { window, max } => format!("all {} {max}", span(window)),
        CatchUp::None => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_read_from_the_short_form_that_it_shows() {
        for text in ["skip", "buffer_one", "buffer_all 50", "cancel_other", "allow_all"] {
            assert_eq!(overlap(text).map(overlap_text).as_deref(), Ok(text));
        }
        for text in ["once 1h", "once 2h30m", "all 6h 50", "none"] {
            assert_eq!(catch_up(text).map(catch_up_text).as_deref(), Ok(text));
        }
        for text in [
            "quartic",
            "constant 5s",
            "linear 1500ms",
            "exponential 10s cap 3600s jitter 20",
            "list 1s 60s 3600s jitter 0",
        ] {
            assert_eq!(retry(text).as_ref().map(retry_text).as_deref(), Ok(text));
        }
        assert_eq!(retry("exponential 10s jitter 20% cap 1h"), retry("exponential 10s cap 3600s jitter 20"));
        assert_eq!(catch_up("once"), Ok(CatchUp::DEFAULT));
        assert_eq!(catch_up("all 1d"), Ok(CatchUp::All { window: Duration::from_secs(86_400), max: 100 }));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_what_there_is() {
        for text in ["", "queue", "buffer_all", "buffer_all many", "skip 3"] {
            assert!(overlap(text).expect_err(text).contains("buffer_all 50"), "{text}");
        }
        for text in ["", "twice", "all", "none 3h", "all 3h many"] {
            assert!(catch_up(text).expect_err(text).contains("all 6h 50"), "{text}");
        }
        for text in ["", "never", "constant", "quartic 5s", "linear 5s cap", "list 1s jitter many"] {
            assert!(retry(text).expect_err(text).contains("exponential 10s cap 1h jitter 20"), "{text}");
        }
        for text in ["list", "constant 20000d", "quartic jitter 101"] {
            retry(text).expect_err(text);
        }
        assert!(catch_up("once 3").expect_err("no unit").contains("unit"));
        assert!(dst("twice").is_err() && on_failure("stop").is_err());
    }
}
