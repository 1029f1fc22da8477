//! What an operator wants to know.

use backroom_core::bounds::span_until;
use tokio_postgres::types::Type;

use super::{Core, error::Fault, schema, sql::Sql};
use crate::{
    clock::Clock,
    store::{Durability, Health, HealthCheck},
};

/// Dead rows a table may hold before vacuum is thought to be behind: this many, and more than live ones.
const DEAD_ROWS_MAX: i64 = 100_000;

/// The server: version, fsync, synchronous_commit, whether it is a standby.
static SERVER: Sql = Sql {
    text: "SELECT current_setting('server_version'), current_setting('fsync') = 'on', \
           current_setting('synchronous_commit'), pg_is_in_recovery(), current_setting('autovacuum') = 'on'",
    types: &[],
};

/// Size of all our tables with indexes, and the dead and live rows of the hot one as last counted. Parameter: schema.
static TABLES: Sql = Sql {
    text: "SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint, \
           coalesce(sum(n_dead_tup) FILTER (WHERE relname = 'jobs'), 0)::bigint, \
           coalesce(sum(n_live_tup) FILTER (WHERE relname = 'jobs'), 0)::bigint \
           FROM pg_catalog.pg_stat_user_tables WHERE schemaname = $1",
    types: &[Type::TEXT],
};

/// Looks at the server and our tables.
pub(super) async fn health(core: &Core) -> Result<Health, Fault> {
    let settings = &core.settings;
    let server = core.reads.query(&SERVER, &[]).await?;
    let tables = core.reads.query(&TABLES, &[&settings.schema()]).await?;
    let (Some(server), Some(tables)) = (server.first(), tables.first()) else {
        let why = "look at the server: it answered without a row";
        return Err(crate::Error::new(crate::ErrorKind::Internal, why).into());
    };
    let (engine, is_fsynced, commit, is_standby, is_vacuumed): (String, bool, String, bool, bool) =
        (server.try_get(0)?, server.try_get(1)?, server.try_get(2)?, server.try_get(3)?, server.try_get(4)?);
    let (bytes, dead, live): (i64, i64, i64) = (tables.try_get(0)?, tables.try_get(1)?, tables.try_get(2)?);
    let is_durable = is_fsynced && commit != "off";
    // A weaker level is as it should be only where somebody asked for it by name.
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
        ],
    })
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
