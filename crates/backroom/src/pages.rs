//! The Rust blocks of the README and of the pages in `docs/` are compiled, and run where they can, as tests of the library.
//!
//! A test checks that every page is named here (`tests/pages.rs`).

#[doc = include_str!("../../../README.md")]
struct Readme;

#[doc = include_str!("../../../docs/changing-args.md")]
struct ChangingArgs;

#[cfg(all(feature = "exec", target_os = "linux"))]
#[doc = include_str!("../../../docs/commands.md")]
struct Commands;

#[doc = include_str!("../../../docs/enqueueing.md")]
struct Enqueueing;

#[doc = include_str!("../../../docs/failures.md")]
struct Failures;

#[doc = include_str!("../../../docs/getting-started.md")]
struct GettingStarted;

#[doc = include_str!("../../../docs/operating.md")]
struct Operating;

#[cfg(feature = "callbacks")]
#[doc = include_str!("../../../docs/results.md")]
struct Results;

#[doc = include_str!("../../../docs/schedules.md")]
struct Schedules;

#[cfg(feature = "sealed")]
#[doc = include_str!("../../../docs/sealed.md")]
struct Sealed;

#[doc = include_str!("../../../docs/security.md")]
struct Security;

#[doc = include_str!("../../../docs/stopping.md")]
struct Stopping;

#[doc = include_str!("../../../docs/stores.md")]
struct Stores;

#[doc = include_str!("../../../docs/testing.md")]
struct Testing;

#[doc = include_str!("../../../docs/workers.md")]
struct Workers;

#[doc = include_str!("../../../docs/workflows.md")]
struct Workflows;
