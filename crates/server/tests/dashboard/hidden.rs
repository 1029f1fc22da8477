//! What a page must not show: hidden fields to any visitor who has not asked for them, and jobs of secure queues to other tokens.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    roles,
    serve_support::{Answer, Server, eventually},
    visitor::Visitor,
};

const CARD: &str = "4111-1111";

const SETTINGS: &str = r#"
[sensitive.charge]
hide = ["/card"]

[kinds.charge]
# In two parts, so that the page of the settings does not have it.
command = ["sh", "-c", "echo 'tries 4111''-1111' >&2; echo 'no such card 4111''-1111' >&2; exit 65"]

[worker]
queues = ["browser=2"]

[triggers.inbox]
type = "hook"
scheme = "none"
kind = "charge"
queue = "{{body/queue}}"

[triggers.texts]
type = "hook"
scheme = "none"
kind = "charge"
body = "text"
queue = "{{header.x-queue}}"
"#;

/// Makes a token; answers with its id and its secret.
fn token(place: &Place, args: &[&str]) -> (String, String) {
    let made = place.json(["tokens", "create"].iter().chain(args));
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

fn call(server: &Server, method: &str, path: &str, body: &Value, secret: &str) -> Answer {
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    server.call(method, path, &headers, &body)
}

/// A page that refreshes.
struct Watched(std::net::TcpStream);

impl Watched {
    fn of(visitor: &Visitor<'_>, path: &str) -> Self {
        let mut stream = visitor.server.connect();
        let cookie = visitor.cookie.as_deref().unwrap();
        let of: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let address = visitor.server.address;
        let head = format!("GET /live?of={of} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        Self(stream)
    }

    /// The parts that come next.
    fn part(&mut self) -> String {
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        loop {
            let count = self.0.read(&mut bytes).unwrap();
            assert!(count > 0, "it ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if text.split_once("event: part").is_some_and(|(_, part)| part.contains("\n\n")) {
                return text;
            }
        }
    }
}

#[test]
fn a_watched_page_is_shared_only_by_visitors_who_may_see_the_same() {
    let place = Place::new();
    let (keeper, keeper_secret) = token(&place, &["--scope", "admin", "keeper"]);
    let (_, admin_secret) = token(&place, &["--scope", "admin", "root"]);
    let settings = format!("[secure_queues.payroll]\ntokens = [\"{keeper}\"]\n");
    std::fs::write(place.path("backroom.toml"), settings).unwrap();
    let server = Server::start(&place, &[]);
    let job = json!({"kind": "pay", "args": null, "queue": "payroll"});
    let enqueued = call(&server, "POST", "/v1/jobs", &job, &admin_secret);
    let id = enqueued.json()["id"].as_str().unwrap().to_owned();
    let (keeper, admin) = (Visitor::new(&server, &keeper_secret), Visitor::new(&server, &admin_secret));
    for path in ["/jobs", "/", "/queues"] {
        let mut of_keeper = Watched::of(&keeper, path);
        let shown = of_keeper.part();
        assert!(shown.contains("payroll"), "{path}: {shown}");
        let mut of_admin = Watched::of(&admin, path);
        let shown = of_admin.part();
        assert!(!shown.contains("payroll") && !shown.contains(&id), "{path}: {shown}");
    }
    server.stop();
}

#[test]
fn no_page_shows_a_hidden_field_and_no_filter_finds_it() {
    let place = Place::new();
    std::fs::write(place.path("backroom.toml"), SETTINGS).unwrap();
    let (_, admin_secret) = token(&place, &["--scope", "admin", "root"]);
    let (_, reader_secret) = token(&place, &["--scope", "read", "reader"]);
    let (_, operator_secret) = token(&place, &["--scope", "operate", "operator"]);
    let server = Server::start(&place, &[]);
    let call = |method: &str, path: &str, body: &Value| call(&server, method, path, body, &admin_secret);
    let batch = call("POST", "/v1/batches", &json!({})).json()["id"].as_str().unwrap().to_owned();
    let charge = json!({"kind": "charge", "queue": "browser", "args": {"card": CARD, "cents": 100}, "batch": batch,
        "max_attempts": 1, "callback": {"url": "https://receiver.invalid/"}});
    let id = call("POST", "/v1/jobs", &charge).json()["id"].as_str().unwrap().to_owned();
    let nightly = json!({"specs": ["0 2 * * *"], "job": {"kind": "charge", "queue": "browser", "args": {"card": CARD}}});
    assert!(call("PUT", "/v1/schedules/nightly", &nightly).status < 300);
    eventually("the job is discarded", || {
        call("GET", &format!("/v1/jobs/{id}"), &Value::Null).json()["state"] == "discarded"
    });
    eventually("its callback is a job", || {
        call("GET", "/v1/jobs?queue=backroom.callbacks", &Value::Null).text().contains(&id)
    });
    for (trigger, body) in [("inbox", json!({"card": CARD}).to_string()), ("texts", CARD.to_owned())] {
        let headers = [("content-type", "application/json"), ("idempotency-key", "one")];
        let answer = server.call("POST", &format!("/v1/hooks/{trigger}"), &headers, body.as_bytes());
        assert!(answer.status < 500, "{}", answer.text());
    }
    let letters = call("GET", "/v1/dead-letters", &Value::Null).json();
    let letter = |trigger: &str| {
        let letters = letters["dead_letters"].as_array().unwrap();
        let found = letters.iter().find(|letter| letter["trigger"] == trigger).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    assert!(!letters.to_string().contains(CARD), "{letters}");
    let reader = Visitor::new(&server, &reader_secret);
    let admin = Visitor::new(&server, &admin_secret);
    let pages = roles::pages().map(|path| {
        path.replace("JOB", &id)
            .replace("DONE", &id)
            .replace("BATCH", &batch)
            .replace("LETTER", &letter("inbox"))
    });
    let further = [
        "/jobs?queue=browser".to_owned(),
        "/jobs?state=discarded".into(),
        format!("/dead-letters/{}", letter("inbox")),
        "/dead-letters?trigger=texts".into(),
        format!("/enqueue?from={id}"),
    ];
    let mut seen = 0;
    for path in pages.chain(further) {
        for visitor in [&reader, &admin] {
            let answer = visitor.get(&path);
            assert!(!answer.text().contains(CARD), "{path}: {}", answer.text());
            seen += usize::from(answer.status == 200);
        }
    }
    assert!(seen > 40, "only {seen} pages were there");
    for path in [
        "/".to_owned(),
        "/jobs".into(),
        format!("/jobs/{id}"),
        format!("/batches/{batch}"),
        "/schedules".into(),
    ] {
        let part = Watched::of(&reader, &path).part();
        assert!(!part.contains(CARD), "{path}: {part}");
    }
    // A field that cannot be found is for admins, and the audit log says so.
    let texts = format!("/dead-letters/{}", letter("texts"));
    let page = reader.get(&texts).text();
    assert!(!page.contains(CARD) && page.contains("needs the scope admin"), "{page}");
    assert!(admin.get(&texts).text().contains(CARD));
    // What a filter finds is what a visitor sees.
    for guess in ["4111-1111", "4111", "tries 4111", "card 4111"] {
        let guess = guess.replace(' ', "+");
        assert!(reader.get(&format!("/jobs?error={guess}")).text().contains("No job matches."), "{guess}");
        let listed = call("GET", &format!("/v1/jobs?limit=1&error={guess}"), &Value::Null).json();
        assert_eq!(listed, json!({"jobs": [], "next": null}), "{guess}");
        let operator = Visitor::new(&server, &operator_secret);
        let counted = operator.get(&format!("/bulk?action=retry&error={guess}")).text();
        assert!(counted.contains("0 jobs match"), "{counted}");
        let bulk = json!({"action": "retry", "filter": {"error": guess}});
        assert_eq!(call("POST", "/v1/jobs/bulk", &bulk).json()["matched"], 0, "{guess}");
    }
    let listed = call("GET", "/v1/jobs?limit=1&error=no+such+card", &Value::Null).text();
    assert!(listed.contains(&id), "{listed}");
    assert!(reader.get("/jobs?error=no+such+card").text().contains(&id));
    // Who may see it asks for it.
    assert!(!reader.get(&format!("/jobs/{id}")).text().contains("Show what is hidden"));
    assert!(admin.get(&format!("/jobs/{id}")).text().contains("Show what is hidden"));
    let revealed = admin.post(&format!("/jobs/{id}/reveal"), &[]).text();
    assert!(revealed.contains(CARD) && revealed.contains("no such card 4111-1111"), "{revealed}");
    assert!(!place.run(["job", &id]).succeeded().out.contains(CARD));
    assert!(place.run(["job", &id, "--reveal"]).succeeded().out.contains(CARD));
    let audit = call("GET", "/v1/audit", &Value::Null).json();
    let who = |act: &str| {
        let entries = audit["entries"].as_array().unwrap().iter().filter(|entry| entry["act"] == act);
        entries.map(|entry| entry["who"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let reveals = who("job.reveal");
    assert!(
        reveals[0].contains("command line") && reveals[1].ends_with("on the pages from 127.0.0.1"),
        "{audit}"
    );
    assert_eq!(who("dead_letter.reveal").len(), 1, "{audit}");
    server.stop();
}

#[test]
fn the_audit_log_has_every_change_to_one_job_and_where_it_came_from() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let enqueue =
        || server.post("/v1/jobs", &json!({"kind": "k", "args": {"secret": CARD}})).json()["id"].clone();
    let id = enqueue();
    let path = format!("/v1/jobs/{}", id.as_str().unwrap());
    let json_header = [("content-type", "application/json")];
    let amended = json!({"priority": 3, "args": {"secret": CARD}}).to_string();
    assert_eq!(server.call("PATCH", &path, &json_header, amended.as_bytes()).status, 200);
    assert_eq!(server.post(&format!("{path}/retry"), &json!(null)).status, 200);
    assert_eq!(server.post(&format!("{path}/cancel"), &json!({"reason": "not needed"})).status, 200);
    assert_eq!(server.call("DELETE", &path, &[], b"").status, 204);
    let audit = server.get("/v1/audit").json();
    let entries = audit["entries"].as_array().unwrap();
    let acts: Vec<_> = entries.iter().map(|entry| entry["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["job.delete", "job.cancel", "job.retry", "job.amend"], "{audit}");
    assert!(
        entries.iter().all(|entry| entry["who"] == "local from 127.0.0.1" && entry["target"] == id),
        "{audit}"
    );
    assert_eq!(entries[3]["detail"], json!({"priority": 3, "args": true}));
    assert_eq!(entries[1]["detail"]["reason"], "not needed", "{audit}");
    server.stop();
}
