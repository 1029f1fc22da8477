//! Which releases of SQLite can damage a file in WAL mode.
//!
//! From 3.7.0 to 3.51.2 a checkpoint by one connection and a write by another, at just the moment when the log starts again,
//! can leave out pages ("the WAL-reset bug", <https://sqlite.org/wal.html#walresetbug>). 3.51.3 corrects it, and so do 3.50.7
//! and 3.44.6.

/// Whether this release of SQLite can damage a file in WAL mode that several connections write to: 3.7.0 to 3.51.2, but for
/// 3.44.6 and 3.50.7. Numbered as SQLite does: 3.51.2 is 3051002.
pub fn is_faulty(number: i32) -> bool {
    match number {
        3_044_006..3_045_000 | 3_050_007..3_051_000 => false,
        _ => (3_007_000..=3_051_002).contains(&number),
    }
}

/// For operators: what other programs need.
pub(super) const OTHERS: &str = "other programs that write to this file need 3.51.3, 3.50.7 or 3.44.6 as well \
     (the sqlite3 of Debian 12 is 3.40.1: do not write with it while a worker runs)";

/// Logs once in the life of the process that the SQLite linked into it is faulty.
pub(super) fn report_if_faulty() {
    static REPORTED: std::sync::Once = std::sync::Once::new();
    if is_faulty(rusqlite::version_number()) {
        REPORTED.call_once(|| {
            tracing::error!(
                version = rusqlite::version(),
                "this program is linked with a SQLite that can damage the store's file when two connections write; link 3.51.3 \
                 or newer (feature `bundled` of rusqlite)"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_the_correction_are_told_from_those_without() {
        for faulty in [3_007_000, 3_040_001, 3_044_005, 3_045_000, 3_050_006, 3_051_000, 3_051_002] {
            assert!(is_faulty(faulty), "{faulty}");
        }
        for correct in [3_006_023, 3_044_006, 3_050_007, 3_051_003, 3_052_000] {
            assert!(!is_faulty(correct), "{correct}");
        }
        assert!(!is_faulty(rusqlite::version_number()), "the bundled SQLite");
    }
}
