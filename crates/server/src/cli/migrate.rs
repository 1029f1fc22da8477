//! `backroom migrate`: print or run the migrations of a store.

use backroom::store::{self, Migration};
use clap::Args;
use serde::Serialize;

use crate::settings::Settings;
use crate::terminal::{Problem, out};

/// Bring a store's tables to this program's version, or print the SQL that does
///
/// Every program that opens a store does so by itself; run this where that is switched off (`?migrate=false`), or where
/// only you may change tables. It is safe to run from many machines at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom migrate --store 'postgres://ada@db.example.org/shop?schema=backroom'
  backroom migrate --print                             what is missing, as SQL; changes nothing
  backroom migrate --print --since 0 > backroom.sql    all of it, without looking at the store

With --json: {\"store\", \"from\", \"to\", \"ran\", \"migrations\": [{\"version\", \"name\", \"sql\"}]}; sql with --print only.")]
pub(crate) struct MigrateArgs {
    /// Print the SQL instead of running it
    #[arg(long)]
    print: bool,

    /// Print what comes after this version, without looking at the store; 0 for all
    #[arg(long, value_name = "VERSION", requires = "print")]
    since: Option<u32>,
}

#[derive(Serialize)]
struct Answer {
    store: String,
    from: u32,
    to: u32,
    ran: bool,
    migrations: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    version: u32,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
}

pub(crate) async fn run(args: MigrateArgs, settings: &Settings) -> Result<(), Problem> {
    settings.only_store()?;
    let all = store::migrations(&settings.store)?;
    let Some(newest) = all.last().map(|migration| migration.version) else {
        return out::line(format_args!("{} has no tables to migrate", settings.shown()));
    };
    let from = match args.since {
        Some(version) => version,
        None => store::version(&settings.store).await?,
    };
    let pending: Vec<Migration> = all.into_iter().filter(|migration| migration.version > from).collect();
    if args.print {
        return print(pending, from, newest, settings);
    }
    // Opening is what runs them, also where the URL keeps other commands from it, and says so if the tables are newer.
    migrating(settings).open_or_create().await?.close().await?;
    let to = store::version(&settings.store).await?;
    if settings.json {
        let migrations = steps(pending, false);
        let answer = Answer { store: settings.shown(), from, to, ran: from != to, migrations };
        return out::json(&answer, settings.terminal);
    }
    if from == to {
        return out::line(format_args!("{} has version {to} already", settings.shown()));
    }
    for migration in &pending {
        out::line(format_args!("{:04} {}", migration.version, migration.name))?;
    }
    out::line(format_args!("migrated {} from version {from} to {to}", settings.shown()))
}

fn print(pending: Vec<Migration>, from: u32, newest: u32, settings: &Settings) -> Result<(), Problem> {
    let to = newest.max(from);
    if settings.json {
        let migrations = steps(pending, true);
        let answer = Answer { store: settings.shown(), from, to, ran: false, migrations };
        return out::json(&answer, settings.terminal);
    }
    if pending.is_empty() {
        // Not on stdout: whatever reads the SQL must find none.
        out::note(format_args!("{} has version {from}; there is nothing to run", settings.shown()));
        return Ok(());
    }
    out::line(format_args!("-- {}: from version {from} to {to}", settings.shown()))?;
    for migration in pending {
        out::text(&format!(
            "\n-- {:04} {}\nBEGIN;\n{}COMMIT;\n",
            migration.version, migration.name, migration.sql
        ))?;
    }
    Ok(())
}

fn steps(migrations: Vec<Migration>, with_sql: bool) -> Vec<Step> {
    let step = |Migration { version, name, sql }| Step { version, name, sql: with_sql.then_some(sql) };
    migrations.into_iter().map(step).collect()
}

/// The store with its migrations switched on: the last of a URL's parameters of one name counts.
fn migrating(settings: &Settings) -> Settings {
    if !settings.store.starts_with("postgres") {
        return settings.clone();
    }
    let joint = if settings.store.contains('?') { '&' } else { '?' };
    settings.with_url(&format!("{}{joint}migrate=true", settings.store))
}
