//! The name under which a client addresses the server.
//!
//! A web page can let its own name point to this machine (DNS rebinding) and then call a local server from the browser of
//! anyone who visits it. The browser still sends the page's name in `Host`, so a server that trusts everyone on its machine answers
//! only for names that no such page can have.

use std::net::IpAddr;

use axum::http::{Uri, header, request::Parts};

/// The host that a request names, without its port.
pub(super) fn named(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = header.or_else(|| parts.uri.authority().map(|authority| authority.as_str()))?;
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query("/").build().ok()?;
    Some(uri.host()?.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase())
}

/// Whether no page on the internet can have this name: an address of this machine, or `localhost`.
pub(super) fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn host_of(host: &str) -> Option<String> {
        let (parts, ()) =
            Request::builder().uri("/").header("host", host).body(()).expect("a request").into_parts();
        named(&parts)
    }

    #[test]
    fn names_of_this_machine_are_local_and_no_others() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:8080",
            "a.localhost",
            "localhost.",
        ] {
            assert!(host_of(host).is_some_and(|host| is_local(&host)), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "0.0.0.0",
            "10.0.0.1",
            "",
            "a b",
            "localhost@evil.com:80",
        ] {
            assert!(!host_of(host).is_some_and(|host| is_local(&host)), "{host}");
        }
    }
}
