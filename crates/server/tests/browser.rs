//! The dashboard in a browser: headless Chromium drives every page and every action of this binary, with and without JavaScript, and
//! axe-core checks every page. Pictures of the pages are left in `target/screenshots`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/filled.rs"]
mod filled;

mod cli_support;
mod serve_support;

use cli_support::Place;

#[test]
fn every_page_and_every_action_works_with_and_without_javascript() {
    let filled = filled::Filled::start(Place::new());
    driver::drive(&filled, "sqlite", false);
    filled.server.stop();
}
