//! A page for each problem code.

use super::html::{described, escaped, inline, page as whole};
use crate::api::codes::Code;

/// The page of one code.
pub(super) fn page(code: Code) -> String {
    let body = format!(
        "<h1>{}</h1><p><code>{}</code>, status {}</p>{}<h2>What to do</h2>{}<p><a href=\"/problems\">All problems</a></p>",
        escaped(code.title()),
        escaped(code.as_str()),
        code.status().as_u16(),
        described(code.meaning()),
        described(code.remedy()),
    );
    whole(code.title(), &body)
}

/// The page that lists all of them.
pub(super) fn list() -> String {
    let rows: String = Code::ALL
        .iter()
        .map(|code| {
            format!(
                "<tr><td>{status}</td><td><a href=\"/problems/{name}\"><code>{name}</code></a></td><td>{meaning}</td></tr>",
                status = code.status().as_u16(),
                name = escaped(code.as_str()),
                meaning = inline(code.meaning()),
            )
        })
        .collect();
    let body = format!(
        "<h1>Problems</h1><p>Every error of the API is a document of the type <code>application/problem+json</code>.</p>\
         <table><thead><tr><th>Status</th><th>Code</th><th>Meaning</th></tr></thead><tbody>{rows}</tbody></table>"
    );
    whole("Problems", &body)
}
