//! Programs beside Backroom that may open a SQLite store.

use std::process::{Command, Stdio};

use backroom::HealthCheck;

/// Whether the `sqlite3` of this machine may write to a store that is in use; none where there is no such program.
pub(super) fn shell() -> Option<HealthCheck> {
    let mut command = Command::new("sqlite3");
    let output = command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    check(said.split_whitespace().next()?)
}

fn check(version: &str) -> Option<HealthCheck> {
    let mut parts = version.split('.').map(|part| part.parse::<i32>().ok());
    let number = parts.next()?? * 1_000_000 + parts.next()?? * 1000 + parts.next().flatten().unwrap_or(0);
    let found = if backroom::store::sqlite::is_faulty_release(number) {
        format!(
            "warning: sqlite3 {version} on this machine has the WAL-reset fault; do not write to the store with it while \
             other processes do (3.51.3, 3.50.7 and 3.44.6 have the correction)"
        )
    } else {
        format!("sqlite3 {version} on this machine may write to the store")
    };
    // Not a failure of the store: the program may never be used on it.
    Some(HealthCheck { name: "outside clients".into(), ok: true, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_client_is_warned_of() {
        let found = |version| check(version).expect("a version").found;
        assert!(found("3.40.1").starts_with("warning: sqlite3 3.40.1"));
        assert!(found("3.51.3").starts_with("sqlite3 3.51.3"));
        assert!(check("unknown").is_none());
    }
}
