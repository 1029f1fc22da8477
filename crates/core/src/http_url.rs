//! The address of a callback. One strict reader of URLs: what is checked at enqueue is exactly what is connected to later.
//!
//! It knows fewer forms than a browser. Each form that two readers might understand differently is refused.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::Invalid;

/// Longest URL of a callback, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// An `http` or `https` URL, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    /// Whether the connection is encrypted: the scheme is `https`.
    pub is_https: bool,
    /// Whom to connect to.
    pub host: Host,
    /// The port; that of the scheme if none is given.
    pub port: u16,
    /// From the first slash on, with the query.
    pub path_and_query: String,
}

/// A host in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to resolve, in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl HttpUrl {
    /// Reads a URL of a callback. Refuses other schemes, user names and passwords, fragments, white space, characters outside
    /// ASCII, and hosts that are neither a plain name nor an address in its usual form.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > URL_BYTES_MAX {
            return Err(invalid(format!(
                "is {} bytes long; at most {URL_BYTES_MAX} are allowed",
                text.len()
            )));
        }
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
            let why = "percent-encode it in a path, and write a host name in its ASCII form";
            return Err(invalid(format!("holds the character {odd:?}; {why}")));
        }
        // Some readers take a backslash for a slash. The others are not allowed in a URL.
        if let Some(odd) = text.chars().find(|c| r#"\"<>^`{|}"#.contains(*c)) {
            return Err(invalid(format!("holds the character {odd:?}; percent-encode it")));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid("has no scheme; begin it with https:// or http://"));
        };
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            other => return Err(invalid(format!("has the scheme {other:?}; use https or http"))),
        };
        if rest.contains('#') {
            return Err(invalid("has a fragment, which is never sent; remove it from # on"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(invalid("has a user name or password; sign the callback instead"));
        }
        let (host, port) = split_port(authority)?;
        let host = Host::parse(host)?;
        let port = match port {
            None if is_https => 443,
            None => 80,
            Some(port) => parse_port(port)?,
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { is_https, host, port, path_and_query: format!("{slash}{path}") })
    }

    /// The scheme, host, and the port where it is not that of the scheme: `https://example.com`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.authority())
    }

    /// The host, and the port where it is not that of the scheme: what the header `Host` holds.
    pub fn authority(&self) -> String {
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for HttpUrl {
    /// The one spelling of all that mean the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path_and_query)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Host {
    /// Reads a host as it stands in a URL.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return inner
                .map(|address| Self::Ip(address.into()))
                .ok_or_else(|| invalid(format!("has the host {text:?}, which is no IPv6 address")));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // A dot at the end only says that the name is complete.
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(invalid(format!("has the host {text:?}, which is neither a name nor an address")));
        }
        // `127.1`, `0x7f000001` and `2130706433` are addresses to some readers and names to others.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
            let why = "write an IPv4 address as four decimal numbers";
            return Err(invalid(format!("has the host {text:?}, which ends in a number; {why}")));
        }
        Ok(Self::Name(name))
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Invalid> {
    if authority.is_empty() {
        return Err(invalid("has no host"));
    }
    // The colons of an IPv6 address are inside its brackets.
    let after = authority.rfind(']').unwrap_or(0);
    match authority[after..].find(':') {
        None => Ok((authority, None)),
        Some(at) => Ok((&authority[..after + at], Some(&authority[after + at + 1..]))),
    }
}

fn parse_port(text: &str) -> Result<u16, Invalid> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| is_plain && *port != 0)
        .ok_or_else(|| invalid(format!("has the port {text:?}; use 1 to 65535, or leave the colon out")))
}

fn invalid(why: impl Into<String>) -> Invalid {
    Invalid::new("callback url", why)
}
