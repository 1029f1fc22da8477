//! Checks of the server and the tables, for an operator.

use backroom_core::bounds::span_until;
use tokio_postgres::types::Type;

use crate::store::postgres::{
    Core, schema,
    wire::{error::Fault, sql::Sql},
};
use crate::{
    clock::Clock,
    store::{Durability, Health, HealthCheck},
};

/// Vacuum counts as behind if a table has more dead rows than this, and more than live ones.
const DEAD_ROWS_MAX: i64 = 100_000;

/// The server: version, fsync, synchronous_commit, whether it is a standby.
static SERVER: Sql = Sql {
    text: "SELECT current_setting('server_version'), current_setting('fsync') = 'on', \
           current_setting('synchronous_commit'), pg_is_in_recovery(), current_setting('autovacuum') = 'on'",
    types: &[],
};

/// Size of all tables with indexes, and the dead and live rows of `jobs` as last counted. Parameter: schema.
static TABLES: Sql = Sql {
    text: "SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint, \
           coalesce(sum(n_dead_tup) FILTER (WHERE relname = 'jobs'), 0)::bigint, \
           coalesce(sum(n_live_tup) FILTER (WHERE relname = 'jobs'), 0)::bigint \
           FROM pg_catalog.pg_stat_user_tables WHERE schemaname = $1",
    types: &[Type::TEXT],
};

/// What slows the whole database. First, how full the queue of notifications is. Then the sessions and prepared
/// transactions that prevent vacuum from removing dead rows, and of these the oldest: its age, its user, and its last
/// statement. A role without the right to see other sessions sees only their number, which is the last column. No
/// parameter.
static OTHERS: Sql = Sql {
    text: "SELECT pg_notification_queue_usage(), holder.secs, holder.who, \
             (SELECT count(*) FROM pg_catalog.pg_stat_activity \
              WHERE datname = current_database() AND query = '<insufficient privilege>'), \
             quote_ident(current_user) FROM (SELECT 1) AS one LEFT JOIN LATERAL ( \
             SELECT secs, who FROM ( \
               SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS secs, \
                 'process ' || pid || coalesce(' of ' || usename, '') || coalesce(' (' || nullif(application_name, '') || ')', '') \
                   || coalesce(', ' || state, '') AS who \
               FROM pg_catalog.pg_stat_activity \
               WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND xact_start IS NOT NULL \
                 AND (datname = current_database() OR backend_type <> 'client backend') AND pid <> pg_backend_pid() \
                 AND query !~* '^\\s*vacuum' AND backend_type NOT LIKE 'autovacuum%' \
               UNION ALL \
               SELECT extract(epoch FROM clock_timestamp() - prepared)::float8, \
                 'the prepared transaction ' || quote_literal(gid) || ' of ' || owner \
               FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()) AS holders \
             ORDER BY secs DESC LIMIT 1) AS holder ON true",
    types: &[],
};

/// A queue of notifications that is fuller than this may soon fail commits.
const NOTIFICATIONS_MAX: f64 = 0.5;
/// A transaction that is open for longer leaves enough dead rows to slow down claims and vacuum.
const HELD_SECS_MAX: f64 = 600.0;

/// Checks the server and the tables.
pub(crate) async fn health(core: &Core) -> Result<Health, Fault> {
    let settings = &core.settings;
    let server = core.reads.query(&SERVER, &[]).await?;
    let tables = core.reads.query(&TABLES, &[&settings.schema()]).await?;
    let (Some(server), Some(tables)) = (server.first(), tables.first()) else {
        let why = "check the server: it answered without a row";
        return Err(crate::Error::new(crate::ErrorKind::Internal, why).into());
    };
    let (engine, is_fsynced, commit, is_standby, is_vacuumed): (String, bool, String, bool, bool) =
        (server.try_get(0)?, server.try_get(1)?, server.try_get(2)?, server.try_get(3)?, server.try_get(4)?);
    let (bytes, dead, live): (i64, i64, i64) = (tables.try_get(0)?, tables.try_get(1)?, tables.try_get(2)?);
    let is_durable = is_fsynced && commit != "off";
    // A weaker level is right only if the options name it.
    let is_asked = settings.options.durability == Durability::Relaxed;
    let version = schema::version_number(&core.reads, settings.schema()).await?;
    Ok(Health {
        store: format!("postgres {} schema {}", settings.shown, settings.schema()),
        engine: format!("PostgreSQL {engine}"),
        schema: version,
        durability: if is_durable && !is_asked { Durability::Full } else { Durability::Relaxed },
        bytes: Some(bytes.unsigned_abs()),
        checks: vec![
            check("durable writes", is_durable || is_asked, || {
                let fsync = if is_fsynced { "on" } else { "off" };
                let remedy = match (is_durable, is_asked) {
                    (true, false) => "",
                    (_, true) => "; relaxed was asked for",
                    (false, false) => "; turn them on, or ask for durability=relaxed",
                };
                format!("fsync is {fsync}, synchronous_commit is {commit}{remedy}")
            }),
            check("server takes writes", !is_standby, || {
                if is_standby {
                    "it is a standby; connect to the primary".into()
                } else {
                    "it is a primary".into()
                }
            }),
            check("vacuum keeps up", is_vacuumed && (dead < DEAD_ROWS_MAX || dead < live), || {
                let remedy = if is_vacuumed { "" } else { "; autovacuum is off, turn it on" };
                format!("{live} live and {dead} dead rows in jobs{remedy}")
            }),
            clock_check(core),
        ]
        .into_iter()
        .chain(others(core).await?)
        .collect(),
    })
}

/// How other sessions affect the whole database.
async fn others(core: &Core) -> Result<Vec<HealthCheck>, Fault> {
    let rows = core.reads.query(&OTHERS, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let (usage, secs, who): (f64, Option<f64>, Option<String>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let unseen: i64 = row.try_get(3)?;
    let (secs, who) = (secs.unwrap_or_default().max(0.0), who.unwrap_or_default());
    let unseen = match unseen {
        0 => String::new(),
        unseen => format!(
            "; {unseen} sessions of other roles cannot be seen by this one, to see them: GRANT pg_read_all_stats TO {}",
            row.try_get::<_, String>(4)?
        ),
    };
    let held = || match secs {
        secs if secs < 1.0 => format!("no transaction is open for long{unseen}"),
        secs => {
            let remedy = if secs > HELD_SECS_MAX {
                "; end it (pg_terminate_backend, ROLLBACK PREPARED), because vacuum takes no dead row away before that"
            } else {
                ""
            };
            format!("the oldest transaction is open for {secs:.0} s: {who}{remedy}{unseen}")
        }
    };
    Ok(vec![
        check("vacuum is not held back", secs <= HELD_SECS_MAX, held),
        check("queue of notifications", usage <= NOTIFICATIONS_MAX, || {
            let remedy = if usage > NOTIFICATIONS_MAX {
                "; a session that listens has a transaction open for long, end it: when the queue is full, commits that \
                 notify fail"
            } else {
                ""
            };
            format!("{:.0} % full{remedy}", usage * 100.0)
        }),
    ])
}

fn clock_check(core: &Core) -> HealthCheck {
    let here = core.settings.clock.now();
    let there = core.database_time.now().unwrap_or(here);
    let (ahead, behind) = (span_until(there, here), span_until(here, there));
    let off = ahead.max(behind);
    check("clock of this machine", off.as_secs() < 2, || {
        let way = if ahead > behind { "ahead of" } else { "behind" };
        format!("{} ms {way} the database's; the difference is taken into account", off.as_millis())
    })
}

fn check(name: &str, ok: bool, found: impl FnOnce() -> String) -> HealthCheck {
    HealthCheck { name: name.into(), ok, found: found() }
}
