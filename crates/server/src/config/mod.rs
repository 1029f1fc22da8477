//! The settings of the server.
//!
//! They come from `backroom.toml`, the environment and flags, the later ones stronger.

use std::{net::SocketAddr, time::Duration};

/// Every setting of `backroom serve`, with its value.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    /// URL of the store.
    pub(crate) store: String,
    /// Where the server listens.
    pub(crate) listen: Vec<SocketAddr>,
    /// Bounds on what clients may send.
    pub(crate) limits: Limits,
    /// How long a stopping server waits for the requests it has begun.
    pub(crate) drain: Duration,
}

/// Bounds on what clients may send.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Largest body of a request, in bytes.
    pub(crate) body_bytes: u64,
    /// Most jobs in one request.
    pub(crate) batch_jobs: u64,
    /// Most connections at once.
    pub(crate) connections: u64,
    /// Longest time until the header of a request has arrived. An idle connection is closed after it, too.
    pub(crate) header_time: Duration,
    /// Largest header of a request, in bytes.
    pub(crate) header_bytes: u64,
    /// Most requests at once on one HTTP/2 connection.
    pub(crate) streams: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            store: crate::settings::STORE_DEFAULT.into(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            limits: Limits {
                body_bytes: 16 << 20,
                batch_jobs: 10_000,
                connections: 10_000,
                header_time: Duration::from_secs(10),
                header_bytes: 32 << 10,
                streams: 100,
            },
            drain: Duration::from_secs(25),
        }
    }
}
