//! Holds the real server against its own document: two validators read it, and a property-based tester sends requests to every
//! route.
//!
//! The validators are openapi-spec-validator (PyPI) and Redocly's linter (npm), the tester is schemathesis (PyPI). All are installed
//! below `target`, once. [`CHECKS`] names what schemathesis checks, and what it does not, with the reasons.

mod install;
mod server;

use std::path::Path;
use std::process::Command;

use crate::build_space;
use crate::failure::Failure;
use crate::say;
use crate::system::{self, Repository};

use install::Tools;
use server::Served;

/// The checks of schemathesis 4.32.5, each with why it is left out, if it is.
const CHECKS: &[(&str, Option<&str>)] = &[
    ("not_a_server_error", None),
    ("status_code_conformance", None),
    ("content_type_conformance", None),
    ("response_headers_conformance", None),
    ("response_schema_conformance", None),
    ("unsupported_method", None),
    ("allow_header_conformance", None),
    ("use_after_free", None),
    ("ensure_resource_availability", None),
    ("ignored_auth", None),
    ("missing_required_header", None),
    (
        "negative_data_rejection",
        Some(
            "JSON Schema cannot say that a name of a queue may be any text in a path; and what RFC 7240 and RFC 9110 tell \
             a server to ignore (preferences, tags that it does not know) is taken for accepted",
        ),
    ),
    (
        "positive_data_acceptance",
        Some(
            "JSON Schema cannot say all our rules: 2.0 is no whole number here, two fields exclude each other, names have \
             no control characters",
        ),
    ),
    (
        "object_level_authorization",
        Some("it needs two users; a test of ours has every route with tokens of other queues"),
    ),
];

/// Requests for each route in each phase.
const EXAMPLES: u32 = 10;
/// The tester's own seed, so that a failure can be repeated.
const SEED: u32 = 20_261_127;
/// The route that ends tokens.
const REVOKE: &str = "/v1/tokens/{id}";
/// Longest time until a request is answered, in seconds. Polls and streams end sooner.
const ANSWER_SECONDS: u32 = 20;

/// The whole step.
pub(crate) fn check(repository: &Repository) -> Result<(), Failure> {
    let tools = Tools::get(repository)?;
    build(repository)?;
    let mut served = Served::start(repository)?;
    validate(&tools, repository, &served.document()?)?;
    test(&tools, &served)?;
    if served.lives() {
        Ok(())
    } else {
        Err(Failure::new("the server under test has ended", "read its log in target/oracles/api"))
    }
}

/// The binary that the tests run, built as for them, so that it is built once: without the tests its dependencies would have
/// other features.
fn build(repository: &Repository) -> Result<(), Failure> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "--no-run", "--workspace", "--all-features", "--test", "serve"]);
    build_space::save_on_build_server(&mut cargo);
    system::run(repository.command(cargo), "correct what the compiler reports above")
}

fn validate(tools: &Tools, repository: &Repository, document: &Path) -> Result<(), Failure> {
    let mut python = Command::new(tools.python());
    python.args(["-m", "openapi_spec_validator"]).arg(document);
    let remedy = "correct the annotation of the route or type that is named above";
    system::run(repository.command(python), remedy)?;
    let mut redocly = tools.redocly();
    redocly.arg("lint").arg(document).arg("--config").arg(repository.path("xtask/src/api/redocly.yaml"));
    system::run(repository.command(redocly), remedy)
}

fn test(tools: &Tools, served: &Served) -> Result<(), Failure> {
    let chosen: Vec<&str> =
        CHECKS.iter().filter(|(_, left_out)| left_out.is_none()).map(|(name, _)| *name).collect();
    for (name, why) in CHECKS.iter().filter_map(|(name, left_out)| left_out.map(|why| (name, why))) {
        say::line(&format!("  not checked: {name}: {why}"));
    }
    // The tester would revoke its own token, so that route comes last and alone.
    for extent in ["--exclude-path", "--include-path"] {
        let mut tester = Command::new(tools.schemathesis());
        tester.args(["run", &format!("{}/openapi.json", served.url()), "--checks", &chosen.join(",")]);
        tester.args([extent, REVOKE]);
        tester.arg("--header").arg(format!("Authorization: Bearer {}", served.token()));
        tester.args(["--max-examples", &EXAMPLES.to_string(), "--seed", &SEED.to_string(), "--no-shrink"]);
        let seconds = ANSWER_SECONDS.to_string();
        tester.args(["--request-timeout", &seconds, "--suppress-health-check", "all", "--no-color"]);
        tester.current_dir(served.folder());
        let remedy =
            "the requests above show the fault: repeat one with its curl line against `backroom serve`";
        system::run(tester, remedy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_left_out_for_a_reason_only() {
        assert!(CHECKS.iter().filter(|(_, left_out)| left_out.is_none()).count() > CHECKS.len() / 2);
        for (name, left_out) in CHECKS {
            assert!(left_out.is_none_or(|why| why.len() > 20), "{name}");
        }
    }
}
