//! A queue that one role of the database may read: row-level security keeps every other role out, whatever program it uses.

#![cfg(feature = "postgres")]

mod common;
mod postgres_support;

use backroom::{
    Backroom, ErrorKind, Failure, Filter, Job, Json, State, Worker, WorkflowContext,
    store::postgres::secure_queue_sql,
};
use postgres_support::{Place, client, schema_name};

#[derive(serde::Serialize, serde::Deserialize)]
struct Transfer;

impl Job for Transfer {
    const KIND: &'static str = "transfer";
    type Output = ();
}

async fn transfer(_: Transfer, ctx: WorkflowContext) -> Result<(), Failure> {
    let account: String = ctx.step("account").run(|| async { Ok("DE02 of payroll".to_owned()) }).await?;
    ctx.publish(&account)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_sees_and_claims_nothing_of_a_secure_queue() {
    let place = Place::new();
    let (schema, admin) = (&place.schema, client(&place.server).await);
    let owner = Backroom::open(&place.url()).await.unwrap();
    let (gatekeeper, app) = (schema_name(), schema_name());
    for role in [&gatekeeper, &app] {
        let grants = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        );
        admin.batch_execute(&grants).await.unwrap();
    }
    admin.batch_execute(&secure_queue_sql(schema, "payroll", &gatekeeper).unwrap()).await.unwrap();
    // A second queue is secured beside it.
    admin.batch_execute(&secure_queue_sql(schema, "letters", &gatekeeper).unwrap()).await.unwrap();
    let host = place.url().rsplit_once('@').unwrap().1.to_owned();
    let url = |role: &str| format!("postgres://{role}:x@{host}");
    let (theirs, ours) =
        (Backroom::open(&url(&gatekeeper)).await.unwrap(), Backroom::open(&url(&app)).await.unwrap());

    // Anyone may enqueue into it.
    let secret =
        ours.enqueue_untyped("pay", Json::parse("\"DE02\"").unwrap()).queue("payroll").await.unwrap();
    let failing = ours.enqueue_untyped("fail", Json::null()).queue("payroll").max_attempts(1).await.unwrap();
    let open = ours.enqueue_untyped("pay", Json::parse("1").unwrap()).await.unwrap();
    let unseen = async |id| {
        assert_eq!(ours.job(id).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(ours.attempts(id).await.unwrap().is_empty());
        assert!(ours.log(id, 0).await.unwrap().is_empty());
    };
    unseen(secret.id()).await;
    let listed = ours.list(Filter::default(), None, 10).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [open.id()]);

    let steps = ours.enqueue(Transfer).queue("payroll").await.unwrap();

    // A worker of the other role claims none of it, although it serves the queue.
    let worker = |backroom: &Backroom| {
        Worker::new(backroom)
            .queue("payroll", 2)
            .queue("default", 2)
            .handle_untyped("pay", async |args, ctx| {
                ctx.log(format!("paying {args}"));
                Ok(args)
            })
            .handle_untyped("fail", async |_, _| Err(backroom::Failure::retry("no account DE02")))
            .workflow(transfer)
    };
    worker(&ours).run_until_empty().await.unwrap();
    assert_eq!(ours.job(open.id()).await.unwrap().state, State::Completed);
    assert_eq!(theirs.job(secret.id()).await.unwrap().state, State::Queued);
    assert_eq!(theirs.job(secret.id()).await.unwrap().attempt, 0);
    assert_eq!(ours.cancel(secret.id()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(ours.delete(secret.id()).await.unwrap_err().kind(), ErrorKind::NotFound);

    // The role of the queue runs it, and reads what came of it. The other one does not.
    worker(&theirs).run_until_empty().await.unwrap();
    assert_eq!(theirs.job(secret.id()).await.unwrap().output.unwrap().as_str(), "\"DE02\"");
    assert_eq!(theirs.attempts(failing.id()).await.unwrap().len(), 1);
    assert_eq!(theirs.log(secret.id(), 0).await.unwrap().len(), 1);
    unseen(secret.id()).await;
    unseen(failing.id()).await;
    let journal = theirs.journal(steps.id()).await.unwrap().unwrap();
    assert_eq!(journal.published::<String>().unwrap().as_deref(), Some("DE02 of payroll"));
    assert!(ours.journal(steps.id()).await.unwrap().is_none());
    assert_eq!(ours.log(open.id(), 0).await.unwrap().len(), 1);

    // Nor with statements of its own.
    let own = client(url(&app).split('?').next().unwrap()).await;
    let tables =
        ["jobs", "finished", "trays", "attempts", "logs", "messages", "journals", "journal", "arrivals"];
    for table in tables.into_iter().chain(["jobs_on_trays", "every_job"]) {
        let seen = own.query(&format!("SELECT t::text FROM {schema}.{table} AS t"), &[]).await.unwrap();
        for row in seen {
            let text: String = row.get(0);
            assert!(!text.contains("DE02") && !text.contains("payroll"), "{table}: {text}");
        }
    }
    for escalation in [
        format!("SET ROLE {gatekeeper}"),
        format!("GRANT {gatekeeper} TO {app}"),
        format!("ALTER TABLE {schema}.jobs DISABLE ROW LEVEL SECURITY"),
        format!("DROP POLICY \"select backroom queue payroll\" ON {schema}.jobs"),
        format!("COPY {schema}.jobs TO PROGRAM 'cat'"),
        "SET row_security = off; SELECT * FROM pg_class".to_owned()
            + &format!("; SELECT * FROM {schema}.finished"),
    ] {
        own.batch_execute(&escalation).await.expect_err(&escalation);
    }
    let changed = own.execute(&format!("UPDATE {schema}.finished SET queue = 'default'"), &[]).await;
    assert!(changed.is_ok_and(|rows| rows <= 1), "it moves no row of the queue");
    theirs.close().await.unwrap();
    ours.close().await.unwrap();
    owner.close().await.unwrap();
}
