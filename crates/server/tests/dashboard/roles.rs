//! Which role may use which route of the pages. The table has every route of the sources: a route without an entry fails the test.

use std::collections::BTreeSet;

use crate::{cli_support::Place, filled::Filled, visitor::Visitor};

/// The scopes of tokens, each alone.
const SCOPES: [&str; 5] = ["enqueue", "work", "read", "operate", "admin"];
const READERS: &[&str] = &["enqueue", "read", "operate", "admin"];
const READ: &[&str] = &["read", "operate", "admin"];
const OPERATE: &[&str] = &["operate", "admin"];
const ENQUEUE: &[&str] = &["enqueue", "admin"];
const WORK: &[&str] = &["work", "admin"];
const ADMIN: &[&str] = &["admin"];

/// What a session gets whose token has the scope, but reaches no queue of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// 403 or 404.
    Refused,
    /// An answer without what the token does not reach.
    LeftOut,
}
use Elsewhere::{LeftOut, Refused};

/// A route of the pages: method, path as in the sources, the path of the request, the form, who may, and what another queue changes.
type Route = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    Elsewhere,
);

const ROUTES: &[Route] = &[
    ("GET", "/", "/", &[], READERS, LeftOut),
    ("GET", "/jobs", "/jobs", &[], READERS, LeftOut),
    ("GET", "/jobs/{id}", "/jobs/JOB", &[], READERS, Refused),
    ("GET", "/jobs/{id}/args.json", "/jobs/JOB/args.json", &[], READERS, Refused),
    ("GET", "/jobs/{id}/output.json", "/jobs/DONE/output.json", &[], READERS, Refused),
    ("GET", "/jobs/{id}/log.txt", "/jobs/JOB/log.txt", &[], READERS, Refused),
    ("GET", "/jobs/{id}/attempts.txt", "/jobs/JOB/attempts.txt", &[], READERS, Refused),
    ("POST", "/jobs/{id}/{act}", "/jobs/JOB/priority", &[("new_priority", "3")], OPERATE, Refused),
    ("POST", "/jobs/{id}/{act}", "/jobs/JOB/retry", &[], OPERATE, Refused),
    ("POST", "/jobs/{id}/{act}", "/jobs/JOB/time", &[("at", "in 1h")], OPERATE, Refused),
    ("POST", "/jobs/{id}/{act}", "/jobs/JOB/move", &[("to", "browser")], OPERATE, Refused),
    ("POST", "/jobs/{id}/reveal", "/jobs/JOB/reveal", &[], ADMIN, Refused),
    ("POST", "/jobs/{id}/signal", "/jobs/JOB/signal", &[("name", "n"), ("id", "NEW")], ENQUEUE, Refused),
    ("GET", "/bulk", "/bulk?action=retry&kind=none", &[], OPERATE, LeftOut),
    ("POST", "/bulk", "/bulk", &[("action", "retry"), ("kind", "none")], OPERATE, LeftOut),
    ("GET", "/batches", "/batches", &[], READ, Refused),
    ("GET", "/batches/{id}", "/batches/BATCH", &[], READ, Refused),
    ("POST", "/batches/{id}/{act}", "/batches/BATCH/retry", &[], OPERATE, Refused),
    ("POST", "/batches/{id}/{act}", "/batches/BATCH/close", &[], OPERATE, Refused),
    ("GET", "/enqueue", "/enqueue", &[], ENQUEUE, LeftOut),
    (
        "POST",
        "/enqueue",
        "/enqueue",
        &[("kind", "k"), ("queue", "browser"), ("id", "NEW"), ("priority", "5")],
        ENQUEUE,
        Refused,
    ),
    ("GET", "/queues", "/queues", &[], READERS, LeftOut),
    ("GET", "/queues/{name}", "/queues/browser", &[], READERS, Refused),
    ("POST", "/queues/{name}/pause", "/queues/browser/pause", &[], OPERATE, Refused),
    ("POST", "/queues/{name}/resume", "/queues/browser/resume", &[], OPERATE, Refused),
    ("POST", "/queues/{name}/depth", "/queues/browser/depth", &[("most", "")], OPERATE, Refused),
    ("POST", "/queues/{name}/retention", "/queues/browser/retention", &[], OPERATE, Refused),
    ("GET", "/workers", "/workers", &[], READ, Refused),
    ("GET", "/schedules", "/schedules", &[], READ, LeftOut),
    ("GET", "/calendar", "/calendar", &[], READ, LeftOut),
    ("GET", "/schedules/{name}", "/schedules/nightly", &[], READ, Refused),
    ("POST", "/schedules/{name}/pause", "/schedules/nightly/pause", &[], OPERATE, Refused),
    ("POST", "/schedules/{name}/resume", "/schedules/nightly/resume", &[], OPERATE, Refused),
    ("POST", "/schedules/{name}/trigger", "/schedules/nightly/trigger", &[], ENQUEUE, Refused),
    (
        "POST",
        "/schedules/{name}/backfill",
        "/schedules/nightly/backfill",
        &[("from", "2d ago"), ("until", "1h ago"), ("count", "1")],
        OPERATE,
        Refused,
    ),
    ("POST", "/schedules/{name}/stop-backfill", "/schedules/nightly/stop-backfill", &[], OPERATE, Refused),
    ("GET", "/triggers", "/triggers", &[], READ, Refused),
    ("GET", "/triggers/{name}", "/triggers/inbox", &[], READ, Refused),
    ("POST", "/triggers/{name}/pause", "/triggers/inbox/pause", &[], OPERATE, Refused),
    ("POST", "/triggers/{name}/resume", "/triggers/inbox/resume", &[], OPERATE, Refused),
    ("GET", "/dead-letters", "/dead-letters", &[], READ, Refused),
    ("GET", "/dead-letters/{id}", "/dead-letters/LETTER", &[], READ, Refused),
    ("POST", "/dead-letters/{id}/replay", "/dead-letters/LETTER/replay", &[], OPERATE, Refused),
    ("GET", "/callbacks", "/callbacks", &[], READ, Refused),
    ("POST", "/callbacks/enable", "/callbacks/enable", &[("url", "https://example.com/")], OPERATE, Refused),
    ("GET", "/replies", "/replies", &[], WORK, LeftOut),
    ("GET", "/replies/{queue}", "/replies/browser", &[], WORK, Refused),
    ("GET", "/tokens", "/tokens", &[], ADMIN, Refused),
    ("POST", "/tokens", "/tokens", &[("name", "n"), ("scope", "read")], ADMIN, Refused),
    (
        "POST",
        "/tokens/{id}/revoke",
        "/tokens/00000000-0000-7000-8000-000000000000/revoke",
        &[],
        ADMIN,
        Refused,
    ),
    ("GET", "/audit", "/audit", &[], ADMIN, Refused),
    ("GET", "/settings", "/settings", &[], ADMIN, Refused),
    ("GET", "/live", "/live?of=%2Fsettings", &[], &[], Refused),
    // What ends with the thing itself comes last, and is tried by the roles that may not first.
    ("POST", "/triggers/{name}/delete", "/triggers/none/delete", &[], OPERATE, Refused),
    (
        "POST",
        "/dead-letters/{id}/delete",
        "/dead-letters/00000000-0000-7000-8000-000000000000/delete",
        &[],
        OPERATE,
        Refused,
    ),
];

/// Routes for every visitor, signed in or not.
const OPEN: &[&str] = &["/login", "/logout", "/assets/{file}"];

/// Every page, with `JOB`, `DONE`, `BATCH` and `LETTER` in place of ids.
pub(crate) fn pages() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter(|route| route.0 == "GET").map(|route| route.2)
}

/// The paths that the sources of the pages route.
fn routed() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pages");
    let mut paths = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                paths.extend(
                    text.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
                );
            }
        }
    }
    paths
}

#[test]
fn every_route_has_an_entry_in_the_table_of_roles() {
    let known: BTreeSet<String> =
        ROUTES.iter().map(|route| route.1).chain(OPEN.iter().copied()).map(str::to_owned).collect();
    assert_eq!(routed(), known);
}

#[test]
fn no_role_reaches_further_than_its_scope() {
    let filled = Filled::start(Place::new());
    let (server, place) = (&filled.server, &filled.place);
    let unknown = Visitor::unknown(server);
    let here = SCOPES.map(|scope| (scope, Visitor::with_scope(server, place, scope, None)));
    let elsewhere = SCOPES.map(|scope| (scope, Visitor::with_scope(server, place, scope, Some("other*"))));
    let keys: Vec<String> = here.iter().map(|(_, visitor)| visitor.key()).collect();
    let keys_elsewhere: Vec<String> = elsewhere.iter().map(|(_, visitor)| visitor.key()).collect();
    let text = |name: &str| filled.data[name].as_str().unwrap().to_owned();
    let letter = filled.data["letters"][0].as_str().unwrap();
    for (method, route, path, fields, allowed, other) in ROUTES {
        let path = path
            .replace("JOB", &text("waiting"))
            .replace("DONE", &text("done"))
            .replace("LETTER", letter)
            .replace("BATCH", &text("batch"));
        let new = "018f0000-0000-7000-8000-000000000001";
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, if *value == "NEW" { new } else { value })).collect();
        let send = |visitor: &Visitor<'_>, key: &str| match *method {
            "GET" => visitor.get(&path).status,
            _ => {
                let fields = [&[("form_key", key)][..], &fields].concat();
                visitor.post_as_it_is(&path, &[("sec-fetch-site", "same-origin")], &fields).status
            }
        };
        assert_eq!(send(&unknown, ""), 303, "{method} {route} without a session");
        for ((scope, visitor), key) in here.iter().zip(&keys) {
            let status = send(visitor, key);
            if allowed.contains(scope) {
                assert!(
                    ![401, 403].contains(&status) && status < 500,
                    "{method} {route} as {scope}: {status}"
                );
            } else if !allowed.is_empty() {
                assert_eq!(status, 403, "{method} {route} as {scope}");
            } else {
                assert_eq!(status, 422, "{method} {route} as {scope}");
            }
        }
        for ((scope, visitor), key) in elsewhere.iter().zip(&keys_elsewhere) {
            let status = send(visitor, key);
            match other {
                Refused => assert!(
                    [403, 404, 422].contains(&status),
                    "{method} {route} as {scope} elsewhere: {status}"
                ),
                LeftOut if allowed.contains(scope) => {
                    assert!(status < 400, "{method} {route} as {scope}: {status}")
                }
                LeftOut => assert_eq!(status, 403, "{method} {route} as {scope} elsewhere"),
            }
        }
    }
    // What another queue holds is left out of lists.
    let (_, reader) = &elsewhere[2];
    for path in ["/jobs", "/queues", "/", "/schedules"] {
        let page = reader.get(path).text();
        assert!(
            !page.contains("browser") && !page.contains("nightly"),
            "{path} shows what the token does not reach: {page}"
        );
    }
}
