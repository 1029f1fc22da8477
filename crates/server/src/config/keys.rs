//! The one list of settings; `tables.rs` goes on with the tables by name.
//!
//! The file, the variables, the flags, their help, `backroom config` and `docs/settings.md` all come from it. To add a setting,
//! add an entry and run the test that prints the page.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    kinds::QueueSlots,
    table::{Key, Shown, Takes, settings},
    value::{Bytes, Ratio, Secret, Value, Wait},
};

settings! {
    /// Where the jobs are stored: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME`.
    store: String = "sqlite:backroom.db", Restart, Url;

    /// The addresses on which the server listens. Without tokens only addresses of this machine are allowed. Port 0 takes a free port.
    listen: Vec<SocketAddr> = "127.0.0.1:8080", Restart, Plain;

    /// Names of this server beside the local ones, as they stand in the header `Host`, without a port. While the server has no
    /// tokens, it refuses requests with any other name. A web page could reach it through a name of its own otherwise.
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

    /// Where the keys for sealed values are: `file:PATH`, `env:NAME`, or `command:PROGRAM ARGUMENT…`, whose output is a JWK Set. A process needs
    /// them that runs jobs of sealed kinds; a server that only stores them must not have them.
    keys: Option<String> = "", Restart, Plain;

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

    /// Longest time of an event stream. A reader then continues with the id of its last event, and shows its token again.
    stream_time: Duration = "1h", Reload, Plain;

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

    [proxy: ProxySettings]
    /// The header in which a reverse proxy names the user whom it has authenticated, such as `x-forwarded-user`. Then visitors of the
    /// dashboard need no token. It needs `proxy.secret` and `proxy.users`.
    user_header: Option<String> = "", Restart, Plain;

    /// What the proxy sends with each request, in the header `x-backroom-proxy-secret`. Only with it the header with the user counts.
    secret: Option<Secret> = "", Restart, Secret;

    /// The role of each user of the proxy, as `ann@example.org=operate`: `read`, `operate` or `admin`. `*` stands for all other users.
    users: Vec<String> = "", Restart, Plain;

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

    [otel: Otel]
    /// The base of a collector's address for OTLP over HTTP, such as `http://127.0.0.1:4318`. With it the server exports spans and
    /// metrics. It needs a build with the feature `otel`. The variables `OTEL_*` of OpenTelemetry are weaker than this section.
    endpoint: Option<String> = "", Restart, Plain;

    /// Headers of each request to the collector, each as `NAME=VALUE`: mostly a key of access.
    headers: Vec<Secret> = "", Restart, Secret;

    /// The name of this service in traces. Empty means that of `OTEL_SERVICE_NAME`, or `backroom`.
    service_name: Option<String> = "", Restart, Plain;

    /// Which part of the traces that begin here is exported, from `0` to `1`. Traces of callers are exported if the caller exports
    /// them. Empty means what `OTEL_TRACES_SAMPLER` says, or all.
    sample: Option<Ratio> = "", Restart, Plain;

    [worker: WorkerSettings]
    /// Whether this server runs jobs of the kinds in `[kinds.NAME]` itself. If false, `backroom work` runs them elsewhere.
    run: bool = "true", Restart, Plain;

    /// The queues of those jobs, each with its slots: how many of its jobs run here at once.
    queues: Vec<QueueSlots> = "default=10", Restart, Plain;

    /// The URL by which the commands of jobs reach this server, in their variable `BACKROOM_SERVER`. Default: the first address of
    /// `listen`.
    url: Option<String> = "", Restart, Plain;

    /// How long a worker that stops lets its jobs finish before it asks them to stop. Then each command has its own `grace`.
    grace: Duration = "20s", Restart, Plain;

    /// A secret by which the tokens of single runs are made, which commands and endpoints call back with. Set the same one on all
    /// servers. Without it each server makes its own when it starts, and tokens of another server are unknown to it.
    lease_key: Option<Secret> = "", Restart, Secret;

    [faktory: FaktorySettings]
    /// The addresses on which the server listens for clients of Faktory. Empty means none. The flag `--faktory` sets it, too. With
    /// `tls.certificate` these connections are TLS ones.
    listen: Vec<SocketAddr> = "", Restart, Plain;

    /// The password of those clients. Without it only programs of this machine can connect, and only while the store has no tokens.
    password: Option<Secret> = "", Restart, Secret;

    /// How long a worker that sends heartbeats may be silent. Then its connections are closed and its jobs run elsewhere. Clients send
    /// one every 15 seconds.
    lease: Duration = "60s", Reload, Plain;

    /// Longest command of a client. One of `PUSHB` holds many jobs.
    line_bytes: Bytes = "16MiB", Reload, Plain;

    /// Most connections of such clients at once. Further ones are refused.
    connections: u64 = "2000", Reload, Plain;

    /// Whether the command `FLUSH` deletes all jobs, of other clients as well. If false, it is refused.
    flush: bool = "false", Reload, Plain;

    table kinds: Kind;
    table sensitive: Sensitive;
    table secure_queues: SecureQueue;
    table triggers: Trigger;
    table brokers: BrokerTable;
    table schedules: ScheduleTable;
}
