//! The programs of `docs/languages.md`, run as they stand there.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    serve_support::Server,
    support::{Working, enqueue, finished, place},
};

/// The code block that begins with this line.
fn block(page: &str, first: &str) -> String {
    let marked = format!("\n{first}\n");
    let (_, rest) = page.split_once(&marked).unwrap_or_else(|| panic!("no block begins with {first:?}"));
    rest.split("\n```").next().unwrap().to_owned()
}

#[test]
fn the_programs_of_the_page_do_their_jobs() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/languages.md")).unwrap();
    // A free port, in place of the one of the page.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let place = place(&block(&page, "# backroom.toml").replace("9000", &free));
    fs::write(place.path("words.py"), block(&page, "# words.py")).unwrap();
    fs::write(place.path("endpoint.py"), block(&page, "# endpoint.py").replace("9000", &free)).unwrap();
    fs::write(place.path("worker.py"), block(&page, "# worker.py")).unwrap();
    let python = |file: &str, server: &str| {
        let mut command = Command::new("python3");
        command.arg(place.path(file)).env("BACKROOM_SERVER", server).env_remove("BACKROOM_TOKEN");
        Working::spawn(command)
    };
    let server = Server::start(&place, &[]);
    let endpoint = python("endpoint.py", "");
    let worker = python("worker.py", &format!("http://{}", server.address));
    let words = enqueue(&server, json!({"kind": "words", "args": {"text": "one two three"}}));
    let invoice = enqueue(&server, json!({"kind": "invoice", "args": {"order": 7}}));
    let resize = enqueue(&server, json!({"kind": "resize", "args": {"width": 640}, "queue": "images"}));
    assert_eq!(finished(&server, &words)["output"], json!({"words": 3}));
    assert_eq!(finished(&server, &invoice)["output"], json!({"invoice": 7}));
    assert_eq!(finished(&server, &resize)["output"], json!({"width": 320}));
    worker.kill();
    endpoint.kill();
    server.stop();
}
