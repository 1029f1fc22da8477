//! Row-level security for a queue that one role of the database may read.

use backroom_core::{Invalid, bounds::check_name};
use tokio_postgres::types::Type;

use super::{
    Core,
    wire::{error::Fault, sql::Sql},
};

/// Tables whose rows name their queue.
const BY_QUEUE: [&str; 3] = ["jobs", "finished", "trays"];
/// Tables whose rows name their job, and in which column.
const BY_JOB: [(&str, &str); 5] = [
    ("attempts", "job_id"),
    ("logs", "job_id"),
    ("journals", "workflow"),
    ("journal", "workflow"),
    ("arrivals", "workflow"),
];

/// Views over these tables. Without more they read with the rights of their owner.
const VIEWS: [&str; 2] = ["jobs_on_trays", "every_job"];

/// Names what `enqueue` of SQL refuses. Parameters: kinds, queues.
static GUARD: Sql = Sql {
    text: "INSERT INTO {schema}.guarded (what, name) \
           SELECT 'kind', name FROM unnest($1::text[]) AS kinds (name) \
           UNION ALL SELECT 'queue', name FROM unnest($2::text[]) AS queues (name) ON CONFLICT DO NOTHING",
    types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY],
};

/// Names sealed kinds and secure queues in the store, for programs that know no settings.
pub(super) async fn guard(core: &Core, kinds: &[&str], queues: &[&str]) -> Result<(), Fault> {
    core.writer.query(&GUARD, &[&kinds, &queues]).await?;
    Ok(())
}

/// The statements that hide a queue of the store in `schema` from every role but `role` and its members: its jobs, their attempts, logs, journals and
/// messages. Other roles can enqueue into it, without a unique key; the function `enqueue` of SQL refuses it. An owner of the tables runs them,
/// once; they hold for the owner, too, and for no superuser.
///
/// They need PostgreSQL 15 or newer: views of older ones do not read with the rights of the role that asks.
///
/// [`Invalid`] if the queue is no name of a queue.
pub fn secure_queue_sql(schema: &str, queue: &str, role: &str) -> Result<String, Invalid> {
    check_name("queue", queue)?;
    check_name("schema", schema)?;
    check_name("role", role)?;
    let (named, holder, text) = (quoted(schema, '"'), quoted(role, '\''), quoted(queue, '\''));
    let policy = quoted(&format!("backroom queue {queue}"), '"');
    let is_member = format!("pg_has_role(current_user, {holder}, 'member')");
    let mut sql = String::from("BEGIN;\n");
    let mut secure = |table: &str, what: &[&str], condition: &str| {
        sql.push_str(&format!(
            "ALTER TABLE {named}.{table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n\
             DO $$ BEGIN CREATE POLICY \"backroom open\" ON {named}.{table} USING (true) WITH CHECK (true); \
             EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n"
        ));
        for command in what {
            let policy = policy.replacen('"', &format!("\"{} ", command.to_ascii_lowercase()), 1);
            sql.push_str(&format!(
                "CREATE POLICY {policy} ON {named}.{table} AS RESTRICTIVE FOR {command} USING ({is_member} OR {condition});\n"
            ));
        }
    };
    for table in BY_QUEUE {
        secure(table, &["SELECT", "UPDATE", "DELETE"], &format!("queue <> {text}"));
    }
    for (table, job) in BY_JOB {
        // The role sees the job by the policies above, or not.
        let sees = format!(
            "EXISTS (SELECT 1 FROM {named}.jobs WHERE jobs.id = {table}.{job}) \
             OR EXISTS (SELECT 1 FROM {named}.finished WHERE finished.id = {table}.{job})"
        );
        secure(table, &["SELECT"], &sees);
    }
    secure("messages", &["SELECT"], &format!("body::jsonb ->> 'queue' IS DISTINCT FROM {text}"));
    for view in VIEWS {
        sql.push_str(&format!("ALTER VIEW {named}.{view} SET (security_invoker = true);\n"));
    }
    sql.push_str(&format!(
        "INSERT INTO {named}.guarded (what, name) VALUES ('queue', {text}) ON CONFLICT DO NOTHING;\n"
    ));
    sql.push_str("COMMIT;\n");
    Ok(sql)
}

/// A name or a text of SQL.
fn quoted(text: &str, quote: char) -> String {
    let doubled = text.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_out_of_its_quotes() {
        let sql = secure_queue_sql("s\"; DROP", "q'; DROP", "r'").expect("names");
        assert!(sql.contains("\"s\"\"; DROP\".jobs") && sql.contains("'q''; DROP'") && sql.contains("'r'''"));
    }
}
