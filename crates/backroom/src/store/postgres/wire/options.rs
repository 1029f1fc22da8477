//! The options of the URL and of the program.

use std::time::Duration;

use backroom_core::bounds::BYTES_IN_HAND_MAX;
use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::tls::{Authorities, Identity, Verify, Wanted};
use crate::{Error, ErrorKind, store::Durability};

/// The schema if neither the URL nor the program names one.
pub const SCHEMA_DEFAULT: &str = "backroom";
/// Longest name of a schema, in bytes. PostgreSQL allows 63 for the channel of notifications, whose name contains it.
pub const SCHEMA_BYTES_MAX: usize = 48;

/// Longest time to connect to one host, unless the URL sets it (`connect_timeout=`).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to use a PostgreSQL database. The URL (`?schema=…&listen=false`) takes precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The schema that holds the tables; URL parameter `schema`. Lower-case letters, digits and `_`, at most
    /// [`SCHEMA_BYTES_MAX`]. One database can hold several stores in different schemas. Default `backroom`.
    pub schema: String,
    /// Whether this process receives notifications of others by LISTEN; URL parameter `listen`. Turn it off behind
    /// PgBouncer in transaction mode, where each transaction may have another connection. Then the store prepares no
    /// statements, sets parameters for one transaction only, and finds the jobs of other processes by polling. Default
    /// true.
    pub listen: bool,
    /// Whether this process notifies others by NOTIFY; URL parameter `notify`. Turn it off for servers that do not know
    /// the statement. Default true.
    pub notify: bool,
    /// Whether an enqueue inside a transaction of the caller notifies workers at the commit; URL parameter
    /// `notify_within`. A commit that notifies takes a lock of the whole database, so such commits go one after
    /// another. Turn it off where hundreds of them per second come from several connections. Then workers find these
    /// jobs by polling, within a second. It is off as well if `notify` is off. Default true.
    pub notify_within: bool,
    /// Whether connecting creates and migrates the tables; URL parameter `migrate`. If it is off, connecting fails when
    /// the tables are missing or old. Default true.
    pub migrate: bool,
    /// How safe an acknowledged write is; URL parameter `durability`, `full` or `relaxed`. Relaxed does not wait for
    /// the server's disk (`synchronous_commit=off`): a crash of the server may lose the last moments. Default full,
    /// which is as safe as the server's settings allow; [`health`](crate::store::Store::health) reports that.
    pub durability: Durability,
    /// Longest time of one statement before the server cancels it. If the server does not answer for five seconds more,
    /// the store gives up the connection. Default 60 s.
    pub statement_timeout: Duration,
    /// Least number of jobs that a claim stores together in one row, which saves the server a quarter of its work
    /// (`docs/decisions/0034`); URL parameter `trays_from`. Claims ask for that many only where there is a backlog of
    /// short jobs, and use such rows only as long as that is faster. 1 means every claim, 0 none. Default 64.
    pub trays_from: usize,
    /// Most bytes of jobs that one list reads. Default 64 MiB.
    pub bytes_max: usize,
    /// Whether a read-only standby will do: reads are answered, writes fail. Default false.
    pub standby: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: SCHEMA_DEFAULT.into(),
            listen: true,
            notify: true,
            notify_within: true,
            migrate: true,
            durability: Durability::Full,
            statement_timeout: Duration::from_secs(60),
            trays_from: 64,
            bytes_max: BYTES_IN_HAND_MAX,
            standby: false,
        }
    }
}

impl PostgresOptions {
    /// These options, overridden by the parameters of a URL. Fails as [`Invalid`](ErrorKind::Invalid) for a URL that
    /// cannot be parsed.
    pub fn with_url(self, url: &str) -> Result<Self, Error> {
        Ok(parse(url, self)?.options)
    }
}

/// The parts of a URL.
pub(crate) struct Address {
    pub(crate) options: PostgresOptions,
    pub(crate) config: Config,
    pub(crate) tls: Wanted,
    /// Hosts and database, without user or password: for messages.
    pub(crate) shown: String,
}

/// The options of the program, overridden by the URL.
pub(crate) fn parse(url: &str, mut options: PostgresOptions) -> Result<Address, Error> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut of_driver, mut ssl) = (Vec::new(), SslWords::default());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "schema" => options.schema = value.into_owned(),
            "listen" => options.listen = switch(name, &value)?,
            "notify" => options.notify = switch(name, &value)?,
            "notify_within" => options.notify_within = switch(name, &value)?,
            "migrate" => options.migrate = switch(name, &value)?,
            "durability" => options.durability = durability(&value)?,
            "trays_from" => options.trays_from = count(name, &value)?,
            "sslmode" => ssl.mode = Some(value.into_owned()),
            "sslrootcert" => ssl.root_certificate = Some(value.into_owned()),
            "sslcert" => ssl.certificate = Some(value.into_owned()),
            "sslkey" => ssl.key = Some(value.into_owned()),
            // All other parameters belong to the driver, which refuses unknown ones.
            _ => of_driver.push(pair),
        }
    }
    check_schema(&options.schema)?;
    let url = if of_driver.is_empty() { base.to_owned() } else { format!("{base}?{}", of_driver.join("&")) };
    let mut config: Config = url.parse().map_err(|error| {
        invalid("cannot be parsed; write it like postgres://user:password@host:5432/database")
            .caused_by(error)
    })?;
    let tls = tls(&mut config, ssl)?;
    defaults(&mut config);
    let shown = shown(&config);
    Ok(Address { options, config, tls, shown })
}

/// The URL's parameters about encryption, under libpq's names.
#[derive(Default)]
struct SslWords {
    mode: Option<String>,
    root_certificate: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// Each parameter means what it means to libpq.
fn tls(config: &mut Config, words: SslWords) -> Result<Wanted, Error> {
    let SslWords { mode, root_certificate, certificate, key } = words;
    let named = match root_certificate.as_deref() {
        None => None,
        Some("system") => Some(Authorities::System),
        Some(path) => Some(Authorities::File(path.to_owned())),
    };
    // Any host can have a certificate from a public authority, so only the certificate's name proves identity.
    let is_for_anybody = named == Some(Authorities::System);
    // Without an authority, `prefer` and `require` encrypt and accept any certificate.
    let as_named = |named: Option<Authorities>| match named {
        None => Verify::Nothing,
        Some(authorities) if is_for_anybody => Verify::IssuerAndName(authorities),
        Some(authorities) => Verify::Issuer(authorities),
    };
    let (ssl_mode, verify) = match mode.as_deref() {
        Some("disable") => (SslMode::Disable, Verify::Nothing),
        None | Some("allow" | "prefer") => (SslMode::Prefer, as_named(named)),
        Some("require") => (SslMode::Require, as_named(named)),
        Some("verify-ca") => match named {
            Some(authorities @ Authorities::File(_)) => (SslMode::Require, Verify::Issuer(authorities)),
            None | Some(Authorities::System) => {
                return Err(invalid(
                    "has sslmode=verify-ca and no authority of your own; name its certificate with \
                     sslrootcert=, or use verify-full",
                ));
            }
        },
        Some("verify-full") => {
            (SslMode::Require, Verify::IssuerAndName(named.unwrap_or(Authorities::System)))
        }
        Some(other) => {
            let why =
                format!("has sslmode {other:?}; use disable, prefer, require, verify-ca or verify-full");
            return Err(invalid(&why));
        }
    };
    let identity = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (Some(_), None) => return Err(invalid("has sslcert= without sslkey=; name the key's file as well")),
        (None, Some(_)) => {
            return Err(invalid("has sslkey= without sslcert=; name the certificate's file as well"));
        }
    };
    config.ssl_mode(ssl_mode);
    Ok(Wanted { verify, identity })
}

/// Defaults for what the URL does not set: the store notices a dead peer within seconds, and of several hosts it uses
/// one that can write.
fn defaults(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(10));
    }
    // A peer that disappears is also noticed within half a minute of silence.
    config.keepalives_idle(config.get_keepalives_idle().min(Duration::from_secs(15)));
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(5));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_application_name().is_none() {
        config.application_name("backroom");
    }
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

fn shown(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let ports = config.get_ports();
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

fn switch(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(invalid(&format!("has {name}={value:?}; use true or false"))),
    }
}

fn count(name: &str, value: &str) -> Result<usize, Error> {
    match value.parse() {
        Ok(count) => Ok(count),
        Err(error) => Err(invalid(&format!("has {name}={value:?}; use a whole number")).caused_by(error)),
    }
}

fn durability(value: &str) -> Result<Durability, Error> {
    match value {
        "full" => Ok(Durability::Full),
        "relaxed" => Ok(Durability::Relaxed),
        _ => Err(invalid(&format!("has durability={value:?}; use full or relaxed"))),
    }
}

pub(crate) fn check_schema(schema: &str) -> Result<(), Error> {
    let is_fit =
        |(index, c): (usize, char)| c.is_ascii_lowercase() || c == '_' || (index > 0 && c.is_ascii_digit());
    let fits =
        !schema.is_empty() && schema.len() <= SCHEMA_BYTES_MAX && schema.chars().enumerate().all(is_fit);
    if fits && !schema.starts_with("pg_") {
        return Ok(());
    }
    let why = format!(
        "names the schema {schema:?}; use lower-case letters, digits and _, at most {SCHEMA_BYTES_MAX}, not pg_…"
    );
    Err(invalid(&why))
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("open the store: the URL {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_goes_before_the_options_and_hides_the_password() {
        let url = "postgres://me:secret@one:5433,two/jobs?schema=x_1&listen=false&connect_timeout=2";
        let address = parse(url, PostgresOptions::default()).unwrap();
        assert_eq!(address.options.schema, "x_1");
        assert!(!address.options.listen);
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(2)));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert!(!address.shown.contains("secret"), "{}", address.shown);
    }

    #[test]
    fn trays_from_is_a_whole_number() {
        let trays_from = |value: &str| {
            parse(&format!("postgres://localhost/db?trays_from={value}"), PostgresOptions::default())
                .map(|address| address.options.trays_from)
        };
        assert_eq!((trays_from("0").unwrap(), trays_from("500").unwrap()), (0, 500));
        for value in ["", "-1", "many"] {
            assert_eq!(trays_from(value).unwrap_err().kind(), ErrorKind::Invalid, "{value}");
        }
    }

    #[test]
    fn schema_that_would_need_quoting_is_refused() {
        for schema in ["", "Jobs", "a b", "a\"b", "1a", "pg_x", &"a".repeat(49)] {
            let options = PostgresOptions { schema: schema.into(), ..PostgresOptions::default() };
            let error = parse("postgres://localhost/db", options).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }

    fn verify(parameters: &str) -> Result<Verify, Error> {
        let url = format!("postgres://localhost/db?{parameters}");
        parse(&url, PostgresOptions::default()).map(|address| address.tls.verify)
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let ours = || Authorities::File("/ca.pem".into());
        for (parameters, expected) in [
            ("sslmode=require", Verify::Nothing),
            ("sslmode=require&sslrootcert=/ca.pem", Verify::Issuer(ours())),
            ("sslmode=prefer&sslrootcert=system", Verify::IssuerAndName(Authorities::System)),
            ("sslmode=verify-ca&sslrootcert=/ca.pem", Verify::Issuer(ours())),
            ("sslmode=verify-full&sslrootcert=/ca.pem", Verify::IssuerAndName(ours())),
            ("sslmode=verify-full", Verify::IssuerAndName(Authorities::System)),
        ] {
            assert_eq!(verify(parameters).unwrap(), expected, "{parameters}");
        }
    }

    #[test]
    fn half_of_what_tls_needs_is_refused() {
        for parameters in ["sslmode=verify-ca", "sslmode=full", "sslcert=/me.pem", "sslkey=/me.key"] {
            assert_eq!(verify(parameters).expect_err(parameters).kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn unknown_parameter_is_refused() {
        assert!(parse("postgres://localhost/db?lisen=false", PostgresOptions::default()).is_err());
    }
}
