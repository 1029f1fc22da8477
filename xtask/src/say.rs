//! The only module that prints. Progress goes to standard output, beside the test runner's, so that a log of it
//! keeps the order in which things happened; where a task has a result of its own to print, progress goes to standard
//! error.

use crate::failure::Failure;

#[expect(clippy::print_stdout, reason = "a command's output is what it is for")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "standard output is for the result")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stderr, reason = "an error belongs beside cargo's own")]
pub(crate) fn failure(failure: &Failure) {
    match failure.step {
        Some(step) => eprintln!("xtask: step `{step}` failed: {}", failure.why),
        None => eprintln!("xtask: {}", failure.why),
    }
    eprintln!("xtask: what to do: {}", failure.remedy);
}
