//! Where a server is.

use std::{fmt, net::IpAddr};

use hyper::Uri;

use crate::terminal::Problem;

/// The parts of a server's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) is_encrypted: bool,
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands before every path, where a proxy serves the API below one of its own; without a slash at the end.
    prefix: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, Problem> {
        let refuse = |why: &str| {
            Problem::new(format_args!("use {url:?} as the URL of a server"), &why)
                .hint("write http://127.0.0.1:8080 or https://jobs.example.org")
        };
        let uri: Uri = url.trim().parse().map_err(|error| refuse(&format!("it does not parse: {error}")))?;
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(refuse(&format!("{other}:// is neither http:// nor https://"))),
            None => return Err(refuse("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it holds a user name; a token goes into BACKROOM_TOKEN or a file"));
        }
        if uri.query().is_some() {
            return Err(refuse("it has a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(refuse("it names no host"));
        }
        Ok(Self {
            is_encrypted,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The path of a request.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_encrypted, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether no one else on the network can read along.
    pub(super) fn is_private_way(&self) -> bool {
        self.is_encrypted
            || self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn a_url_is_split_and_written_again() {
        for (url, shown, authority, path, is_private) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080", "/v1/jobs", true),
            ("http://localhost:80/", "http://localhost", "localhost", "/v1/jobs", true),
            ("https://jobs.example.org", "https://jobs.example.org", "jobs.example.org", "/v1/jobs", true),
            ("http://a.org/inner/", "http://a.org/inner", "a.org", "/inner/v1/jobs", false),
            ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080", "/v1/jobs", true),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.authority(), authority, "{url}");
            assert_eq!(address.path("/v1/jobs"), path, "{url}");
            assert_eq!(address.is_private_way(), is_private, "{url}");
            assert_eq!(address.to_string(), shown, "{url}");
        }
    }

    #[test]
    fn a_url_that_names_no_server_is_refused_with_the_reason() {
        for (url, why) in [
            ("jobs.example.org", "does not begin with http"),
            ("ftp://jobs.example.org", "neither http:// nor https://"),
            ("https://ada:secret@jobs.example.org", "BACKROOM_TOKEN"),
            ("https://jobs.example.org/?a=b", "query"),
            ("https://", "parse"),
        ] {
            let problem = format!("{:?}", Address::parse(url).expect_err(url));
            assert!(problem.contains(why), "{url}: {problem}");
        }
    }
}
