//! Who is compared, in the order in which they take turns.

/// One row of the comparison.
pub(crate) struct Peer {
    /// As one asks for it, and its name in the table. Unique.
    pub(crate) name: &'static str,
    /// Its folder below `bench/compare/peers`.
    pub(crate) folder: &'static str,
    /// Its name in its registry.
    pub(crate) package: &'static str,
    pub(crate) home: Home,
    pub(crate) store: Store,
    /// Further arguments of its program; empty for its usual way.
    pub(crate) variant: &'static str,
    /// How many jobs are enqueued in bulk and drained: so many that each takes some seconds, so few that the slow take
    /// less than about twenty.
    pub(crate) jobs: u32,
    /// How many are enqueued one by one.
    pub(crate) singles: u32,
    /// The larger of the two batch sizes that are measured. A choice: which one suits a peer best was not searched for.
    pub(crate) batch_large: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// This repository.
    Ours,
    Crates,
    Npm,
    PyPi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Postgres,
    Sqlite,
    /// That of some peers. Backroom has none on it.
    Redis,
}

impl Home {
    pub(crate) fn registry(self) -> &'static str {
        match self {
            Self::Ours => "this repository",
            Self::Crates => "crates.io",
            Self::Npm => "npm",
            Self::PyPi => "PyPI",
        }
    }
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
            Self::Redis => "Redis",
        }
    }
}

pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "backroom",
        folder: "backroom",
        package: "backroom",
        home: Home::Ours,
        store: Store::Postgres,
        variant: "",
        jobs: 200_000,
        singles: 30_000,
        batch_large: 5_000,
    },
    Peer {
        name: "graphile_worker",
        folder: "graphile_worker",
        package: "graphile_worker",
        home: Home::Crates,
        store: Store::Postgres,
        variant: "",
        jobs: 200_000,
        singles: 30_000,
        batch_large: 5_000,
    },
    Peer {
        name: "apalis-postgres",
        folder: "apalis-postgres",
        package: "apalis-postgres",
        home: Home::Crates,
        store: Store::Postgres,
        variant: "",
        jobs: 20_000,
        singles: 10_000,
        batch_large: 5_000,
    },
    Peer {
        name: "graphile-worker",
        folder: "graphile-worker",
        package: "graphile-worker",
        home: Home::Npm,
        store: Store::Postgres,
        variant: "",
        jobs: 50_000,
        singles: 10_000,
        batch_large: 5_000,
    },
    Peer {
        name: "pg-boss",
        folder: "pg-boss",
        package: "pg-boss",
        home: Home::Npm,
        store: Store::Postgres,
        variant: "",
        jobs: 50_000,
        singles: 10_000,
        batch_large: 5_000,
    },
    Peer {
        name: "procrastinate",
        folder: "procrastinate",
        package: "procrastinate",
        home: Home::PyPi,
        store: Store::Postgres,
        variant: "",
        jobs: 5_000,
        singles: 5_000,
        batch_large: 5_000,
    },
    Peer {
        name: "backroom-sqlite",
        folder: "backroom",
        package: "backroom",
        home: Home::Ours,
        store: Store::Sqlite,
        variant: "",
        jobs: 200_000,
        singles: 30_000,
        batch_large: 5_000,
    },
    Peer {
        name: "effectum",
        folder: "effectum",
        package: "effectum",
        home: Home::Crates,
        store: Store::Sqlite,
        variant: "",
        jobs: 50_000,
        singles: 10_000,
        batch_large: 5_000,
    },
    Peer {
        name: "effectum-wal",
        folder: "effectum",
        package: "effectum",
        home: Home::Crates,
        store: Store::Sqlite,
        variant: "wal",
        jobs: 50_000,
        singles: 10_000,
        batch_large: 5_000,
    },
    Peer {
        name: "apalis-sqlite",
        folder: "apalis-sqlite",
        package: "apalis-sqlite",
        home: Home::Crates,
        store: Store::Sqlite,
        variant: "",
        jobs: 20_000,
        singles: 10_000,
        batch_large: 5_000,
    },
    Peer {
        name: "bullmq",
        folder: "bullmq",
        package: "bullmq",
        home: Home::Npm,
        store: Store::Redis,
        variant: "",
        jobs: 50_000,
        singles: 20_000,
        batch_large: 5_000,
    },
    Peer {
        name: "celery",
        folder: "celery",
        package: "celery",
        home: Home::PyPi,
        store: Store::Redis,
        variant: "",
        jobs: 5_000,
        singles: 5_000,
        batch_large: 5_000,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PEERS.len());
    }

    #[test]
    fn every_peer_has_a_folder() {
        let peers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/compare/peers");
        for peer in PEERS {
            assert!(peers.join(peer.folder).is_dir(), "{}", peer.folder);
        }
    }

    #[test]
    fn ours_on_sqlite_runs_as_many_jobs_as_on_postgres() {
        let ours: Vec<_> =
            PEERS.iter().filter(|peer| peer.home == Home::Ours).map(|peer| peer.jobs).collect();
        assert_eq!(ours, [ours[0]; 2]);
    }
}
