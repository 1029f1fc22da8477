//! The one module that writes to stdout and stderr.
//!
//! Answers go to stdout, whole and flushed; everything else (errors, hints, progress) goes to stderr, so that a
//! program can read the answer. A reader that went away ends the command quietly. What a terminal would obey is spelt
//! out here ([`visible`]), whatever the text comes from.

use std::{fmt, io::Write as _, process::ExitCode};

use serde::Serialize;

use super::{Problem, visible};

/// Writes a text to stdout.
pub(crate) fn text(text: &str) -> Result<(), Problem> {
    as_it_is(&visible::text(text))
}

/// Writes a text to stdout that may hold the colours of a terminal. Only for a text made of [`visible`] parts.
pub(crate) fn as_it_is(text: &str) -> Result<(), Problem> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Problem::of_writing(&error))
}

/// Writes one line to stdout.
pub(crate) fn line(line: impl fmt::Display) -> Result<(), Problem> {
    text(&(visible::message(&line.to_string()) + "\n"))
}

/// Writes one JSON document to stdout, indented for a terminal and on one line for a program.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Result<(), Problem> {
    let encoded = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let encoded = encoded.map_err(|error| Problem::new("write the answer as JSON", &error))?;
    as_it_is(&(visible::json(&encoded) + "\n"))
}

/// Writes one line to stderr. A closed stderr is no reason to fail.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible::message(&line.to_string()));
}

/// Writes what failed to stderr, and the remedy.
pub(crate) fn problem(problem: &Problem) {
    if let Problem::Failed { message, hint } = problem {
        note(format_args!("error: failed to {message}"));
        if let Some(hint) = hint {
            note(format_args!("hint: {hint}"));
        }
    }
}

/// Says what came of a command and turns it into an exit code.
pub(crate) fn exit(outcome: Result<(), Problem>) -> ExitCode {
    match outcome {
        Ok(()) | Err(Problem::ReaderGone) => ExitCode::SUCCESS,
        Err(failed @ Problem::Failed { .. }) => {
            problem(&failed);
            ExitCode::FAILURE
        }
        Err(Problem::Reported) => ExitCode::FAILURE,
        Err(Problem::Interrupted) => {
            note("interrupted");
            ExitCode::from(130)
        }
    }
}
