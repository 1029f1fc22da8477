//! What is exported to a collector of OpenTelemetry, from the settings and from the variables of its specification.
//!
//! The variables (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>) are honoured, or refused with
//! the reason: one that is passed over in silence would send spans elsewhere than the operator thinks. The settings are stronger.

use std::{collections::BTreeMap, time::Duration};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};

use super::{Otel, ServerSettings, Wrong, value::Secret};

/// Where export goes if a variable names no other place for the signal.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How often metrics are exported if no variable says otherwise, as the specification has it.
const METRICS_EVERY: Duration = Duration::from_secs(60);

/// What to export, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Whether spans are exported.
    pub(crate) traces: bool,
    /// Whether metrics are exported.
    pub(crate) metrics: bool,
    /// The URL below which the collector takes each signal; none if variables name it.
    endpoint: Option<String>,
    /// Headers of each request to the collector, beside those of the variables.
    pub(crate) headers: Vec<(String, Secret)>,
    /// The name of this service; none if variables name it.
    pub(crate) service_name: Option<String>,
    /// The part of new traces that is exported; none if variables say it.
    pub(crate) sample: Option<f64>,
    /// How often metrics are exported.
    pub(crate) metrics_every: Duration,
}

#[cfg(feature = "otel")]
impl Plan {
    /// The URL of one signal; none if variables name it.
    pub(crate) fn endpoint_of(&self, path: &str) -> Option<String> {
        self.endpoint.as_ref().map(|url| format!("{}{path}", url.trim_end_matches('/')))
    }
}

/// The plan; none if nothing is to be exported. Fails with all that is wrong: the setting or the variable, and why.
pub(crate) fn plan(
    settings: &Otel,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Plan>, Vec<(Place, String)>> {
    let variable =
        |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let mut wrong = Vec::new();
    let headers = headers(settings, &mut wrong);
    if let Some(url) = &settings.endpoint
        && let Err(why) = check_url(url)
    {
        wrong.push((Place::Setting("otel.endpoint"), why));
    }
    let is_named = [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]
        .into_iter()
        .any(|name| variable(name).is_some());
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_on = (settings.endpoint.is_some() || is_named) && !is_off;
    if !is_on {
        return if wrong.is_empty() { Ok(None) } else { Err(wrong) };
    }
    for (names, allowed, why) in LIMITED {
        for name in *names {
            let value = variable(name);
            if let Some(value) =
                value.filter(|value| !value.split(',').all(|part| allowed.contains(&part.trim())))
            {
                wrong.push((Place::Variable((*name).into()), format!("{value:?} is not possible: {why}")));
            }
        }
    }
    let exports = |name: &str| variable(name) != Some("none");
    let is_named_service = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|all| all.split(',').any(|pair| pair.trim().starts_with("service.name=")));
    let service_name = settings.service_name.clone().or((!is_named_service).then(|| "backroom".to_owned()));
    let every = variable("OTEL_METRIC_EXPORT_INTERVAL").map(str::parse);
    if let Some(Err(_)) = every {
        let why = "is not a number of milliseconds";
        wrong.push((Place::Variable("OTEL_METRIC_EXPORT_INTERVAL".into()), why.into()));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Some(Plan {
        traces: exports("OTEL_TRACES_EXPORTER"),
        metrics: exports("OTEL_METRICS_EXPORTER"),
        endpoint: settings.endpoint.clone(),
        headers,
        service_name,
        sample: settings.sample.map(|ratio| ratio.0),
        metrics_every: every
            .and_then(Result::ok)
            .filter(|ms| *ms > 0)
            .map_or(METRICS_EVERY, Duration::from_millis),
    }))
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A setting, by its path.
    Setting(&'static str),
    /// A variable of the specification.
    Variable(String),
}

/// Variables of which only some values are possible: names, values, and why the others are not.
const LIMITED: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        ],
        &["http/protobuf"],
        "this program speaks http/protobuf only; collectors take it on port 4318",
    ),
    (&["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"], &["otlp", "none"], "write otlp or none"),
    (
        &[
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        ],
        &[],
        "this program sends without compression; remove the variable",
    ),
    (
        &[
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        ],
        &[],
        "this program trusts the authorities that the machine trusts, and has no certificate of its own for the collector",
    ),
    (
        &["OTEL_PROPAGATORS"],
        &["tracecontext", "baggage"],
        "this program continues traces by tracecontext only",
    ),
    (
        &["OTEL_TRACES_SAMPLER"],
        &[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ],
        "this program knows always_on, always_off, traceidratio, and each of them with parentbased_ before it",
    ),
    (&["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"], &[], "this program reads no such file"),
];

fn headers(settings: &Otel, wrong: &mut Vec<(Place, String)>) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for Secret(text) in &settings.headers {
        let split = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let is_header = |(name, value): &(&str, &str)| {
            HeaderName::try_from(*name).is_ok() && HeaderValue::from_str(value).is_ok()
        };
        match split.filter(is_header) {
            Some((name, value)) => headers.push((name.to_owned(), Secret(value.to_owned()))),
            // The text may be a secret.
            None => wrong.push((
                Place::Setting("otel.headers"),
                "has an entry that is no header; write NAME=VALUE".into(),
            )),
        }
    }
    headers
}

fn check_url(url: &str) -> Result<(), String> {
    let remedy = "write the base of the collector's OTLP/HTTP address, such as \"http://127.0.0.1:4318\"";
    let uri: Uri = url.parse().map_err(|error| format!("is no URL: {error}; {remedy}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https"))
        || uri.authority().is_none()
        || uri.query().is_some()
    {
        return Err(format!("is no such URL; {remedy}"));
    }
    Ok(())
}

/// The plan of settings that were checked.
pub(crate) fn checked(settings: &Otel, variables: &BTreeMap<String, String>) -> Option<Plan> {
    // Only a build without the feature does not check the variables: it exports nothing anyway.
    plan(settings, variables).unwrap_or_default()
}

/// All that is wrong, with its place.
#[cfg(not(feature = "otel"))]
pub(super) fn check(
    settings: &ServerSettings,
    _: &BTreeMap<String, String>,
    place: impl Fn(&str) -> String,
    wrong: &mut Vec<Wrong>,
) {
    refuse_all(settings, place, wrong);
}

/// What a build without the feature refuses: every setting of the section. Without this, an operator would wait for spans that
/// never come.
#[cfg(any(test, not(feature = "otel")))]
fn refuse_all(settings: &ServerSettings, place: impl Fn(&str) -> String, wrong: &mut Vec<Wrong>) {
    let unset = super::defaults();
    let ours = super::KEYS.iter().filter(|key| key.path.starts_with("otel."));
    for key in ours.filter(|key| (key.text)(settings) != (key.text)(&unset)) {
        let why = format!(
            "`{}` is about an export, but this program was built without the feature `otel`; use a build with it, or remove \
             the setting",
            key.path
        );
        wrong.push(Wrong { place: place(key.path), why });
    }
}

/// All that is wrong, with its place.
#[cfg(feature = "otel")]
pub(super) fn check(
    settings: &ServerSettings,
    variables: &BTreeMap<String, String>,
    place: impl Fn(&str) -> String,
    wrong: &mut Vec<Wrong>,
) {
    let Err(found) = plan(&settings.otel, variables) else { return };
    wrong.extend(found.into_iter().map(|(at, why)| match at {
        Place::Setting(path) => Wrong { place: place(path), why: format!("`{path}` {why}") },
        Place::Variable(name) => Wrong { place: format!("variable {name}"), why },
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{defaults, value::Ratio};

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_is_exported_unless_a_setting_or_a_variable_names_a_collector() {
        let settings = defaults().otel;
        assert_eq!(plan(&settings, &variables(&[("OTEL_SERVICE_NAME", "a")])), Ok(None));
        assert_eq!(plan(&settings, &variables(&[(ENDPOINT, "")])), Ok(None), "an empty variable is none");
        let of_variable =
            plan(&settings, &variables(&[(ENDPOINT, "http://c:4318"), ("OTEL_METRICS_EXPORTER", "none")]));
        let planned = of_variable.expect("right").expect("a plan");
        assert_eq!((planned.traces, planned.metrics, &planned.endpoint), (true, false, &None));
        assert_eq!(planned.service_name.as_deref(), Some("backroom"));
        let off = variables(&[(ENDPOINT, "http://c:4318"), ("OTEL_SDK_DISABLED", "TRUE")]);
        assert_eq!(plan(&settings, &off), Ok(None));
    }

    #[test]
    fn a_build_without_the_feature_refuses_every_setting_of_the_section() {
        let refused = |settings: &ServerSettings| {
            let mut wrong = Vec::new();
            refuse_all(settings, |path| format!("at {path}"), &mut wrong);
            wrong.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(refused(&defaults()).is_empty());
        let mut settings = defaults();
        settings.otel.endpoint = Some("http://c:4318".into());
        settings.otel.headers = vec![Secret("api-key=hunter2".into())];
        settings.otel.service_name = Some("shop".into());
        settings.otel.sample = Some(Ratio(0.5));
        let wrong = refused(&settings);
        let of_section = super::super::KEYS.iter().filter(|key| key.path.starts_with("otel."));
        for key in of_section {
            let named = |said: &&String| said.contains(&format!("at {}", key.path));
            let said =
                wrong.iter().find(named).unwrap_or_else(|| panic!("{} is not refused: {wrong:?}", key.path));
            assert!(
                said.contains("built without the feature `otel`") && said.contains("use a build with it"),
                "{said}"
            );
        }
        assert!(!wrong.concat().contains("hunter2"), "{wrong:?}");
    }

    #[test]
    fn settings_are_stronger_than_variables() {
        let mut settings = defaults().otel;
        settings.endpoint = Some("https://collector/otel/".into());
        settings.sample = Some(Ratio(0.25));
        settings.headers = vec![Secret("api-key = a=b".into())];
        let named = variables(&[("OTEL_SERVICE_NAME", "theirs"), ("OTEL_METRIC_EXPORT_INTERVAL", "500")]);
        let planned = plan(&settings, &named).expect("right").expect("a plan");
        assert_eq!(planned.service_name, None, "the variable names the service");
        assert_eq!(planned.sample, Some(0.25));
        assert_eq!(planned.headers, [("api-key".into(), Secret("a=b".into()))]);
        assert_eq!(planned.metrics_every, Duration::from_millis(500));
        #[cfg(feature = "otel")]
        assert_eq!(planned.endpoint_of("/v1/traces").as_deref(), Some("https://collector/otel/v1/traces"));
        settings.service_name = Some("ours".into());
        let planned = plan(&settings, &named).expect("right").expect("a plan");
        assert_eq!(planned.service_name.as_deref(), Some("ours"));
    }

    #[test]
    fn a_variable_that_cannot_be_honoured_is_refused_once_something_is_exported() {
        let settings = defaults().otel;
        let bad = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ];
        assert_eq!(plan(&settings, &variables(&bad)), Ok(None), "nothing is exported");
        let mut with_endpoint = bad.to_vec();
        with_endpoint.push((ENDPOINT, "http://c:4318"));
        let wrong = plan(&settings, &variables(&with_endpoint)).expect_err("all of them");
        assert_eq!(wrong.len(), bad.len(), "{wrong:?}");
        for (name, _) in bad {
            assert!(wrong.iter().any(|(place, _)| *place == Place::Variable(name.into())), "{name}");
        }
    }

    #[test]
    fn a_wrong_url_and_a_header_without_a_value_are_refused_without_the_secret() {
        let mut settings = defaults().otel;
        settings.endpoint = Some("collector:4317".into());
        settings.headers = vec![Secret("hunter2".into())];
        let wrong = plan(&settings, &BTreeMap::new()).expect_err("both");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
    }
}
