//! Compares the schemas of rows with what the library writes.

use std::collections::BTreeSet;

use backroom::{
    Attempt, AuditEntry, Count, DisplayState, Draft, EndedEndpoint, Extras, JobId, Json, LogLine, MessageRow,
    Progress, ReplyQueue, Retention, RetryPolicy, Timestamp, Token, WorkerRow,
    core::{Callback, Reply, Suspicion},
    schedule,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use utoipa::PartialSchema;

use super::{
    JobView,
    rows::{
        AttemptSchema, AuditEntrySchema, CallbackSchema, CountSchema, EndedEndpointSchema, ExtrasSchema,
        JobSchema, LogLineSchema, MessageSchema, ProgressSchema, ReplyQueueSchema, ReplySchema,
        RetentionSchema, RetrySchema, TokenSchema, WorkerSchema,
        job::{LinksSchema, OccurrenceSchema, SuspicionSchema},
        queue::RetentionLimitSchema,
        reply::{MessageBodySchema, MessageLeaseSchema},
        schedule::{
            BackfillSchema, CalendarSchema, CountersSchema, DefinitionSchema, EndOfRunSchema, EverySchema,
            FailingSchema, PauseSchema, PoliciesSchema, ScheduledJobSchema, SuccessSchema,
        },
        worker::{BlockedSchema, ProcessSchema, ThreadsSchema, TrialSchema, TrialsSchema},
    },
};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const AT: &str = "2026-01-31T09:00:00Z";

/// The fields of the row are those of the schema. Answers the row as JSON.
fn same<S: PartialSchema>(row: &impl Serialize) -> Value {
    let row = serde_json::to_value(row).expect("a row is JSON");
    let schema = serde_json::to_value(S::schema()).expect("a schema is JSON");
    let names = |value: &Value| {
        let fields = value.as_object().unwrap_or_else(|| panic!("an object: {value}"));
        fields.keys().cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&row), names(&schema["properties"]), "{}", std::any::type_name::<S>());
    row
}

/// A row from JSON.
fn row<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_str(&json.to_string()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn at() -> Timestamp {
    AT.parse().expect("a moment")
}

#[test]
fn the_schema_of_a_job_has_the_fields_of_a_job() {
    let id: JobId = ID.parse().expect("an id");
    let mut job = Draft::new("k", Json::null()).check(id, at(), usize::MAX).expect("a draft").job;
    job.output = Some(Json::null());
    job.progress = Some(Progress { percent: 1, message: "m".into() });
    job.suspicion = Some(Suspicion { on_trial: 1, alone: 0, at: at(), ran_ms: 1 });
    job.links = Some(row(json!({
        "followed": true, "after": "held", "batch": ID, "journal": true,
        "parent": {"workflow": ID, "key": "k", "policy": "cancel"},
        "ends": {"batch": ID, "which": "finish",
            "summary": {"total": 1, "completed": 1, "cancelled": 0, "discarded": 0}},
    })));
    job.extras = Extras {
        retry: Some(RetryPolicy::DEFAULT),
        reply: Some(Reply { to: "r".into(), ..Reply::default() }),
        callback: Some(row::<Callback>(json!({"url": "https://example.org/"}))),
        occurrence: Some(row(json!({"schedule": "s", "nominal": AT}))),
        ..Extras::default()
    };
    let written = same::<JobSchema>(&JobView::whole(job, at()));
    same::<LinksSchema>(&written["links"]);
    same::<ProgressSchema>(&written["progress"]);
    same::<SuspicionSchema>(&written["suspicion"]);
    same::<RetrySchema>(&written["retry"]);
    same::<ReplySchema>(&written["reply"]);
    same::<CallbackSchema>(&written["callback"]);
    same::<OccurrenceSchema>(&written["occurrence"]);
}

#[test]
fn a_job_is_read_back_as_it_was_written() {
    let id: JobId = ID.parse().expect("an id");
    let args = Json::parse("{ \"a\":  1.50 }").expect("JSON");
    let job = Draft::new("k", args).check(id, at(), usize::MAX).expect("a draft").job;
    let view = JobView::whole(job, at());
    let read: JobView = serde_json::from_slice(&serde_json::to_vec(&view).expect("JSON")).expect("a job");
    assert_eq!((read.job, read.shown), (view.job, DisplayState::Available));
}

#[test]
fn the_schemas_of_what_happened_to_a_job_have_its_fields() {
    same::<AttemptSchema>(&row::<Attempt>(
        json!({"lease_id": ID, "attempt": 1, "end": "failed", "error": "e", "worker": null, "started_at": AT, "ended_at": AT}),
    ));
    same::<LogLineSchema>(&row::<LogLine>(json!({"lease_id": ID, "seq": 0, "at": AT, "line": "l"})));
}

#[test]
fn the_schemas_of_queues_have_their_fields() {
    same::<CountSchema>(&Count::new("q", DisplayState::Available, 1));
    let written = same::<RetentionSchema>(&Retention::default());
    same::<RetentionLimitSchema>(&written["completed"]);
}

#[test]
fn the_schema_of_a_worker_has_its_fields() {
    let trial = json!({"job": ID, "lease": ID, "alone": true, "since": AT});
    let worker: WorkerRow = row(json!({
        "name": "w", "incarnation": ID, "beats": 1, "dead": false, "host": "h", "pid": 1, "started_at": AT, "beat_at": AT,
        "lease_ms": 1, "queues": [["q", 1]], "kinds": [], "slots": 1, "running": 0, "stuck": 0, "stopping": false,
        "trials": {"on": trial, "passed": []}, "blocked": {"at": AT, "for_ms": 1, "now": false, "kinds": []},
        "any_kind": true, "memory_bytes": 1,
    }));
    let written = same::<WorkerSchema>(&worker);
    same::<TrialsSchema>(&written["trials"]);
    same::<TrialSchema>(&written["trials"]["on"]);
    same::<ProcessSchema>(&written["process"]);
    same::<BlockedSchema>(&written["blocked"]);
    same::<ThreadsSchema>(&written["threads"]);
}

#[test]
fn the_schemas_of_tokens_and_of_the_audit_log_have_their_fields() {
    same::<TokenSchema>(&row::<Token>(json!({
        "id": ID, "name": "n", "scopes": ["read"], "queues": [], "created_at": AT, "expires_at": null, "revoked_at": null,
        "last_used_at": null,
    })));
    same::<AuditEntrySchema>(&row::<AuditEntry>(
        json!({"id": ID, "at": AT, "who": "w", "act": "a", "target": "t", "detail": null}),
    ));
}

#[test]
fn the_schemas_of_schedules_have_their_fields() {
    let written = same::<DefinitionSchema>(&row::<schedule::Schedule>(json!({
        "name": "s", "specs": [{"every": {"interval_ms": 1000, "phase_ms": 1, "anchor": AT}}],
        "except": [{"calendar": {"dates": ["2026-12-24"], "at": ["06:30"]}}], "zone": "UTC", "starts_at": AT, "ends_at": AT,
        "jitter_ms": 1, "max_runs": 1, "frequent": true, "paused": true, "policies": {"deadman_ms": 1000}, "notify": "https://a.b/",
        "job": {"kind": "k", "lane": "l", "expire_after_ms": 1, "max_attempts": 1, "tags": ["t"]},
    })));
    same::<EverySchema>(&written["specs"][0]["every"]);
    same::<CalendarSchema>(&written["except"][0]["calendar"]);
    same::<PoliciesSchema>(&written["policies"]);
    same::<ScheduledJobSchema>(&written["job"]);
    same::<ExtrasSchema>(&written["job"]["extras"]);
    same::<PauseSchema>(&row::<schedule::state::Pause>(json!({"at": AT, "by": "operator"})));
    same::<FailingSchema>(&row::<schedule::state::Failing>(json!({"since": AT, "of": "job", "why": "w"})));
    same::<SuccessSchema>(&row::<schedule::state::Success>(json!({"nominal": AT, "at": AT})));
    same::<CountersSchema>(&schedule::state::Counters::default());
    same::<BackfillSchema>(&row::<schedule::state::Backfill>(json!({
        "from": AT, "until": AT, "total": 1, "done": 1, "decided_until": AT, "at_once": 1, "started_at": AT, "ended_at": AT,
    })));
    same::<EndOfRunSchema>(&row::<schedule::EndOfRun>(
        json!({"became": "discarded", "at": AT, "reason": "r"}),
    ));
}

#[cfg(feature = "triggers")]
#[test]
fn the_schemas_of_triggers_have_their_fields() {
    use super::rows::trigger::{StatusSchema, TriggerCountersSchema};
    let written = same::<StatusSchema>(&backroom_triggers::Status::default());
    same::<TriggerCountersSchema>(&written["counters"]);
}

#[test]
fn the_schemas_of_messages_have_their_fields() {
    same::<ReplyQueueSchema>(&row::<ReplyQueue>(
        json!({"name": "r", "messages": 1, "taken": 0, "bytes": 1, "oldest_at": AT, "dropped": 0}),
    ));
    let message: MessageRow = row(json!({
        "seq": 1, "id": ID, "reply_to": "r", "deliveries": 1, "lease": {"id": ID, "from": AT, "until": AT},
        "body": {
            "type": "completed", "job_id": ID, "kind": "k", "queue": "q", "attempt": 1, "max_attempts": 1, "state": "completed",
            "at": AT, "correlation_id": "c", "output": {"a": [1.50]}, "reason": "r", "error": "e", "end": "failed",
            "next_attempt_at": AT, "progress": {"percent": 1, "message": "m"}, "tags": ["t"], "meta": {"a": "b"},
            "left_out": [{"field": "tags", "bytes": 1, "read": "job"}],
        },
    }));
    let written = same::<MessageSchema>(&message);
    same::<MessageLeaseSchema>(&written["lease"]);
    same::<MessageBodySchema>(&written["body"]);
    same::<EndedEndpointSchema>(&row::<EndedEndpoint>(json!({"url": "u", "reason": "r", "ended_at": AT})));
}
