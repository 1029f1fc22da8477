//! A bucket as a source: objects that appear, change or go.
//!
//! A ledger in the store remembers each object that was delivered. A scan lists the bucket and compares it with the ledger, so nothing is
//! missed while no process reads it. Start reading at [`Reading::advance`].

mod azure_blob;
mod ledger;
mod listing;
mod reading;
mod s3;
mod scan;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom::{Invalid, clock::Clock};
use serde_json::json;

use self::{
    azure_blob::AzureBlob,
    listing::Listing,
    reading::{Change, Reading},
    s3::S3,
};
use crate::{
    AwsAccess, AzureAccess, Bounds, Delivery, Settled, Source, SourceContext, SourceError, cloud::Cloud,
    glob::Pattern,
};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectEvent {
    /// It appeared.
    Created,
    /// Its content changed.
    Changed,
    /// It is gone.
    Removed,
}

impl ObjectEvent {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Created, Self::Changed, Self::Removed];

    /// Its name in messages and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// A bucket whose objects become jobs. The args of a job are `{"event", "url", "bucket", "key", "name", "size", "etag",
/// "modified_at"}`.
#[derive(Debug)]
pub struct Objects {
    rules: Arc<Rules>,
    reading: Option<Reading>,
    next_receipt: u64,
    in_hand: HashMap<u64, Change>,
}

/// Which service has the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Service {
    S3,
    /// With the account.
    Azure(String),
}

/// What a source of objects looks for.
#[derive(Debug, Clone)]
struct Rules {
    service: Service,
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    ca_file: Option<PathBuf>,
    aws: AwsAccess,
    azure: AzureAccess,
    names: Vec<Pattern>,
    ignored: Vec<Pattern>,
    created: bool,
    changed: bool,
    removed: bool,
    existing: bool,
    rescan: Duration,
}

impl Objects {
    /// Objects of a bucket, created and changed ones. `url` is `s3://BUCKET/PREFIX` or `azure://ACCOUNT/CONTAINER/PREFIX`; the prefix
    /// may be left out.
    pub fn new(url: &str) -> Result<Self, Invalid> {
        let wrong = || {
            let why = format!("is {url:?}; write s3://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX");
            Invalid::new("url", why)
        };
        let (service, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (service, rest) = match service {
            "s3" => (Service::S3, rest),
            "azure" => {
                let (account, rest) = rest.split_once('/').ok_or_else(wrong)?;
                (Service::Azure(account.to_owned()), rest)
            }
            _ => return Err(wrong()),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|sign| sign.is_ascii_alphanumeric() || "-._$".contains(sign))
        };
        let is_account = matches!(&service, Service::Azure(account) if !is_name(account));
        if is_account || !is_name(bucket) {
            return Err(wrong());
        }
        let rules = Rules {
            service,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            ca_file: None,
            aws: AwsAccess::default(),
            azure: AzureAccess::default(),
            names: Vec::new(),
            ignored: Vec::new(),
            created: true,
            changed: true,
            removed: false,
            existing: true,
            rescan: Duration::from_secs(60),
        };
        Ok(Self { rules: Arc::new(rules), reading: None, next_receipt: 0, in_hand: HashMap::new() })
    }

    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }

    /// Where the service is, if it is not Amazon's or Microsoft's own: `https://s3.example.com`. The name of the bucket becomes the path,
    /// or takes the place of `{bucket}`.
    #[must_use]
    pub fn endpoint(self, endpoint: impl Into<String>) -> Self {
        self.with(|rules| rules.endpoint = Some(endpoint.into()))
    }

    /// Keys and region for S3.
    #[must_use]
    pub fn aws(self, access: AwsAccess) -> Self {
        self.with(|rules| rules.aws = access)
    }

    /// A key or signature for Azure.
    #[must_use]
    pub fn azure(self, access: AzureAccess) -> Self {
        self.with(|rules| rules.azure = access)
    }

    /// A file in PEM with authorities that are trusted besides those that this machine trusts.
    #[must_use]
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.with(|rules| rules.ca_file = Some(path.into()))
    }

    /// Only these events.
    #[must_use]
    pub fn events(self, events: &[ObjectEvent]) -> Self {
        self.with(|rules| {
            rules.created = events.contains(&ObjectEvent::Created);
            rules.changed = events.contains(&ObjectEvent::Changed);
            rules.removed = events.contains(&ObjectEvent::Removed);
        })
    }

    /// Only objects whose name fits one of these patterns: `*.jpg`. A pattern with a `/` is compared with the key behind the prefix; `**`
    /// stands for any signs.
    #[must_use]
    pub fn names<S: AsRef<str>>(self, patterns: impl IntoIterator<Item = S>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| Pattern::new(pattern.as_ref())).collect();
        self.with(|rules| rules.names = patterns)
    }

    /// Objects that are left out, by patterns of the same form.
    #[must_use]
    pub fn ignore<S: AsRef<str>>(self, patterns: impl IntoIterator<Item = S>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| Pattern::new(pattern.as_ref())).collect();
        self.with(|rules| rules.ignored = patterns)
    }

    /// Whether objects that are there when the trigger begins for the first time count as created. Default true.
    #[must_use]
    pub fn existing(self, existing: bool) -> Self {
        self.with(|rules| rules.existing = existing)
    }

    /// How often the bucket is listed. Default 60 s.
    #[must_use]
    pub fn rescan(self, rescan: Duration) -> Self {
        self.with(|rules| rules.rescan = rescan.max(Duration::from_millis(100)))
    }
}

impl Rules {
    /// Whether an object is looked for. Programs make objects whose key ends with `/` to show folders.
    fn wants(&self, key: &str) -> bool {
        let below = key.strip_prefix(self.prefix.as_str()).unwrap_or(key).trim_start_matches('/');
        !key.ends_with('/')
            && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(below)))
            && !self.ignored.iter().any(|pattern| pattern.fits(below))
    }

    /// The URL of a key; of the empty one, that of the bucket.
    fn url(&self, key: &str) -> String {
        match &self.service {
            Service::S3 => format!("s3://{}/{key}", self.bucket),
            Service::Azure(account) => format!("azure://{account}/{}/{key}", self.bucket),
        }
    }

    /// What the ledger is about.
    fn about(&self) -> String {
        format!("{} {}", self.url(""), self.endpoint.as_deref().unwrap_or_default())
    }

    fn listing(&self, clock: &Arc<dyn Clock>) -> Result<Listing, SourceError> {
        let cloud = Cloud::new(self.ca_file.as_deref(), clock)?;
        let endpoint = self.endpoint.as_deref();
        Ok(match &self.service {
            Service::S3 => Listing::S3(S3::new(cloud, &self.bucket, endpoint, &self.aws)?),
            Service::Azure(account) => {
                Listing::Azure(AzureBlob::new(cloud, account, &self.bucket, endpoint, &self.azure)?)
            }
        })
    }
}

#[async_trait]
impl Source for Objects {
    fn kind(&self) -> &'static str {
        "objects"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        let rules = &self.rules;
        let events = [
            (ObjectEvent::Created, rules.created),
            (ObjectEvent::Changed, rules.changed),
            (ObjectEvent::Removed, rules.removed),
        ];
        let events: Vec<_> =
            events.iter().filter(|(_, is_on)| *is_on).map(|(event, _)| event.as_str()).collect();
        json!({
            "url": rules.url(&rules.prefix),
            "endpoint": rules.endpoint.as_deref().map(backroom::without_password),
            "names": rules.names.iter().map(Pattern::as_str).collect::<Vec<_>>(),
            "ignore": rules.ignored.iter().map(Pattern::as_str).collect::<Vec<_>>(),
            "events": events,
            "rescan_ms": u64::try_from(rules.rescan.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        self.in_hand.clear();
        let listing = self.rules.listing(context.backroom().clock())?;
        self.reading = Some(Reading::begin(Arc::clone(&self.rules), listing, context).await?);
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let reading =
            self.reading.as_mut().ok_or_else(|| SourceError::new("read the bucket: it is not open"))?;
        let changes = loop {
            let changes = reading.take(bounds.rows);
            if !changes.is_empty() {
                break changes;
            }
            reading.advance().await?;
        };
        let deliver = |change: Change| {
            let receipt = self.next_receipt;
            self.next_receipt += 1;
            let delivery = delivery(&self.rules, &change).receipt(receipt);
            self.in_hand.insert(receipt, change);
            delivery
        };
        Ok(changes.into_iter().map(deliver).collect())
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let reading = self
            .reading
            .as_ref()
            .ok_or_else(|| SourceError::new("write the ledger: the bucket is not open"))?;
        // An object that could not become a job is recorded all the same: its dead letter has the reason.
        let changes: Vec<Change> =
            settled.iter().filter_map(|settled| self.in_hand.remove(&settled.receipt)).collect();
        reading.record(&changes).await
    }

    async fn lag(&mut self) -> Option<u64> {
        self.reading.as_ref().map(Reading::lag)
    }

    fn details(&self) -> serde_json::Value {
        self.reading.as_ref().map_or(serde_json::Value::Null, Reading::details)
    }

    async fn close(&mut self) {
        self.reading = None;
    }
}

/// What a change becomes for the frame.
fn delivery(rules: &Rules, change: &Change) -> Delivery {
    let Change { key, event, print, known } = change;
    let seen = print.as_ref().or(known.as_ref());
    let modified_at = seen.and_then(ledger::Print::modified_at);
    let body = json!({
        "event": event.as_str(),
        "url": rules.url(key),
        "bucket": rules.bucket,
        "key": key,
        "name": key.rsplit('/').next(),
        "size": seen.map(|print| print.size),
        "etag": seen.map(|print| print.etag.as_str()),
        "modified_at": modified_at.map(|at| at.to_string()),
    });
    let print = seen.map(ledger::Print::text).unwrap_or_default();
    // Two triggers may have the same name one after the other, so the bucket is part of it.
    let identity = format!("{} {} {}", event.as_str(), print, rules.url(key));
    let delivery = Delivery::new(identity, body.to_string().into_bytes()).header("event", event.as_str());
    Delivery { at: modified_at, order_key: Some(key.clone()), ..delivery }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_service_a_bucket_and_a_prefix() {
        let read = |url: &str| {
            let objects = Objects::new(url).unwrap();
            (objects.rules.service.clone(), objects.rules.bucket.clone(), objects.rules.prefix.clone())
        };
        assert_eq!(read("s3://in"), (Service::S3, "in".into(), String::new()));
        assert_eq!(read("s3://in/a/b c//"), (Service::S3, "in".into(), "a/b c//".into()));
        assert_eq!(read("azure://me/in/a"), (Service::Azure("me".into()), "in".into(), "a".into()));
        for wrong in
            ["", "s3://", "s3:///a", "in", "gs://in", "azure://me", "azure:///in", "s3://a b", "s3://u:p@h"]
        {
            assert!(Objects::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_are_compared_with_the_key_behind_the_prefix() {
        let objects = Objects::new("s3://in/photos/").unwrap().names(["*.jpg", "raw/*"]).ignore(["tmp/**"]);
        for (key, is_wanted) in [
            ("photos/a.jpg", true),
            ("photos/b/c.jpg", true),
            ("photos/raw/x", true),
            ("photos/a.png", false),
            ("photos/tmp/a.jpg", false),
            ("photos/raw/", false),
        ] {
            assert_eq!(objects.rules.wants(key), is_wanted, "{key}");
        }
    }
}
