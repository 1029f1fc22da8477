//! Which token may use which route. The table has every route of the document: a route without an entry fails the test.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    serve_support::{Answer, eventually},
    support::Side,
};

/// The scopes of tokens, each alone.
const SCOPES: [&str; 5] = ["enqueue", "work", "read", "operate", "admin"];
/// The queue of the job, and the reply queue with its message.
const QUEUE: &str = "mail-eu";
/// Tokens for these queues reach it.
const REACHES: &str = "mail*";

/// What a token gets that has the scope, and no pattern that the queue of the request matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// The route is about the queue that the request names, or about all queues: 403.
    Refused,
    /// What the token does not reach does not exist for it: 404.
    Missing,
    /// An answer without what the token does not reach.
    LeftOut,
}

use Elsewhere::{LeftOut, Missing, Refused};

/// One route.
struct Route {
    method: &'static str,
    /// As in the document.
    path: &'static str,
    /// The body of the request. `QUEUE` in it stands for the queue, `WORKER` for a worker of it, `JOB` for a job of it.
    body: &'static str,
    /// A token with one of these scopes may use it. None: it needs no token.
    scopes: &'static [&'static str],
    elsewhere: Elsewhere,
    /// Whether a token that does not reach all queues may not use it, whatever it reaches.
    is_about_all: bool,
    /// How a caller proves who it is, where that is not by a token with scopes.
    proof: Proof,
}

/// How a caller proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// By a token with a scope, or not at all.
    Token,
    /// By the token of one run: no other token is one.
    Run,
    /// By its signature. Without a trigger of this name there is nothing to sign for.
    Signature,
}

/// A route that needs no token.
const fn open(path: &'static str) -> Route {
    Route {
        method: "get",
        path,
        body: "",
        scopes: &[],
        elsewhere: LeftOut,
        is_about_all: false,
        proof: Proof::Token,
    }
}

/// A route that is about the queue that it names, or about jobs.
const fn route(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    scopes: &'static [&'static str],
    elsewhere: Elsewhere,
) -> Route {
    Route { method, path, body, scopes, elsewhere, is_about_all: false, proof: Proof::Token }
}

/// A route that is about all queues.
const fn about_all(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    scopes: &'static [&'static str],
) -> Route {
    Route { method, path, body, scopes, elsewhere: Refused, is_about_all: true, proof: Proof::Token }
}

/// A route for the holder of the token of one run. Tokens of callers are none.
const fn of_run(method: &'static str, path: &'static str, body: &'static str) -> Route {
    Route {
        method,
        path,
        body,
        scopes: &["a run"],
        elsewhere: Refused,
        is_about_all: false,
        proof: Proof::Run,
    }
}

/// A route whose callers sign their requests.
const fn signed(method: &'static str, path: &'static str) -> Route {
    Route {
        method,
        path,
        body: "{}",
        scopes: &[],
        elsewhere: LeftOut,
        is_about_all: false,
        proof: Proof::Signature,
    }
}

const ENQUEUE: &[&str] = &["enqueue", "admin"];
const WORK: &[&str] = &["work", "admin"];
const READ: &[&str] = &["read", "operate", "admin"];
/// A caller may read the jobs that it may enqueue.
const READ_JOBS: &[&str] = &["enqueue", "read", "operate", "admin"];
const OPERATE: &[&str] = &["operate", "admin"];
const ADMIN: &[&str] = &["admin"];

const ROUTES: &[Route] = &[
    open("/livez"),
    open("/readyz"),
    open("/openapi.json"),
    open("/docs"),
    open("/docs/style.css"),
    open("/problems"),
    open("/problems/{code}"),
    about_all("get", "/metrics", "", READ),
    route("post", "/v1/jobs", r#"{"kind":"k","queue":"QUEUE"}"#, ENQUEUE, Refused),
    route("get", "/v1/jobs", "", READ_JOBS, LeftOut),
    about_all("get", "/v1/jobs/{id}/tree", "", READ),
    about_all("post", "/v1/jobs/{id}/tree", r#"{"action":"retry"}"#, OPERATE),
    route(
        "post",
        "/v1/graphs",
        r#"{"jobs":[{"name":"a","job":{"kind":"k","queue":"QUEUE"}}]}"#,
        ENQUEUE,
        Refused,
    ),
    about_all("get", "/v1/batches", "", READ),
    about_all("post", "/v1/batches", "{}", ENQUEUE),
    about_all("get", "/v1/batches/{id}", "", READ),
    about_all("post", "/v1/batches/{id}/close", "", ENQUEUE),
    about_all("post", "/v1/batches/{id}/reopen", "", OPERATE),
    about_all("post", "/v1/batches/{id}/cancel", "", OPERATE),
    about_all("post", "/v1/batches/{id}/retry", "", OPERATE),
    route("post", "/v1/jobs/batch", r#"[{"kind":"k","queue":"QUEUE"}]"#, ENQUEUE, Refused),
    route(
        "post",
        "/v1/jobs/bulk",
        r#"{"action":"cancel","filter":{"kind":"k"},"dry_run":true}"#,
        OPERATE,
        LeftOut,
    ),
    route("get", "/v1/jobs/{id}", "", READ_JOBS, Missing),
    route("patch", "/v1/jobs/{id}", r#"{"priority":1}"#, OPERATE, Missing),
    route("delete", "/v1/jobs/{id}", "", OPERATE, Missing),
    route("get", "/v1/jobs/{id}/output", "", READ_JOBS, Missing),
    route("get", "/v1/jobs/{id}/attempts", "", READ_JOBS, Missing),
    route("get", "/v1/jobs/{id}/logs", "", READ_JOBS, Missing),
    route("get", "/v1/jobs/{id}/explain", "", READ_JOBS, Missing),
    route("get", "/v1/jobs/{id}/journal", "", READ_JOBS, Missing),
    route("post", "/v1/jobs/{id}/signals", r#"{"name":"go"}"#, ENQUEUE, Missing),
    route("get", "/v1/jobs/{id}/events", "", READ_JOBS, Missing),
    route("post", "/v1/jobs/{id}/cancel", "", OPERATE, Missing),
    route("post", "/v1/jobs/{id}/retry", "", OPERATE, Missing),
    route("get", "/v1/queues", "", READ, LeftOut),
    route("get", "/v1/queues/{name}", "", READ, Missing),
    route("patch", "/v1/queues/{name}", r#"{"depth_max":1000000}"#, OPERATE, Refused),
    route("post", "/v1/queues/{name}/pause", "", OPERATE, Refused),
    route("post", "/v1/queues/{name}/resume", "", OPERATE, Refused),
    route("get", "/v1/counts", "", READ, LeftOut),
    route("get", "/v1/scaling/{queue}", "", READ, Refused),
    about_all("get", "/v1/workers", "", READ),
    about_all("get", "/v1/stats", "", READ),
    route("get", "/v1/schedules", "", READ, LeftOut),
    route("get", "/v1/schedules/{name}", "", READ, Missing),
    route(
        "put",
        "/v1/schedules/{name}",
        r#"{"specs":["@daily"],"job":{"kind":"k","queue":"QUEUE"}}"#,
        OPERATE,
        Refused,
    ),
    route("delete", "/v1/schedules/{name}", "", OPERATE, Missing),
    route("get", "/v1/schedules/{name}/history", "", READ, Missing),
    route("get", "/v1/schedules/{name}/preview", "", READ, Missing),
    route("post", "/v1/schedules/{name}/pause", "", OPERATE, Missing),
    route("post", "/v1/schedules/{name}/resume", "", OPERATE, Missing),
    route("post", "/v1/schedules/{name}/trigger", "", ENQUEUE, Missing),
    route(
        "post",
        "/v1/schedules/{name}/backfill",
        r#"{"from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z"}"#,
        OPERATE,
        Missing,
    ),
    route("delete", "/v1/schedules/{name}/backfill", "", OPERATE, Missing),
    route("post", "/v1/schedule-preview", r#"{"specs":["@daily"]}"#, READ, LeftOut),
    route("get", "/v1/replies", "", WORK, LeftOut),
    route("get", "/v1/replies/{queue}", "", WORK, Refused),
    about_all("get", "/v1/endpoints", "", READ),
    about_all("post", "/v1/endpoints/enable", r#"{"url":"https://example.com/"}"#, OPERATE),
    route("post", "/v1/replies/{queue}/take", r#"{"lease_ms":1}"#, WORK, Refused),
    route("post", "/v1/replies/{queue}/acknowledge", HELD, WORK, Refused),
    route("post", "/v1/replies/{queue}/release", HELD, WORK, Refused),
    route("post", "/v1/claim", r#"{"worker":WORKER}"#, WORK, Refused),
    route("post", "/v1/leases/extend", r#"{"worker":WORKER,"leases":[]}"#, WORK, Refused),
    route("post", "/v1/leases/leave", r#"{"worker":WORKER}"#, WORK, Refused),
    route("post", "/v1/leases/commit", COMMITS, WORK, Refused),
    route("post", "/v1/leases/report", REPORTS, WORK, Refused),
    route("post", "/v1/leases/workflow", ASKS, WORK, Refused),
    of_run("get", "/v1/lease", ""),
    of_run("post", "/v1/lease/report", "{}"),
    of_run("post", "/v1/lease/commit", r#"{"outcome":"done"}"#),
    about_all("get", "/v1/triggers", "", READ),
    about_all("get", "/v1/triggers/{name}", "", READ),
    about_all("delete", "/v1/triggers/{name}", "", OPERATE),
    about_all("post", "/v1/triggers/{name}/pause", "", OPERATE),
    about_all("post", "/v1/triggers/{name}/resume", "", OPERATE),
    about_all("post", "/v1/triggers/{name}/test", r#"{"body":"{}"}"#, READ),
    about_all("get", "/v1/dead-letters", "", READ),
    about_all("get", "/v1/dead-letters/{id}", "", READ),
    about_all("delete", "/v1/dead-letters/{id}", "", OPERATE),
    about_all("post", "/v1/dead-letters/{id}/replay", "", OPERATE),
    signed("post", "/v1/hooks/{name}"),
    signed("options", "/v1/hooks/{name}"),
    about_all("get", "/v1/tokens", "", ADMIN),
    about_all("post", "/v1/forget", r#"{"tag":"t"}"#, ADMIN),
    about_all("post", "/v1/tokens", r#"{"name":"t","scopes":["read"]}"#, ADMIN),
    about_all("delete", "/v1/tokens/{id}", "", ADMIN),
    about_all("get", "/v1/audit", "", ADMIN),
    about_all("get", "/v1/config", "", ADMIN),
];

/// A worker of the queue.
const WORKER: &str = r#"{"name":"w","kinds":["other"],"queues":[{"name":"QUEUE"}]}"#;
/// About a job of the queue, under a lease that it does not have.
const COMMITS: &str = r#"{"worker":"w","commits":[{"job":"JOB","lease":"00000000-0000-7000-8000-000000000000","outcome":"done"}]}"#;
const ASKS: &str =
    r#"{"worker":"w","job":"JOB","lease":"00000000-0000-7000-8000-000000000000","begin":true}"#;
const REPORTS: &str =
    r#"{"worker":"w","reports":[{"job":"JOB","lease":"00000000-0000-7000-8000-000000000000"}]}"#;

/// A lease that holds no message.
const HELD: &str = r#"{"lease":"00000000-0000-7000-8000-000000000000","ids":[]}"#;

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn is_open(&self) -> bool {
        self.scopes.is_empty()
    }
}

/// A server whose tokens are made by its own commands.
struct Guarded {
    side: Side,
    /// May do everything.
    root: String,
}

impl Guarded {
    fn new(test: &str) -> Self {
        let side = Side::new(test);
        let root = side.token(&["--scope", "admin", "root"]);
        eventually("the server closes", || side.get("/v1/queues").status == 401);
        Self { side, root }
    }

    fn call(&self, method: &str, path: &str, body: &str, secret: Option<&str>) -> Answer {
        let bearer = secret.map(|secret| format!("Bearer {secret}"));
        let mut headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        self.side.server.call(&method.to_uppercase(), path, &headers, body.as_bytes())
    }

    /// Calls a route for a job (or a token) of its own, so that no call meets what another has changed.
    fn ask(&self, route: &Route, secret: Option<&str>) -> (Answer, Option<String>) {
        let mut job = None;
        let mut path =
            route.path.replace("{code}", "invalid").replace("{name}", QUEUE).replace("{queue}", QUEUE);
        if path.contains("/jobs/{id}") {
            let id = self.cancelled_job();
            path = path.replace("{id}", &id);
            job = Some(id);
        } else if path.contains("/schedules/") {
            // A route before this one may have deleted it.
            let body = json!({"specs": ["@daily"], "job": {"kind": "k", "queue": QUEUE}}).to_string();
            let put = self.call("put", &format!("/v1/schedules/{QUEUE}"), &body, Some(&self.root));
            assert!(matches!(put.status, 200 | 201), "{}", put.text());
        } else if path.contains("/tokens/{id}") {
            path = path.replace("{id}", &self.side.token_id("short-lived"));
        }
        path = path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        assert!(!path.contains('{'), "{path}: the test has nothing to put there");
        let mut body = route.body.replace("WORKER", WORKER).replace("QUEUE", QUEUE);
        if body.contains("JOB") {
            let id = self.cancelled_job();
            body = body.replace("JOB", &id);
            job = Some(id);
        }
        (self.call(route.method, &path, &body, secret), job)
    }

    /// A job that has ended: its events end, too. It has left a message.
    fn cancelled_job(&self) -> String {
        let job = json!({"kind": "k", "queue": QUEUE, "reply": {"to": QUEUE}}).to_string();
        let answer = self.call("post", "/v1/jobs", &job, Some(&self.root));
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let cancelled = self.call("post", &format!("/v1/jobs/{id}/cancel"), "", Some(&self.root));
        assert_eq!(cancelled.status, 200, "{}", cancelled.text());
        id
    }

    /// The job as it is; null if it is gone.
    fn job(&self, id: &str) -> Value {
        let answer = self.call("get", &format!("/v1/jobs/{id}"), "", Some(&self.root));
        if answer.status == 200 { answer.json() } else { Value::Null }
    }
}

/// Every route of the document, as `method path`.
fn documented(side: &Side) -> BTreeSet<String> {
    let document = side.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_table_has_every_route_of_the_document() {
    let side = Side::new("scopes_all");
    let tabled: BTreeSet<_> = ROUTES.iter().map(Route::name).collect();
    assert_eq!(tabled.len(), ROUTES.len(), "a route stands in the table twice");
    let documented = documented(&side);
    let missing: Vec<_> = documented.difference(&tabled).collect();
    assert!(missing.is_empty(), "routes without an entry in the table of scopes: {missing:?}");
    let gone: Vec<_> = tabled.difference(&documented).collect();
    assert!(gone.is_empty(), "the table has routes that the document lacks: {gone:?}");
}

#[test]
fn a_token_may_use_the_routes_of_its_scope_and_no_others() {
    let guarded = Guarded::new("scopes_each");
    for scope in SCOPES {
        let secret = guarded.side.token(&["--scope", scope, scope]);
        for route in ROUTES {
            let (answer, job) = guarded.ask(route, Some(&secret));
            if route.proof == Proof::Run {
                answer.is_problem(401, "unauthenticated");
            } else if route.is_open() || route.scopes.contains(&scope) {
                // What is about all queues may be about a name that there is not.
                let is_unknown =
                    answer.status == 404 && (route.is_about_all || route.proof == Proof::Signature);
                let refusals = [401, 403, 404, 405, 415, 422];
                assert!(
                    is_unknown || !refusals.contains(&answer.status),
                    "{scope}: {}: {} {}",
                    route.name(),
                    answer.status,
                    answer.text()
                );
            } else {
                answer.is_problem(403, "forbidden");
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(challenge.contains("insufficient_scope"), "{scope}: {}: {challenge}", route.name());
                if let Some(job) = job {
                    assert_eq!(guarded.job(&job)["revision"], 1, "{scope}: {} changed the job", route.name());
                }
            }
        }
    }
}

#[test]
fn a_token_for_other_queues_reaches_nothing_of_this_one() {
    let guarded = Guarded::new("scopes_queue");
    let reaching = guarded.side.token(&["--scope", "admin", "--queue", REACHES, "reaching"]);
    let elsewhere = guarded.side.token(&["--scope", "admin", "--queue", "pay*", "elsewhere"]);
    guarded.cancelled_job();
    for route in ROUTES.iter().filter(|route| !route.is_open() && route.proof == Proof::Token) {
        let (answer, _) = guarded.ask(route, Some(&reaching));
        if route.is_about_all {
            answer.is_problem(403, "forbidden");
        } else {
            let refusals = [401, 403, 404];
            assert!(!refusals.contains(&answer.status), "{}: {}", route.name(), answer.text());
        }
        let (answer, job) = guarded.ask(route, Some(&elsewhere));
        match route.elsewhere {
            Refused => drop(answer.is_problem(403, "forbidden")),
            Missing => drop(answer.is_problem(404, "not-found")),
            LeftOut => {
                assert_eq!(answer.status, 200, "{}: {}", route.name(), answer.text());
                assert!(!answer.text().contains(QUEUE), "{}: {}", route.name(), answer.text());
            }
        }
        if let Some(job) = job {
            assert_eq!(guarded.job(&job)["revision"], 1, "{} changed the job", route.name());
        }
    }
    // What the count leaves out is not changed either.
    let all = r#"{"action":"delete","filter":{},"all":true}"#;
    let done = guarded.call("post", "/v1/jobs/bulk", all, Some(&elsewhere)).json();
    assert_eq!((&done["matched"], &done["done"]), (&json!(0), &json!(0)), "{done}");
    // A stream of lines answers each line for itself.
    let headers =
        [("authorization", format!("Bearer {elsewhere}")), ("content-type", "application/x-ndjson".into())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let lines = b"{\"kind\":\"k\",\"queue\":\"mail-eu\"}\n{\"kind\":\"k\",\"queue\":\"pay\"}\n";
    let answers = guarded.side.server.call("POST", "/v1/jobs/batch", &headers, lines).text();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&answers[0]["code"], &answers[1]["outcome"]), (&json!("forbidden"), &json!("created")));
}

/// A body may name more than its queue, and none of it may lie beyond the token's reach.
#[test]
fn what_a_new_job_names_must_be_within_reach_of_the_token() {
    let guarded = Guarded::new("scopes_named");
    let limited = guarded.side.token(&["--scope", "enqueue", "--queue", REACHES, "limited"]);
    let put = |job: &Value, secret: &str| guarded.call("post", "/v1/jobs", &job.to_string(), Some(secret));
    let made = |job: &Value, secret: &str| put(job, secret).json()["id"].as_str().unwrap().to_owned();
    let far = made(
        &json!({"kind": "pay", "queue": "pay", "delay_ms": 3_600_000, "unique": {"by": {"key": "u"}}}),
        &guarded.root,
    );
    let near = made(&json!({"kind": "mail", "queue": QUEUE, "delay_ms": 3_600_000}), &limited);
    let batch = guarded.call("post", "/v1/batches", "{}", Some(&guarded.root)).json();
    let job = |more: Value| {
        let mut job = json!({"kind": "mail", "queue": QUEUE});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job
    };
    let replace = json!({"by": {"key": "u"}, "on_conflict": "replace"});
    for (named, status, code) in [
        (job(json!({"reply": {"to": "pay-replies"}})), 403, "forbidden"),
        (job(json!({"reply": {"to": "broker:shop/orders"}})), 403, "forbidden"),
        (job(json!({"batch": batch["id"]})), 403, "forbidden"),
        (job(json!({"kind": "pay", "unique": replace})), 403, "forbidden"),
        (job(json!({"after": [far]})), 404, "not-found"),
    ] {
        put(&named, &limited).is_problem(status, code);
        let graph = json!({"jobs": {"only": named}}).to_string();
        let answer = guarded.call("post", "/v1/graphs", &graph, Some(&limited));
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        let headers =
            [("authorization", format!("Bearer {limited}")), ("content-type", "application/x-ndjson".into())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let line = format!("{named}\n");
        let answer = guarded.side.server.call("POST", "/v1/jobs/batch", &headers, line.as_bytes()).json();
        assert_eq!(answer["code"], code, "{answer}");
    }
    assert_eq!(guarded.job(&far)["revision"], 0, "nothing has changed it");
    for named in [job(json!({"reply": {"to": "mail-replies"}})), job(json!({"after": [near]}))] {
        assert_eq!(put(&named, &limited).status, 202);
        assert_eq!(put(&named, &guarded.root).status, 202);
    }
}

#[test]
fn a_token_that_is_missing_unknown_or_expired_is_refused_by_every_route_that_needs_one() {
    let guarded = Guarded::new("scopes_none");
    let expired = guarded.side.token(&["--scope", "admin", "--expires", "1s", "short"]);
    let refused = |secret: Option<&str>| {
        for route in ROUTES {
            let (answer, job) = guarded.ask(route, secret);
            if route.is_open() {
                let is_unknown = route.proof == Proof::Signature && answer.status == 404;
                assert!(answer.status < 400 || is_unknown, "{}: {}", route.name(), answer.text());
                continue;
            }
            answer.is_problem(401, "unauthenticated");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "), "{}", route.name());
            if let Some(job) = job {
                assert_eq!(guarded.job(&job)["revision"], 1, "{} changed the job", route.name());
            }
        }
    };
    refused(None);
    refused(Some("brm_0000000000000000000000000000000000000000000"));
    eventually("the token expires", || guarded.call("get", "/v1/tokens", "", Some(&expired)).status == 401);
    refused(Some(&expired));
}
