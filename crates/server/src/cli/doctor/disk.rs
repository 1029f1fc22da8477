//! Room on the disk that holds the store.

use std::path::Path;

use backroom::HealthCheck;

#[cfg(unix)]
use crate::terminal::words;

/// Below this a busy day may fill the disk before anybody looks again.
#[cfg(unix)]
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;

/// How much is free; none where it is not known.
#[cfg(unix)]
pub(super) fn space(file: &Path) -> Option<HealthCheck> {
    let found = rustix::fs::statvfs(file).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let ok = free >= FREE_BYTES_MIN;
    let remedy =
        if ok { "" } else { "; make room, or keep finished jobs for less long (`backroom queues retain`)" };
    Some(HealthCheck { name: "disk".into(), ok, found: format!("{} free{remedy}", words::bytes(free)) })
}

/// Not asked here.
#[cfg(not(unix))]
pub(super) fn space(_: &Path) -> Option<HealthCheck> {
    None
}
