//! `SELECT backroom.enqueue(…)`: a job from SQL, in the caller's own transaction.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use backroom::{
    Backroom, Context, DisplayState, Draft, ErrorKind, Failure, Filter, Job, JobRow, Json, RetryPolicy,
    UniqueRule, Worker,
    core::{Extras, MessageKind, Reply},
};
use postgres_support::{Place, client};
use tokio_postgres::{Client, error::SqlState};

struct Shop {
    place: Place,
    backroom: Backroom,
    client: Client,
}

impl Shop {
    async fn open() -> Self {
        let place = Place::new();
        let backroom = Backroom::open(&place.url()).await.unwrap();
        let client = place.client().await;
        Self { place, backroom, client }
    }

    /// Calls the function with these arguments and answers with the job.
    async fn enqueue(&self, args: &str) -> JobRow {
        let id: uuid::Uuid = self.call(args).await.unwrap_or_else(|error| panic!("{args}: {error:?}"));
        self.backroom.job(backroom::JobId(id)).await.unwrap()
    }

    async fn call(&self, args: &str) -> Result<uuid::Uuid, tokio_postgres::Error> {
        Ok(self.client.query_one(&format!("SELECT enqueue({args})"), &[]).await?.get(0))
    }

    async fn refused(&self, args: &str) -> (SqlState, String) {
        let error = self.call(args).await.expect_err(args);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{args}: {error:?}"));
        (error.code().clone(), error.message().to_owned())
    }

    async fn count(&self) -> usize {
        self.backroom.list(Filter::default(), None, 1000).await.unwrap().jobs.len()
    }
}

/// What both ways of enqueueing must agree on: everything but identity and time.
fn content(job: JobRow) -> JobRow {
    let epoch = backroom::Timestamp::UNIX_EPOCH;
    JobRow {
        id: backroom::JobId(uuid::Uuid::nil()),
        created_at: epoch,
        scheduled_at: epoch,
        expires_at: None,
        ..job
    }
}

#[tokio::test]
async fn a_job_from_sql_is_the_job_that_the_library_would_have_stored() {
    let shop = Shop::open().await;
    let args = || Json::parse(r#"{"to": "ann"}"#).unwrap();
    let full = Draft {
        queue: "mails".into(),
        lane: Some("tenant-1".into()),
        priority: 2,
        max_attempts: Some(7),
        tags: vec!["a".into(), "b".into()],
        unique: Some(UniqueRule::by_key("order 7").while_queued()),
        extras: Extras {
            timeout: Some(Duration::from_millis(1500)),
            retry: Some(RetryPolicy::list([Duration::from_secs(1), Duration::from_secs(90)])),
            meta: [("b".to_owned(), "\"é\"\n".to_owned()), ("a".to_owned(), String::new())].into(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            reply: Some(Reply {
                to: "answers".into(),
                correlation_id: Some("c 1".into()),
                on: [MessageKind::Completed, MessageKind::Started].into_iter().collect(),
            }),
            ..Extras::default()
        },
        ..Draft::new("mail=x", args())
    };
    let cases = [
        (Draft::new("mail", Json::null()), "'mail'"),
        (Draft::new("mail", args()), r#"'mail', '{"to":"ann"}'"#),
        (
            full,
            r#"'mail=x', '{"to":"ann"}', queue => 'mails', lane => 'tenant-1', priority => 2, max_attempts => 7,
               tags => '{a,b}', unique_key => 'order 7', unique_while => 'queued', timeout => '1.5004 seconds',
               retry_delays => ARRAY['1 second', '90 seconds']::interval[], meta => '{"b": "\"é\"\n", "a": ""}',
               traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
               reply_to => 'answers', correlation_id => 'c 1', reply_on => '{completed,started}'"#,
        ),
        (
            Draft {
                extras: Extras {
                    reply: Some(Reply { to: "r".into(), ..Reply::default() }),
                    ..Extras::default()
                },
                ..Draft::new("mail", Json::null())
            },
            "'mail', reply_to => 'r'",
        ),
    ];
    for (draft, sql) in cases {
        let by_sql = shop.enqueue(sql).await;
        shop.backroom.delete(by_sql.id).await.unwrap();
        let by_library = shop.backroom.enqueue_draft(draft).await.unwrap().status().await.unwrap();
        let same_plain = "SELECT extras, plain FROM every_job WHERE id = $1";
        let row = shop.client.query_one(same_plain, &[&by_library.id.0]).await.unwrap();
        let again = {
            shop.backroom.delete(by_library.id).await.unwrap();
            shop.enqueue(sql).await
        };
        let row_of_sql = shop.client.query_one(same_plain, &[&again.id.0]).await.unwrap();
        assert_eq!(row.get::<_, Option<String>>(0), row_of_sql.get(0), "{sql}");
        assert_eq!(row.get::<_, bool>(1), row_of_sql.get::<_, bool>(1), "{sql}");
        assert_eq!(content(by_sql), content(by_library), "{sql}");
        shop.backroom.delete(again.id).await.unwrap();
    }
}

#[tokio::test]
async fn times_are_those_that_the_library_would_have_chosen() {
    let shop = Shop::open().await;
    let after = |job: &JobRow| job.scheduled_at.duration_since(job.created_at).as_millis();
    let now = shop.enqueue("'mail'").await;
    assert_eq!(after(&now), 0);
    assert_eq!(now.id.0.get_version_num(), 7);
    assert_eq!(after(&shop.enqueue("'mail', delay => '1.5 hours'").await), 5_400_000);
    let past = shop.enqueue("'mail', run_at => now() - interval '4 minutes'").await;
    assert_eq!(after(&past), 0, "a start a moment ago means now");
    let later = shop
        .enqueue("'mail', run_at => '2030-01-01 00:00:00+00', expires_at => '2030-01-02 00:00:00+00'")
        .await;
    assert_eq!(later.scheduled_at.to_string(), "2030-01-01T00:00:00Z");
    assert_eq!(later.expires_at.unwrap().to_string(), "2030-01-02T00:00:00Z");
    let expires = shop.enqueue("'mail', expires_in => '1 minute'").await;
    assert_eq!(expires.expires_at.unwrap().duration_since(expires.created_at).as_secs(), 60);
    assert_eq!(later.shown(later.created_at), DisplayState::Scheduled);
}

#[tokio::test]
async fn what_breaks_a_bound_is_refused_in_the_words_of_the_library() {
    let shop = Shop::open().await;
    let library = async |draft: Draft| {
        let error = shop.backroom.enqueue_draft(draft).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let named = |kind: &str| Draft::new(kind, Json::null());
    let long = "k".repeat(129);
    let cases = [
        (named(""), "''".to_owned()),
        (named(&long), format!("'{long}'")),
        (named("backroom.x"), "'backroom.x'".into()),
        (named(" x"), "' x'".into()),
        (Draft { priority: 10, ..named("k") }, "'k', priority => 10".into()),
        (Draft { max_attempts: Some(0), ..named("k") }, "'k', max_attempts => 0".into()),
        (Draft { queue: "é".repeat(65), ..named("k") }, format!("'k', queue => '{}'", "é".repeat(65))),
        (Draft { tags: vec!["a".into(), "a".into()], ..named("k") }, "'k', tags => '{a,a}'".into()),
        (Draft { unique: Some(UniqueRule::by_key("")), ..named("k") }, "'k', unique_key => ''".into()),
        (
            Draft { args: Json::parse(format!("\"{}\"", "x".repeat(1 << 20))).unwrap(), ..named("k") },
            "'k', to_jsonb(repeat('x', 1048576))".into(),
        ),
    ];
    for (draft, sql) in cases {
        let (code, message) = shop.refused(&sql).await;
        assert_eq!(code, SqlState::INVALID_PARAMETER_VALUE, "{sql}");
        let said = library(draft).await;
        assert!(said.contains(&message), "{sql}\n  library: {said}\n  SQL: {message}");
    }
    for (sql, part) in [
        ("NULL", "kind is NULL"),
        ("E'x\\u2003'", "begins or ends with white space"),
        ("E'a\\u0007b'", "holds a control character"),
        ("E'a\\u0085b'", "holds a control character"),
        ("'k', delay => '-1 second'", "delay is negative"),
        ("'k', delay => '11 years'", "longer than ten years"),
        ("'k', delay => '1 s', run_at => now()", "set beside run_at"),
        ("'k', run_at => now() - interval '6 minutes'", "lies in the past"),
        ("'k', run_at => 'infinity'", "more than ten years ahead"),
        ("'k', expires_at => now() - interval '1 s'", "the job could never run"),
        ("'k', timeout => '0.4 milliseconds'", "less than a millisecond"),
        ("'k', retry_delays => '{}'", "give 1 to 100"),
        ("'k', meta => '[]'", "meta is no JSON object"),
        ("'k', meta => '{\"a\":1}'", "is no string"),
        ("'k', traceparent => '00-00000000000000000000000000000000-00f067aa0ba902b7-01'", "traceparent"),
        ("'k', reply_to => 'backroom.x'", "begins with \"backroom.\""),
        ("'k', reply_to => 'r', reply_on => '{never}'", "kind of message \"never\" is unknown"),
        ("'k', reply_to => 'r', reply_on => '{}'", "names no kind of message"),
        ("'k', correlation_id => 'c'", "reply_to is missing"),
        ("'k', unique_while => 'live'", "unique_key is missing"),
        ("'k', unique_key => 'a', unique_for => '0.5 s'", "unique window is zero"),
        ("'k', unique_key => 'a', unique_while => 'ever'", "unique_while is \"ever\""),
        ("'k', on_conflict => 'burn'", "on_conflict is \"burn\""),
    ] {
        let (code, message) = shop.refused(sql).await;
        assert!(
            code == SqlState::INVALID_PARAMETER_VALUE && message.contains(part),
            "{sql}: {code:?} {message}"
        );
    }
    let nested = |depth: usize| format!("'k', '{}\"]{{\"{}'", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(shop.enqueue(&nested(100)).await.kind, "k");
    assert!(shop.refused(&nested(101)).await.1.contains("nested too deep"));
    let wide = format!("'k', '[{}[]]'", "[],".repeat(500));
    shop.enqueue(&wide).await;
    assert_eq!(shop.count().await, 2, "nothing that was refused is stored");
}

#[tokio::test]
async fn a_key_is_held_as_the_library_holds_it() {
    let shop = Shop::open().await;
    let first = shop.enqueue(r#"'mail', '[1]', unique_key => 'a'"#).await;
    assert_eq!(shop.enqueue(r#"'mail', '[2]', unique_key => 'a'"#).await, first, "the holder stays");
    let (code, message) = shop.refused("'mail', unique_key => 'a', on_conflict => 'reject'").await;
    assert_eq!(
        (code, message),
        (SqlState::UNIQUE_VIOLATION, format!("job {} holds the unique key", first.id))
    );
    let replaced =
        shop.enqueue(r#"'mail', '[3]', unique_key => 'a', on_conflict => 'replace', priority => 1"#).await;
    assert_eq!((replaced.id, replaced.args.as_str(), replaced.priority), (first.id, "[3]", 1));
    // Both ways share keys.
    let draft = Draft { unique: Some(UniqueRule::by_key("a").reject()), ..Draft::new("mail", Json::null()) };
    let error = shop.backroom.enqueue_draft(draft).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyHeld { holder: first.id });
    shop.backroom.cancel(first.id).await.unwrap();
    let second = shop.enqueue("'mail', unique_key => 'a'").await;
    assert_ne!(second.id, first.id, "the holder has finished");

    let window = shop.enqueue("'mail', unique_key => 'w', unique_for => '1 hour'").await;
    shop.backroom.cancel(window.id).await.unwrap();
    assert_eq!(shop.enqueue("'mail', unique_key => 'w'").await.id, window.id, "the window goes on");
    let over = "UPDATE jobs SET unique_until = now() - interval '1 second' WHERE id = $1";
    assert_eq!(shop.client.execute(over, &[&window.id.0]).await.unwrap(), 1);
    assert_ne!(shop.enqueue("'mail', unique_key => 'w'").await.id, window.id);

    let other = place_in_other_transaction(&shop).await;
    assert_eq!(shop.enqueue("'mail', unique_key => 'b'").await.id, other);
}

/// A job whose key was taken in a transaction that committed meanwhile.
async fn place_in_other_transaction(shop: &Shop) -> backroom::JobId {
    let mut other = shop.place.client().await;
    let transaction = other.transaction().await.unwrap();
    let id = transaction.query_one("SELECT enqueue('mail', unique_key => 'b')", &[]).await.unwrap().get(0);
    transaction.commit().await.unwrap();
    backroom::JobId(id)
}

struct Mail;

impl serde::Serialize for Mail {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Mail {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    type Output = ();
}

#[tokio::test]
async fn the_job_exists_exactly_if_the_order_does_and_a_worker_is_notified_by_the_commit() {
    let shop = Shop::open().await;
    shop.client.batch_execute("CREATE TABLE orders (number int)").await.unwrap();
    let worker = Worker::new(&shop.backroom).handle(async |_: Mail, _: Context| Ok::<_, Failure>(()));
    let worker = worker.start().await.unwrap();
    let mut client = shop.place.client().await;
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO orders VALUES (1)", &[]).await.unwrap();
        let id: uuid::Uuid =
            transaction.query_one("SELECT enqueue('mail', 'null')", &[]).await.unwrap().get(0);
        let id = backroom::JobId(id);
        assert_eq!(
            shop.backroom.job(id).await.unwrap_err().kind(),
            ErrorKind::NotFound,
            "not before the commit"
        );
        if commits {
            transaction.commit().await.unwrap();
            let handle = shop.backroom.handle_untyped(id);
            tokio::time::timeout(Duration::from_secs(60), handle.wait()).await.expect("it runs").unwrap();
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(shop.backroom.job(id).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_job_is_not_stored() {
    let shop = Shop::open().await;
    shop.backroom.limit_depth("default", Some(2)).await.unwrap();
    shop.enqueue("'mail'").await;
    let held = shop.enqueue("'mail', unique_key => 'a'").await;
    let (code, message) = shop.refused("'mail'").await;
    assert_eq!(code, SqlState::CONFIGURATION_LIMIT_EXCEEDED, "{message}");
    assert!(message.starts_with("queue \"default\" is full"), "{message}");
    assert_eq!(shop.enqueue("'mail', unique_key => 'a'").await.id, held.id, "a duplicate adds nothing");
    assert_eq!(shop.count().await, 2);
}

#[tokio::test]
async fn a_role_that_may_only_enqueue_can_do_nothing_else() {
    let shop = Shop::open().await;
    let (schema, role) = (&shop.place.schema, format!("only_{}", shop.place.schema));
    let grants = format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}");
    shop.client.batch_execute(&grants).await.unwrap();
    let client = client(&shop.place.server).await;
    // A function of the role's own, before those of the schema, must not be called with the rights of the owner.
    client.batch_execute(&format!("SET ROLE {role}; SET search_path = pg_temp, {schema}")).await.unwrap();
    let enqueue = format!("SELECT {schema}.enqueue('mail', unique_key => 'a', queue => 'new')");
    let refused = async |sql: &str| {
        let error = client.query(sql, &[]).await.expect_err(sql);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
    };
    refused(&enqueue).await;
    shop.client
        .batch_execute(&format!("GRANT EXECUTE ON FUNCTION {schema}.enqueue TO {role}"))
        .await
        .unwrap();
    client.query(&enqueue, &[]).await.unwrap();
    for sql in [
        format!("SELECT * FROM {schema}.jobs"),
        format!("INSERT INTO {schema}.queues (name) VALUES ('x')"),
        format!("SELECT {schema}.name_queue('x')"),
        format!("SELECT {schema}.extras_of(NULL, NULL, NULL, NULL, NULL, NULL, NULL)"),
        format!("DELETE FROM {schema}.jobs"),
    ] {
        refused(&sql).await;
    }
    assert_eq!(shop.count().await, 1);
    drop(client);
    shop.client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn sealed_kinds_and_secure_queues_are_refused_also_when_no_program_runs_that_knows_them() {
    let shop = Shop::open().await;
    shop.enqueue("'pay'").await;
    let options = backroom::Options::new().secure_queue("payroll");
    #[cfg(feature = "sealed")]
    let options = options.seal_kind("pay", "payroll");
    // Twice: as each start of a server does.
    for _ in 0..2 {
        options.clone().open(&shop.place.url()).await.unwrap().close().await.unwrap();
    }
    #[cfg(feature = "sealed")]
    {
        let (code, message) = shop.refused(r#"'pay', '{"iban": "DE02"}'"#).await;
        assert_eq!(code, SqlState::INVALID_PARAMETER_VALUE);
        assert!(message.starts_with("kind \"pay\" is sealed, and SQL cannot seal args"), "{message}");
    }
    for sql in ["'mail', queue => 'payroll'", "'mail', queue => 'payroll', unique_key => 'a'"] {
        let (code, message) = shop.refused(sql).await;
        assert_eq!(code, SqlState::INVALID_PARAMETER_VALUE);
        assert!(message.starts_with("queue \"payroll\" is secure, and SQL shows no credential"), "{message}");
    }
    // A job that is there is not replaced from another queue.
    let held = Draft {
        queue: "payroll".into(),
        unique: Some(UniqueRule::by_key("b")),
        ..Draft::new("mail", Json::null())
    };
    let held = shop.backroom.enqueue_draft(held).await.unwrap();
    let (code, message) = shop.refused("'mail', '1', unique_key => 'b', on_conflict => 'replace'").await;
    assert_eq!(code, SqlState::INVALID_PARAMETER_VALUE);
    assert!(message.contains("in a secure queue holds the unique key"), "{message}");
    assert_eq!(held.status().await.unwrap().args.as_str(), "null");
    // Others are as before, those with similar names, too.
    shop.enqueue("'payroll', queue => 'pay'").await;
    assert_eq!(shop.count().await, 3);
}

#[tokio::test]
async fn psql_enqueues_whatever_the_encoding_of_its_terminal() {
    let shop = Shop::open().await;
    for (encoding, text) in [("UTF8", "gr\u{fc}n".as_bytes().to_vec()), ("LATIN1", b"gr\xfcn".to_vec())] {
        let mut sql = format!("SELECT {}.enqueue('mail', jsonb_build_object('color', '", shop.place.schema)
            .into_bytes();
        sql.extend(text);
        sql.extend(b"'), queue => 'psql')");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sql).unwrap();
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--file"])
            .arg(file.path())
            .arg(&shop.place.server)
            .env("PGCLIENTENCODING", encoding)
            .stdin(Stdio::null())
            .output()
            .expect("psql is there, as the server is");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let id: uuid::Uuid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let job = shop.backroom.job(backroom::JobId(id)).await.unwrap();
        assert_eq!((job.args.as_str(), job.queue.as_str()), (r#"{"color": "grün"}"#, "psql"), "{encoding}");
    }
}

#[cfg(feature = "sqlx")]
#[tokio::test]
async fn a_transaction_of_sqlx_enqueues() {
    use sqlx::Connection as _;

    let shop = Shop::open().await;
    let mut connection = sqlx::PgConnection::connect(&shop.place.server).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let sql = format!(
        "SELECT {}.enqueue($1, $2::text::jsonb, delay => interval '1 hour')::text",
        shop.place.schema
    );
    let id: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind("mail")
        .bind(r#"{"to":"ann"}"#)
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let job = shop.backroom.job(backroom::JobId(id.parse().unwrap())).await.unwrap();
    assert!(job.scheduled_at > job.created_at);
}
