//! Prints `docs/problems.md` from the table of codes.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::api::codes::Code;

const INTRO: &str = "\
# Problems

<!-- Printed by the tests of crates/server from crates/server/src/api/codes.rs; do not edit. -->
<!-- UPDATE_DOCS=1 cargo test -p backroom-server --all-features --lib docs_problems -->

Every error of the HTTP API is a problem document (RFC 9457) of the media type `application/problem+json`:

```json
{
  \"type\": \"/problems/not-found\",
  \"code\": \"not-found\",
  \"title\": \"There is no such thing\",
  \"status\": 404,
  \"detail\": \"failed to find job 0198…: it does not exist or was pruned\",
  \"instance\": \"/v1/jobs/0198…#3f1c…\"
}
```

`type` is the address of a page that the server has, and `code` is its last part: match on one of them. They never change their
meaning. `title` is the same for every occurrence; `detail` says what went wrong this time and is for people. `instance` is the path of
the request with its id, which is also in the header `x-request-id` and in the server's log. Some problems have further members, which the
table names. `Retry-After` says after how many seconds a repeat makes sense.
";

fn print() -> String {
    let mut page = INTRO.to_owned();
    for code in Code::ALL {
        let _ = write!(
            page,
            "\n## `{}`\n\nStatus {}. {}.\n\n{}\n\n*What to do:* {}\n",
            code.as_str(),
            code.status().as_u16(),
            code.title(),
            code.meaning(),
            code.remedy(),
        );
    }
    page
}

#[test]
fn docs_problems_is_what_the_table_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md");
    let printed = print();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &printed).expect("docs/problems.md is writable");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == printed,
        "docs/problems.md is not what the table of codes prints; run: UPDATE_DOCS=1 cargo test -p backroom-server --all-features --lib docs_problems"
    );
}

#[test]
fn every_code_is_a_plain_word_of_its_own_with_sentences() {
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len(), "two codes have one name");
    for code in Code::ALL {
        assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code:?}");
        assert!(code.meaning().ends_with('.') && code.remedy().ends_with('.'), "{code:?}");
        assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
    }
}
