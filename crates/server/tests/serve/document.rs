//! The document of the API: true to the routes, readable, and with a page for every problem.

use serde_json::Value;

use crate::{cli_support::Place, serve_support::Server};

/// Every path of the document with its methods.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter();
        methods
            .map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_route_of_the_document_exists_and_says_what_it_answers() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let answer = server.get("/openapi.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert!(operations.len() >= 9, "{operations:?}");
    for (path, method, operation) in &operations {
        let is_said = |member: &str| operation[member].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_said("summary") && is_said("operationId"), "{method} {path}: {operation}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = match response["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => response,
            };
            assert!(
                response["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{method} {path} {status}"
            );
        }
        // A route that takes long would hold up the test: it is enough that it is not unknown.
        let concrete = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let concrete = concrete.collect::<Vec<_>>().join("/");
        let answer = server.call(&method.to_uppercase(), &concrete, &[], b"");
        let is_problem = answer.header("content-type") == Some("application/problem+json");
        let unknown = ["no-such-route", "method-not-allowed"];
        let is_there = !is_problem || !unknown.contains(&answer.json()["code"].as_str().unwrap());
        assert!(is_there, "{method} {path} is in the document but not in the server: {}", answer.text());
    }
    let ids: std::collections::BTreeSet<_> =
        operations.iter().map(|(_, _, operation)| operation["operationId"].to_string()).collect();
    assert_eq!(ids.len(), operations.len(), "two operations have one id");
}

/// Every schema within this value, with its place.
fn schemas<'a>(value: &'a Value, place: String, all: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            if fields.get("type").is_some() {
                all.push((place.clone(), value));
            }
            fields.iter().for_each(|(name, value)| schemas(value, format!("{place}/{name}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(nth, item)| schemas(item, format!("{place}/{nth}"), all));
        }
        _ => {}
    }
}

#[test]
fn every_object_of_the_document_says_which_fields_it_has() {
    // A document of another specification.
    const OF_OTHERS: [&str; 1] = ["/paths/~1openapi.json"];
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let document = server.get("/openapi.json").json();
    let mut all = Vec::new();
    for part in ["paths", "components"] {
        let value = &document[part];
        for (name, value) in value.as_object().unwrap() {
            schemas(value, format!("/{part}/{}", name.replace('/', "~1")), &mut all);
        }
    }
    assert!(all.len() > 300, "{}", all.len());
    let is_object = |schema: &Value| match &schema["type"] {
        Value::Array(types) => types.iter().any(|one| one == "object"),
        one => one == "object",
    };
    let says_nothing = |schema: &Value| {
        ["properties", "additionalProperties", "oneOf", "allOf", "anyOf"]
            .iter()
            .all(|field| schema.get(field).is_none())
    };
    let plain: Vec<_> = all
        .iter()
        .filter(|(place, schema)| {
            is_object(schema)
                && says_nothing(schema)
                && !OF_OTHERS.iter().any(|other| place.starts_with(other))
        })
        .map(|(place, _)| place)
        .collect();
    assert!(plain.is_empty(), "these are objects of which the document says nothing: {plain:#?}");
    server.stop();
}

#[test]
fn no_route_is_registered_outside_the_document() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api");
    let mut open = vec![std::path::PathBuf::from(folder)];
    let mut read = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(
                    !text.contains(".route("),
                    "{} registers a route that the document lacks",
                    path.display()
                );
                read += 1;
            }
        }
    }
    assert!(read > 5);
}

#[test]
fn the_api_can_be_read_in_a_browser_without_scripts() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let answer = server.get("/docs");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(
        answer.header("content-security-policy"),
        Some("default-src 'none'; style-src 'self'; frame-ancestors 'none'")
    );
    let page = answer.text();
    assert!(page.contains("<code>/v1/queues</code>") && page.contains("List the queues"), "{page}");
    assert!(!page.contains("<script") && !page.contains("href=\"http") && !page.contains("src="), "{page}");
    assert_eq!(server.get("/docs/style.css").header("content-type"), Some("text/css; charset=utf-8"));
}

#[test]
fn the_type_of_a_problem_is_a_page_of_the_server() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let problem = server.get("/v1/none").is_problem(404, "no-such-route");
    let page = server.get(problem["type"].as_str().unwrap());
    assert_eq!(page.status, 200);
    assert!(page.text().contains("There is no such route"), "{}", page.text());
    let list = server.get("/problems").text();
    for link in list.split("href=\"/problems/").skip(1) {
        let code = link.split('"').next().unwrap();
        assert_eq!(server.get(&format!("/problems/{code}")).status, 200, "{code}");
    }
    server.get("/problems/none").is_problem(404, "not-found");
}
