//! The tables of the store: their version, and the migrations from each version to the newest.

use tokio_postgres::types::Type;

use crate::store::postgres::wire::{
    connection::Link,
    error::Fault,
    settings::Settings,
    sql::{Sql, named},
};
use crate::{Error, ErrorKind};

/// Forward only, one after the other; a published one never changes.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "jobs", needs: 1, sql: include_str!("migrations/0001_jobs.sql") },
    Migration { version: 2, name: "imported", needs: 1, sql: include_str!("migrations/0002_imported.sql") },
    Migration { version: 3, name: "messages", needs: 1, sql: include_str!("migrations/0003_messages.sql") },
    Migration {
        version: 4,
        name: "access",
        needs: 1,
        sql: concat!(include_str!("migrations/0004_access.sql"), include_str!("migrations/enqueue.sql")),
    },
    Migration { version: 5, name: "schedules", needs: 1, sql: include_str!("migrations/0005_schedules.sql") },
    Migration { version: 6, name: "workflows", needs: 1, sql: include_str!("migrations/0006_workflows.sql") },
    Migration { version: 7, name: "links", needs: 1, sql: include_str!("migrations/0007_links.sql") },
];

struct Migration {
    version: u32,
    name: &'static str,
    /// The oldest version whose programs may still use the tables.
    needs: u32,
    sql: &'static str,
}

/// The oldest server whose SQL has all that the statements of the store use.
const SERVER_OLDEST: i32 = 14;

/// The migrations that ran on these tables. A row's `needs` is the oldest version of the program that can use the
/// tables after that migration. If older programs can use them, it names an older version: then they go on working
/// while newer ones start.
const CREATE_VERSIONS: &str = "CREATE SCHEMA IF NOT EXISTS {schema}; \
     CREATE TABLE IF NOT EXISTS {schema}.migrations (version bigint NOT NULL PRIMARY KEY, name text NOT NULL, \
     needs bigint, migrated_at timestamptz NOT NULL DEFAULT now())";

/// The migrations for an operator who runs them by hand: (version, name, SQL).
pub(super) fn migrations(schema: &str) -> Vec<(u32, String, String)> {
    MIGRATIONS
        .iter()
        .map(|migration| {
            let sql = format!(
                "{};\n\n{}\nINSERT INTO {{schema}}.migrations (version, name, needs) VALUES ({}, '{}', {});\n",
                CREATE_VERSIONS, migration.sql, migration.version, migration.name, migration.needs
            );
            (migration.version, migration.name.to_owned(), named(&sql, schema))
        })
        .collect()
}

/// The version this program writes.
pub(super) fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// The server's version as a number (150004 is 15.4), and how the database stores text.
static SERVER: Sql = Sql {
    text: "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')",
    types: &[],
};

/// Whether the server is a standby, which follows a primary and takes no writes.
pub(super) static STANDBY: Sql = Sql { text: "SELECT pg_is_in_recovery()", types: &[] };

/// Whether the table of versions exists. Parameter: schema.
static HAS_VERSIONS: Sql = Sql {
    text: "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'migrations')",
    types: &[Type::TEXT],
};

/// The newest version, and the one that programs must know.
static VERSIONS: Sql = Sql {
    text: "SELECT coalesce(max(version), 0), coalesce(max(coalesce(needs, version)), 0) FROM {schema}.migrations",
    types: &[],
};

/// A lock, so that one process migrates a schema at a time; it ends with the transaction. Parameter: the name of the
/// lock.
static LOCK: Sql =
    Sql { text: "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", types: &[Type::TEXT] };

/// Records a version. Parameters: version, name, needs.
static NOTE_VERSION: Sql = Sql {
    text: "INSERT INTO {schema}.migrations (version, name, needs) VALUES ($1, $2, $3)",
    types: &[Type::INT8, Type::TEXT, Type::INT8],
};

/// Refuses servers without the SQL that the store uses, and databases that cannot store every text.
pub(super) async fn check_server(link: &Link) -> Result<(), Fault> {
    let rows = link.query(&SERVER, &[]).await?;
    let Some(row) = rows.first() else {
        return Err(Error::new(ErrorKind::Internal, "check the server: it answered without a row").into());
    };
    let (version, encoding): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    if version / 10_000 < SERVER_OLDEST {
        let why = format!(
            "open the store: the server is PostgreSQL {}; use {SERVER_OLDEST} or newer",
            version / 10_000
        );
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    if encoding != "UTF8" {
        // Otherwise a job could end with an output in another alphabet that cannot be stored, and only that would show
        // the problem.
        let why = format!(
            "open the store: the database stores text as {encoding}, which cannot hold every character of a job; create one with \
             `createdb --encoding=UTF8 --template=template0 NAME` and name it in the URL"
        );
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    Ok(())
}

/// Makes sure that the tables exist with a version that this program can use. Reads first: a process of a running
/// installation then neither waits for a lock nor needs the right to create tables.
pub(super) async fn prepare(link: &Link, settings: &Settings) -> Result<(), Fault> {
    let schema = settings.schema();
    let rows = link.query(&STANDBY, &[]).await?;
    let is_standby: bool = rows.first().map_or(Ok(false), |row| row.try_get(0))?;
    if is_standby && !settings.options.standby {
        // It may be promoted later, so the error is a transient one.
        let why = "open the store: the server is a read-only standby; name the primary in the URL, or both \
                   (postgres://one,other/…), or open the store only to read";
        return Err(Error::new(ErrorKind::Unavailable, why).into());
    }
    let found = version(link, schema).await?;
    check_known(&found)?;
    if found.newest >= i64::from(newest()) {
        return Ok(());
    }
    if is_standby {
        let why = format!(
            "open the store: the tables in schema {schema} have version {}, this program needs {}, and the server is a \
             read-only standby; run `backroom migrate` on its primary",
            found.newest,
            newest()
        );
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    if !settings.options.migrate {
        let why = format!(
            "open the store: the tables in schema {schema} have version {}, this program needs {}; run `backroom migrate`",
            found.newest,
            newest()
        );
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    migrate(link, schema).await
}

struct Found {
    newest: i64,
    needs: i64,
}

/// The newest version of the tables; 0 if there are none.
pub(super) async fn version_number(link: &Link, schema: &str) -> Result<u32, Fault> {
    Ok(u32::try_from(version(link, schema).await?.newest).unwrap_or(u32::MAX))
}

async fn version(link: &Link, schema: &str) -> Result<Found, Fault> {
    let rows = link.query(&HAS_VERSIONS, &[&schema]).await?;
    if !rows.first().map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(Found { newest: 0, needs: 0 });
    }
    let rows = link.query(&VERSIONS, &[]).await?;
    let row =
        rows.first().ok_or_else(|| Error::new(ErrorKind::Internal, "read the version of the tables"))?;
    Ok(Found { newest: row.try_get(0)?, needs: row.try_get(1)? })
}

/// Refuses tables that a newer program has changed in a way that this program does not know.
fn check_known(found: &Found) -> Result<(), Error> {
    if found.needs <= i64::from(newest()) {
        return Ok(());
    }
    let why = format!(
        "open the store: its tables have version {}, this program knows versions up to {}; update the program",
        found.newest,
        newest()
    );
    Err(Error::new(ErrorKind::Unusable, why))
}

/// Migrates the tables to the newest version, in one transaction. Processes that do so at the same time wait for the
/// first and then find nothing left to do.
async fn migrate(link: &Link, schema: &str) -> Result<(), Fault> {
    let transaction = link.begin().await?;
    let lock = format!("backroom migrations of {schema}");
    transaction.query(&LOCK, &[&lock]).await?;
    transaction.execute(&named(CREATE_VERSIONS, schema)).await?;
    let rows = transaction.query(&VERSIONS, &[]).await?;
    let found = match rows.first() {
        Some(row) => Found { newest: row.try_get(0)?, needs: row.try_get(1)? },
        None => Found { newest: 0, needs: 0 },
    };
    check_known(&found)?;
    for migration in MIGRATIONS.iter().filter(|migration| i64::from(migration.version) > found.newest) {
        transaction.execute(&named(migration.sql, schema)).await?;
        let (version, needs) = (i64::from(migration.version), i64::from(migration.needs));
        transaction.query(&NOTE_VERSION, &[&version, &migration.name, &needs]).await?;
    }
    transaction.commit().await
}
