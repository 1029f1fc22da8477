//! A visitor of the pages without a browser: a cookie, and forms as pages have them.

use crate::{
    cli_support::Place,
    serve_support::{Answer, Server},
};

/// A visitor with a session, or without one.
pub(crate) struct Visitor<'a> {
    pub(crate) server: &'a Server,
    pub(crate) cookie: Option<String>,
}

/// A text as a form sends it.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect::<String>()
    };
    fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

impl<'a> Visitor<'a> {
    pub(crate) fn unknown(server: &'a Server) -> Self {
        Self { server, cookie: None }
    }

    /// Signs in with a token.
    #[track_caller]
    pub(crate) fn new(server: &'a Server, token: &str) -> Self {
        let answer = login(server, token, &[]);
        assert_eq!(answer.status, 303, "{answer:?}: {}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        Self { server, cookie: Some(cookie.split(';').next().unwrap().to_owned()) }
    }

    /// Makes a token at the command line, and signs in with it.
    pub(crate) fn with_scope(server: &'a Server, place: &Place, scope: &str, queue: Option<&str>) -> Self {
        let name = format!("{scope}-{}", queue.unwrap_or("all").replace('*', "x"));
        let mut args = vec!["tokens", "create", "--scope", scope, &name];
        if let Some(queue) = queue {
            args.extend(["--queue", queue]);
        }
        let said = place.run(args);
        Self::new(server, said.succeeded().out.trim_end())
    }

    pub(crate) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = headers.to_vec();
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie));
        }
        self.server.call(method, path, &headers, body.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    /// The key that forms of this session have.
    pub(crate) fn key(&self) -> String {
        // The form that signs out stands on every page.
        let page: String = ["/", "/enqueue", "/replies"].map(|path| self.get(path).text()).concat();
        let at = page.find("name=\"form_key\" value=\"").expect("a page with a form");
        page[at..].split('"').nth(3).unwrap().to_owned()
    }

    /// Sends a form with the key.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let key = self.key();
        let fields = [&[("form_key", key.as_str())][..], fields].concat();
        self.post_as_it_is(path, &[("sec-fetch-site", "same-origin")], &fields)
    }

    /// Sends a form with these fields and headers only.
    pub(crate) fn post_as_it_is(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let headers = [&[("content-type", "application/x-www-form-urlencoded")][..], headers].concat();
        self.call("POST", path, &headers, &form(fields))
    }
}

/// Sends the form of the login.
pub(crate) fn login(server: &Server, token: &str, headers: &[(&str, &str)]) -> Answer {
    let own = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let headers: Vec<_> = own
        .iter()
        .filter(|(name, _)| !headers.iter().any(|(given, _)| given == name))
        .chain(headers)
        .copied()
        .collect();
    server.call("POST", "/login", &headers, form(&[("token", token), ("to", "/queues")]).as_bytes())
}
