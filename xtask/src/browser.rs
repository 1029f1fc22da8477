//! The browser with which the pages are tested: Chromium of the system's packages.

use crate::failure::Failure;
use crate::system;

/// Names under which it is installed.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Installs it, unless it is there.
pub(crate) fn chromium() -> Result<(), Failure> {
    let is_there =
        || !cfg!(target_os = "linux") || NAMES.into_iter().any(|name| system::find_program(name).is_some());
    if is_there() {
        return Ok(());
    }
    if system::installs_with_apt() {
        system::apt_get_install(&["chromium"])?;
        if is_there() {
            return Ok(());
        }
    }
    Err(Failure::new(
        "Chromium is missing, with which the pages are tested".to_owned(),
        "install it as root (Debian: apt-get install chromium)",
    ))
}
