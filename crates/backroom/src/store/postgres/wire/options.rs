//! What the URL and the program say about the way to the database.

use std::time::Duration;

use backroom_core::bounds::BYTES_IN_HAND_MAX;
use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::tls::{Authorities, Identity, Verify, Wanted};
use crate::{Error, ErrorKind, store::Durability};

/// The schema of a store that names none.
pub const SCHEMA_DEFAULT: &str = "backroom";
/// Longest name of a schema, in bytes: PostgreSQL allows 63 for the channel of our hints, which has it as a part.
pub const SCHEMA_BYTES_MAX: usize = 48;

/// Longest time that connecting to one host may take where the URL does not say (`connect_timeout=`).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to use a PostgreSQL database. What the URL says (`?schema=…&listen=false`) goes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The schema that holds our tables; URL parameter `schema`. Lower-case letters, digits and `_`, at most
    /// [`SCHEMA_BYTES_MAX`]. Several stores live side by side in one database under different names. Default
    /// `backroom`.
    pub schema: String,
    /// Whether this process hears of what others do by LISTEN; URL parameter `listen`. Turn it off behind PgBouncer in
    /// transaction mode, where a connection is nobody's: then nothing is kept on a connection (no prepared
    /// statements, settings for a transaction only), and polling alone finds the jobs of other processes. Default true.
    pub listen: bool,
    /// Whether this process tells others by NOTIFY; URL parameter `notify`. Turn it off for engines that do not know
    /// the statement. Default true.
    pub notify: bool,
    /// Whether an enqueue inside a transaction of the caller tells workers at the commit; URL parameter `notify_within`. A
    /// commit that notifies takes a lock that the whole database shares, so such commits go one after another: turn it off
    /// where hundreds of them per second come from several connections. Then workers find these jobs by polling, within a
    /// second. Without `notify` it is off, too. Default true.
    pub notify_within: bool,
    /// Whether connecting creates and migrates the tables; URL parameter `migrate`. Where it is off, a store whose
    /// tables are missing or old is refused. Default true.
    pub migrate: bool,
    /// How safe an acknowledged write is; URL parameter `durability`, `full` or `relaxed`. Relaxed does not wait for
    /// the server's disk (`synchronous_commit=off`): a crash of the server may take the last moments with it. Default
    /// full, which is as safe as the server is set up to be; [`health`](crate::store::Store::health) says how safe
    /// that is.
    pub durability: Durability,
    /// Longest time one statement may take before the server ends it; a server that does not answer for five seconds
    /// more is given up, and the connection with it. Default 60 s.
    pub statement_timeout: Duration,
    /// From how many jobs on a claim lays them together in one row, which spares the server a quarter of its work
    /// (`docs/decisions/0034`); URL parameter `trays_from`. Claims ask for that many only where there is a backlog of short
    /// jobs, and do so only as long as it pays; 1 means every claim, 0 none. Default 64.
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
    /// These options with what the parameters of a URL say instead. Fails as [`Invalid`](ErrorKind::Invalid) for a URL
    /// that is not understood.
    pub fn with_url(self, url: &str) -> Result<Self, Error> {
        Ok(parse(url, self)?.options)
    }
}

/// The URL taken apart.
pub(crate) struct Address {
    pub(crate) options: PostgresOptions,
    pub(crate) config: Config,
    pub(crate) tls: Wanted,
    /// Hosts and database, without user or password: for messages.
    pub(crate) shown: String,
}

/// Reads the URL over the options of the program.
pub(crate) fn parse(url: &str, mut options: PostgresOptions) -> Result<Address, Error> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut kept, mut ssl) = (Vec::new(), SslWords::default());
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
            // Everything else is the driver's; it refuses what it does not know.
            _ => kept.push(pair),
        }
    }
    check_schema(&options.schema)?;
    let url = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    let mut config: Config = url.parse().map_err(|error| {
        invalid(
            "has a part that is not understood; it looks like postgres://user:password@host:5432/database",
        )
        .caused_by(error)
    })?;
    let tls = tls(&mut config, ssl)?;
    defaults(&mut config);
    let shown = shown(&config);
    Ok(Address { options, config, tls, shown })
}

/// What the URL says about encryption, under libpq's names.
#[derive(Default)]
struct SslWords {
    mode: Option<String>,
    root_certificate: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// What is said means what it means to libpq.
fn tls(config: &mut Config, words: SslWords) -> Result<Wanted, Error> {
    let SslWords { mode, root_certificate, certificate, key } = words;
    let named = match root_certificate.as_deref() {
        None => None,
        Some("system") => Some(Authorities::System),
        Some(path) => Some(Authorities::File(path.to_owned())),
    };
    // Anybody can have a certificate from an authority that everybody trusts; only its name tells.
    let is_for_anybody = named == Some(Authorities::System);
    // Without an authority `prefer` and `require` encrypt and believe any server.
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

/// What the URL leaves open: a dead peer is noticed in seconds, and of several hosts the one that can write is meant.
fn defaults(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(10));
    }
    // A peer that is gone is noticed within half a minute of silence, too.
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
