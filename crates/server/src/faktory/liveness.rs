//! Whether a worker of the Faktory protocol lives, decided from what its connections say.

use std::time::Duration;

/// What is known of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Since its last command.
    pub(super) silent: Duration,
    /// Whether it has ever sent a heartbeat.
    pub(super) beats: bool,
    /// Whether it named itself. A connection that fetches without a name is a worker of its own, which sends no heartbeats.
    pub(super) is_named: bool,
    /// Its open connections.
    pub(super) connections: usize,
    /// Jobs that are reserved for it.
    pub(super) runs: usize,
}

/// What follows for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It lives, and its commands show it.
    Lives,
    /// It sends no heartbeats, so its reservations hold until they end. The server answers for it.
    Reserved,
    /// It has gone, and has nothing.
    Done,
    /// It is silent for too long. Its connections are closed, and its jobs run elsewhere.
    Silent,
}

/// Decides. `lease` is how long a worker that sends heartbeats may be silent.
pub(super) fn fate(signs: Signs, lease: Duration) -> Fate {
    let Signs { silent, beats, is_named, connections, runs } = signs;
    let is_gone = connections == 0 && runs == 0;
    match (is_gone, silent < lease) {
        // For a while it may come back under its name.
        (true, true) if is_named => Fate::Lives,
        (true, _) => Fate::Done,
        (false, true) if beats => Fate::Lives,
        (false, false) if beats => Fate::Silent,
        (false, _) if runs > 0 => Fate::Reserved,
        (false, true) => Fate::Lives,
        (false, false) if is_named => Fate::Silent,
        (false, false) => Fate::Lives,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_judged_by_what_it_showed_of_itself() {
        let lease = Duration::from_secs(60);
        let signs = |silent, beats, is_named, connections, runs| Signs {
            silent: Duration::from_secs(silent),
            beats,
            is_named,
            connections,
            runs,
        };
        let cases = [
            ("beats", signs(59, true, true, 1, 1), Fate::Lives),
            ("beats no longer", signs(60, true, true, 1, 1), Fate::Silent),
            ("was killed with a job", signs(60, true, true, 0, 1), Fate::Silent),
            ("was killed without a job", signs(60, true, true, 0, 0), Fate::Done),
            ("comes back soon", signs(10, true, true, 0, 0), Fate::Lives),
            ("never beats, works", signs(600, false, true, 1, 1), Fate::Reserved),
            ("never beats, works without a connection", signs(600, false, true, 0, 1), Fate::Reserved),
            ("never beats, idle", signs(60, false, true, 1, 0), Fate::Silent),
            ("fetches without a name, works", signs(600, false, false, 1, 1), Fate::Reserved),
            ("fetches without a name, idle", signs(600, false, false, 1, 0), Fate::Lives),
            ("fetched without a name and went", signs(1, false, false, 0, 0), Fate::Done),
            ("fetched without a name and went with a job", signs(1, false, false, 0, 1), Fate::Reserved),
        ];
        for (what, signs, expected) in cases {
            assert_eq!(fate(signs, lease), expected, "{what}");
        }
    }
}
