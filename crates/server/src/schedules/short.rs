//! The short forms of policies, as they stand in settings and on command lines: `buffer_all 50`, `once 2h`, `all 3h 50`.

use backroom::core::schedule::policy::{CatchUp, Dst, OnFailure, Overlap};

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
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_policy_is_read_from_the_short_form_that_it_shows() {
        for text in ["skip", "buffer_one", "buffer_all 50", "cancel_other", "allow_all"] {
            assert_eq!(overlap(text).map(overlap_text).as_deref(), Ok(text));
        }
        for text in ["once 1h", "once 2h30m", "all 6h 50", "none"] {
            assert_eq!(catch_up(text).map(catch_up_text).as_deref(), Ok(text));
        }
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
        assert!(catch_up("once 3").expect_err("no unit").contains("unit"));
        assert!(dst("twice").is_err() && on_failure("stop").is_err());
    }
}
