//! A server whose store has something of everything that pages show.

use std::fs;

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{Answer, Server, eventually},
};

/// A secret that hooks prove themselves with.
const SECRET: &str = "the-secret-of-the-hook";
/// Text that would run in a browser, if a page did not escape it.
pub(crate) const SCRIPT: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";

const SETTINGS: &str = r#"
[kinds.words]
command = ["sh", "-c", "echo counting >&2; cat"]

[kinds.broken]
command = ["sh", "-c", "echo 'a line of the log' >&2; echo 'it broke' >&2; exit 1"]

[worker]
queues = ["browser=2", "default=2"]

[schedules.nightly]
when = "0 2 * * *"
zone = "Europe/Oslo"
kind = "report"
queue = "browser"

[schedules.hourly]
when = "@hourly"
kind = "report"
queue = "browser"

[triggers.inbox]
type = "hook"
scheme = "secret"
secrets = ["the-secret-of-the-hook"]
kind = "{{header.x-kind}}"
kinds = ["order"]
queue = "browser"

[triggers.spare-script]
type = "hook"
scheme = "none"
kind = "order"

[triggers.spare-plain]
type = "hook"
scheme = "none"
kind = "order"
"#;

/// A workflow that waits for a signal.
#[derive(serde::Serialize, serde::Deserialize)]
struct Approve {
    order: u64,
}

impl backroom::Job for Approve {
    const KIND: &'static str = "approve";
    type Output = String;
}

async fn approve(args: Approve, ctx: backroom::WorkflowContext) -> Result<String, backroom::Failure> {
    let price: u64 = ctx.step("price").run(|| async { Ok(args.order * 2) }).await?;
    ctx.publish(&format!("order {} costs {price}", args.order))?;
    Ok(ctx.wait_signal("approved").await?)
}

/// A server and what its store has.
pub(crate) struct Filled {
    pub(crate) place: Place,
    pub(crate) server: Server,
    /// The secret of a token that may do everything.
    pub(crate) token: String,
    /// Ids of what is there, for the driver.
    pub(crate) data: Value,
}

impl Filled {
    /// Starts a server in the place, and fills its store.
    pub(crate) fn start(place: Place) -> Self {
        let before = fs::read_to_string(place.path("backroom.toml")).unwrap_or_default();
        fs::write(place.path("backroom.toml"), format!("{before}{SETTINGS}")).unwrap();
        let mut permissions = fs::metadata(place.path("backroom.toml")).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        fs::set_permissions(place.path("backroom.toml"), permissions).unwrap();
        let said = place.run(["tokens", "create", "--scope", "admin", "operator"]);
        let token = said.succeeded().out.trim_end().to_owned();
        let server = Server::start(&place, &[]);
        let mut filled = Self { place, server, token, data: Value::Null };
        filled.fill();
        filled
    }

    /// Calls the API with the token.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        let text = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_null() {
            headers.push(("content-type", "application/json"));
        }
        let answer = self.server.call(method, path, &headers, text.as_bytes());
        assert!(answer.status < 300, "{method} {path}: {answer:?} {}", answer.text());
        answer
    }

    fn enqueue(&self, job: Value) -> String {
        self.call("POST", "/v1/jobs", &job).json()["id"].as_str().unwrap().to_owned()
    }

    fn state(&self, id: &str) -> Value {
        self.call("GET", &format!("/v1/jobs/{id}"), &Value::Null).json()["state"].clone()
    }

    fn fill(&mut self) {
        let done = self.enqueue(
            json!({ "kind": "words", "queue": "browser", "args": { "text": "one two" }, "tags": ["tagged"] }),
        );
        let failed = self.enqueue(json!({ "kind": "broken", "queue": "browser", "max_attempts": 2, "retry": { "backoff": { "constant": 0 } },
            "reply": { "to": "answers", "correlation_id": "c-1" } }));
        let waiting = self.enqueue(json!({ "kind": "nothing-runs-this", "queue": "browser" }));
        self.enqueue(
            json!({ "kind": "later", "queue": "browser", "delay_ms": 7_200_000, "lane": "tenant-1" }),
        );
        let evil = self.enqueue(json!({ "kind": SCRIPT, "queue": SCRIPT, "args": { "a": SCRIPT }, "tags": [SCRIPT], "meta": { "m": SCRIPT },
            "lane": SCRIPT, "unique": { "by": { "key": SCRIPT } } }));
        let batch = self
            .call(
                "POST",
                "/v1/batches",
                &json!({ "description": format!("Orders {SCRIPT}"),
            "on_finish": { "kind": "later", "queue": "browser", "delay_ms": 7_200_000 } }),
            )
            .json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let member = |kind: &str| json!({ "kind": kind, "queue": "browser", "batch": batch, "max_attempts": 1, "args": {} });
        let first = self.enqueue(member("words"));
        self.enqueue(member("broken"));
        let mut after = member("idle-last");
        after["after"] = json!([first]);
        after.as_object_mut().unwrap().remove("batch");
        let after = self.enqueue(after);
        self.enqueue(member("nothing-runs-this"));
        let letters: Vec<Value> = (0..3)
            .map(|number| {
                let headers = [
                    ("authorization", format!("Bearer {SECRET}")),
                    ("x-kind", "unknown".into()),
                    ("content-type", "application/json".into()),
                ];
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let body = json!({ "number": number, "text": SCRIPT }).to_string();
                let answer = self.server.call("POST", "/v1/hooks/inbox", &headers, body.as_bytes());
                assert!(answer.status < 500, "{answer:?} {}", answer.text());
                json!(number)
            })
            .collect();
        drop(letters);
        eventually("the jobs have run", || {
            self.state(&done) == "completed" && self.state(&failed) == "discarded"
        });
        let letters = self.call("GET", "/v1/dead-letters", &Value::Null).json();
        let letters: Vec<_> =
            letters["dead_letters"].as_array().unwrap().iter().map(|letter| letter["id"].clone()).collect();
        assert_eq!(letters.len(), 3, "{letters:?}");
        let workflow = self.in_the_store();
        self.data = json!({ "done": done, "failed": failed, "waiting": waiting, "evil": evil, "letters": letters,
                "batch": batch, "after": after, "workflow": workflow });
    }

    /// What no call of the API does: two receivers want no more callbacks, and a workflow is parked, whose id is the answer.
    fn in_the_store(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backroom = backroom::Backroom::open(&self.place.store()).await.unwrap();
            for url in ["https://example.com/one", "https://example.com/two?a=b&c=%3Cb%3E"] {
                let ended_at = backroom.clock().now();
                let endpoint =
                    backroom::EndedEndpoint { url: url.into(), reason: format!("410: {SCRIPT}"), ended_at };
                backroom.store().end_endpoint(std::sync::Arc::new(endpoint)).await.unwrap();
            }
            let workflow = backroom.enqueue(Approve { order: 21 }).queue("flows").await.unwrap().id();
            let worker = backroom::Worker::new(&backroom).queue("flows", 1).workflow(approve);
            let worker = worker.start().await.unwrap();
            while backroom.job(workflow).await.unwrap().state != backroom::State::Waiting {
                tokio::task::yield_now().await;
            }
            worker.stop().await.unwrap();
            backroom.close().await.unwrap();
            workflow.to_string()
        })
    }
}
