//! The document of the API as a page.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::html::{described, escaped, inline, page as whole};

/// The page of a document.
pub(super) fn page(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut body = format!(
        "<h1>{} {}</h1>{}<p>The same for programs: <a href=\"/openapi.json\">openapi.json</a>. \
         What errors mean: <a href=\"/problems\">problems</a>.</p>",
        escaped(&text(&document["info"]["title"])),
        escaped(&text(&document["info"]["version"])),
        described(&text(&document["info"]["description"])),
    );
    let none = Map::new();
    body.push_str("<h2>Routes</h2>");
    for (path, item) in document["paths"].as_object().unwrap_or(&none) {
        for (method, operation) in item.as_object().unwrap_or(&none) {
            body.push_str(&of_operation(path, method, operation));
        }
    }
    body.push_str("<h2>Types</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap_or(&none) {
        body.push_str(&of_schema(name, schema));
    }
    whole("Backroom API", &body)
}

fn of_operation(path: &str, method: &str, operation: &Value) -> String {
    let id = escaped(&format!("{method}-{path}"));
    let mut html = format!(
        "<h3 id=\"{id}\"><span class=\"method\">{}</span> <code>{}</code></h3>",
        escaped(&method.to_uppercase()),
        escaped(path),
    );
    let summary = operation["summary"].as_str().unwrap_or_default();
    let _ = write!(html, "<p><strong>{}</strong></p>", inline(summary));
    html.push_str(&described(operation["description"].as_str().unwrap_or_default()));
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str("<table><thead><tr><th>Parameter</th><th>In</th><th>Type</th><th>Meaning</th></tr></thead><tbody>");
        for parameter in parameters {
            let of = |member: &str| parameter[member].as_str().unwrap_or_default();
            let _ = write!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(of("name")),
                escaped(of("in")),
                type_of(&parameter["schema"]),
                inline(of("description")),
            );
        }
        html.push_str("</tbody></table>");
    }
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        let bodies: Vec<_> = content
            .iter()
            .map(|(media_type, body)| {
                format!("<code>{}</code> {}", escaped(media_type), type_of(&body["schema"]))
            })
            .collect();
        let _ = write!(html, "<p>Body: {}</p>", bodies.join(", or "));
    }
    html.push_str("<table><thead><tr><th>Status</th><th>Body</th><th>Meaning</th></tr></thead><tbody>");
    let none = Map::new();
    for (status, response) in operation["responses"].as_object().unwrap_or(&none) {
        // The same problems belong to every route: they have pages of their own.
        let content = response["content"].as_object().unwrap_or(&none);
        if response.get("$ref").is_some() || content.contains_key(crate::api::problem::MEDIA_TYPE) {
            continue;
        }
        let bodies: Vec<_> = content.values().map(|body| type_of(&body["schema"])).collect();
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(status),
            bodies.join(", or "),
            inline(response["description"].as_str().unwrap_or_default()),
        );
    }
    html.push_str("</tbody></table>");
    html
}

fn of_schema(name: &str, schema: &Value) -> String {
    let mut html = format!("<h3 id=\"{0}\"><code>{0}</code></h3>", escaped(name));
    html.push_str(&described(schema["description"].as_str().unwrap_or_default()));
    match schema["properties"].as_object() {
        Some(properties) => {
            html.push_str(
                "<table><thead><tr><th>Member</th><th>Type</th><th>Meaning</th></tr></thead><tbody>",
            );
            for (member, of) in properties {
                let _ = write!(
                    html,
                    "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                    escaped(member),
                    type_of(of),
                    inline(of["description"].as_str().unwrap_or_default()),
                );
            }
            html.push_str("</tbody></table>");
        }
        None => {
            let _ = write!(html, "<p>{}</p>", type_of(schema));
        }
    }
    html
}

/// A type in a few words, with a link to one that has a name.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escaped(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return choices.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> =
            values.iter().map(|value| format!("<code>{}</code>", escaped(&value.to_string()))).collect();
        return values.join(", ");
    }
    match &schema["type"] {
        Value::String(one) if one == "array" => format!("array of {}", type_of(&schema["items"])),
        Value::String(one) => escaped(one),
        Value::Array(several) => {
            let names: Vec<_> = several.iter().filter_map(Value::as_str).map(escaped).collect();
            names.join(" or ")
        }
        _ => "any JSON".into(),
    }
}
