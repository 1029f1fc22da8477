//! The one list of settings.
//!
//! The file, the variables, the flags, their help, `backroom config` and `docs/settings.md` all come from it. To add a setting,
//! add an entry and run the test that prints the page.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    table::{Key, Shown, Takes, settings},
    value::{Bytes, Secret, Value, Wait},
};

settings! {
    /// Where the jobs are stored: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME`.
    store: String = "sqlite:backroom.db", Restart, Url;

    /// The addresses on which the server listens. Without tokens only addresses of this machine are allowed. Port 0 takes a free port.
    listen: Vec<SocketAddr> = "127.0.0.1:8080", Restart, Plain;

    /// Names of this server beside the local ones, as they stand in the header `Host`, without a port. While the server has no
    /// tokens, it refuses requests with any other name, so that a web page cannot reach it through a name of its own.
    allowed_hosts: Vec<String> = "", Reload, Plain;

    /// Origins whose web pages may call the API from a browser, such as `https://admin.example.com`. Empty switches cross-origin calls off.
    cors_origins: Vec<String> = "", Reload, Plain;

    /// Whether this process does the upkeep of the store: it rescues jobs of dead workers, cancels expired jobs and prunes finished
    /// ones. Every worker does the same, and any number of processes may.
    upkeep: bool = "true", Restart, Plain;

    /// How long a server that was asked to stop goes on as before, while `/readyz` already says that it stops. Set it to the time that a
    /// load balancer needs to notice.
    drain_delay: Wait = "0s", Reload, Plain;

    /// How long a stopping server waits for the requests it has begun. Connections that are left then are cut.
    drain: Duration = "25s", Reload, Plain;

    [limits: Limits]
    /// Largest body of a request.
    body_bytes: Bytes = "16MiB", Reload, Plain;

    /// Most jobs in one request that is answered as a whole. Streams of lines have no such limit.
    batch_jobs: u64 = "10000", Reload, Plain;

    /// Most connections at once. Further ones wait until one ends.
    connections: u64 = "10000", Restart, Plain;

    /// Longest time until the header of a request has arrived. A connection without a request is closed after it, too.
    header_time: Duration = "10s", Reload, Plain;

    /// Largest header of a request, in all.
    header_bytes: Bytes = "32KiB", Reload, Plain;

    /// Longest time until the body of a request has arrived.
    body_time: Duration = "30s", Reload, Plain;

    /// Longest time in which the server answers a request whose body has arrived. Long polls and event streams have limits of their own.
    request_time: Duration = "60s", Reload, Plain;

    /// Longest time in which a client may read nothing of its answer. Then its connection is cut.
    write_time: Duration = "30s", Reload, Plain;

    /// Longest time that a long poll (`?wait=`, `Prefer: wait=`) waits.
    wait_time: Duration = "60s", Reload, Plain;

    /// Most requests at once on one HTTP/2 connection.
    streams: u64 = "100", Reload, Plain;

    [tls: Tls]
    /// File with the server's certificate and its chain, in PEM. With it the server speaks TLS only; it is read again on a reload.
    certificate: Option<PathBuf> = "", Reload, Plain;

    /// File with the certificate's private key, in PEM.
    key: Option<PathBuf> = "", Reload, Plain;

    [metrics: Metrics]
    /// Whether `/metrics` needs no token on a server that has tokens.
    open: bool = "false", Reload, Plain;

    /// How old the numbers that are read from the store may be. A scrape reads the store at most this often.
    refresh: Duration = "5s", Reload, Plain;

    /// Most queues and most kinds with series of their own. Further ones are counted together as `other`.
    labels: u64 = "100", Restart, Plain;

    [callbacks: Callbacks]
    /// Whether this server sends callbacks: requests to the URLs that callers named for their jobs. Any number of servers and workers
    /// may.
    send: bool = "false", Restart, Plain;

    /// Secrets that callbacks are signed with, as Standard Webhooks writes them: `whsec_…`. With several, each callback has a
    /// signature by each, so that a secret can be replaced.
    secrets: Vec<Secret> = "", Restart, Secret;

    /// Whether callbacks are sent without a signature while there is no secret.
    allow_unsigned: bool = "false", Restart, Plain;

    /// Addresses that are not public and may be called all the same: networks such as `10.1.0.0/16`, addresses or names of hosts.
    allowed_addresses: Vec<String> = "", Restart, Plain;

    /// Whether URLs that begin with `http:` are refused.
    https_only: bool = "false", Restart, Plain;

    /// The `source` of the events: a URI that names this installation.
    source: String = "backroom", Restart, Plain;

    /// How many callbacks this server sends at once.
    slots: u64 = "8", Restart, Plain;

    /// How long one callback may take, from the name of the host to the status of the answer.
    timeout: Duration = "20s", Restart, Plain;
}
