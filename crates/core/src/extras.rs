//! What a caller chooses for a job and no statement filters or orders by: one column for all of it.
//!
//! Here a new field of a job begins. Add it to [`Extras`]; then the compiler leads through this file, and two tests fail until
//! the conformance suite and the command line know the field: `a_job_with_every_extra_comes_back_from_everywhere` and
//! `every_option_arrives_in_the_draft`. No store has to change.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeMap as _,
};

use crate::{
    Callback, Invalid, Reply, RetryPolicy,
    bounds::{self, check_name},
    millis::{millis, optional},
    redact, retry,
    schedule::Occurrence,
    trace::check_traceparent,
};

/// What a caller chooses for a job and no statement of a store filters or orders by. A [`Draft`](crate::Draft) and a
/// [`JobRow`](crate::JobRow) share it. Set at enqueue; a replacing enqueue may change it while the job is queued.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extras {
    /// Longest run of one attempt, in whole milliseconds; none means unlimited.
    #[serde(rename = "timeout_ms", with = "optional")]
    pub timeout: Option<Duration>,
    /// This job's own retry policy; none means its kind's.
    pub retry: Option<RetryPolicy>,
    /// Free data of the caller.
    pub meta: BTreeMap<String, String>,
    /// The caller's span in a distributed trace, as W3C Trace Context level 1 writes it. The handler continues it.
    pub traceparent: Option<String>,
    /// The reply queue that messages about the job go to, and which messages.
    pub reply: Option<Reply>,
    /// The URL that messages about the job go to, and which messages.
    pub callback: Option<Callback>,
    /// Of which occurrence of a schedule it is the run. Set by schedules; a caller's is refused.
    pub occurrence: Option<Box<Occurrence>>,
    /// Fields of args and output that are hidden from readers, as [JSON pointers](crate::redact::Pointer).
    pub hidden: Vec<String>,
}

/// The newest version of the stored text that this program can read.
pub const VERSION: u32 = 1;

/// How the stored texts begin that this program can read: one for each version, the oldest first. A store leaves jobs whose text
/// begins otherwise to newer programs.
pub const KNOWN_PREFIXES: [&str; VERSION as usize] = [r#"{"v":1,"#];

impl Extras {
    /// The oldest version whose programs understand everything that is set here. A field that is added after a release
    /// raises [`VERSION`], and this number where the field is set. So jobs without the field still run on programs of
    /// the release before.
    const fn version(&self) -> u32 {
        1
    }

    /// Checks every bound. Spans are cut to whole milliseconds, as they are stored.
    pub(crate) fn check(self) -> Result<Self, Invalid> {
        let Self { timeout, retry, meta, traceparent, reply, callback, occurrence, hidden } = self;
        check_hidden(&hidden)?;
        if occurrence.is_some() {
            let why = "is set; only a schedule sets it, so leave it out";
            return Err(Invalid::new("occurrence", why));
        }
        retry.as_ref().map_or(Ok(()), RetryPolicy::check)?;
        check_meta(&meta)?;
        traceparent.as_deref().map_or(Ok(()), check_traceparent)?;
        reply.as_ref().map_or(Ok(()), Reply::check)?;
        callback.as_ref().map_or(Ok(()), Callback::check)?;
        let timeout = timeout.map(check_timeout).transpose()?;
        let retry = retry.map(RetryPolicy::whole_millis);
        Ok(Self { timeout, retry, meta, traceparent, reply, callback, occurrence, hidden })
    }

    /// The text for the column `extras`; none if nothing is set.
    pub fn stored(&self) -> Result<Option<String>, Invalid> {
        if *self == Self::default() {
            return Ok(None);
        }
        let encoded = serde_json::to_string(&Stored(self));
        encoded.map(Some).map_err(|error| Invalid::new("extras", format!("do not encode: {error}")))
    }

    /// Reads the column `extras`. Refuses text of a newer version, unknown fields, and what [`stored`](Self::stored) does not
    /// write.
    pub fn from_stored(text: Option<&str>) -> Result<Self, Invalid> {
        let Some(text) = text else { return Ok(Self::default()) };
        match serde_json::from_str(text) {
            Ok(Read::Known(extras)) => Ok(extras),
            Ok(Read::Newer(version)) => Err(Invalid::new(
                "extras",
                format!(
                    "have version {version}, this program knows versions up to {VERSION}; \
                     the job was enqueued by a newer version of the program: update this one"
                ),
            )),
            Err(error) => Err(Invalid::new("extras", format!("do not parse: {error}"))),
        }
    }

    /// A bound on the bytes of [`stored`](Self::stored) that costs less than encoding it, and not much above them.
    pub fn bytes_max(&self) -> usize {
        const ENTRY: usize = r#""traceparent":"",  "#.len();
        const NUMBER: usize = 20;
        const OCCURRENCE: usize =
            r#""occurrence":{"schedule":"","nominal":"-009999-12-31T23:59:59.999999999Z"},"#.len();
        let Self { timeout, retry, meta, traceparent, reply, callback, occurrence, hidden } = self;
        let hidden = hidden.iter().map(|pointer| escaped_len(pointer) + r#""","#.len()).sum::<usize>();
        let meta = meta.iter().map(|(key, value)| escaped_len(key) + escaped_len(value) + r#""":"","#.len());
        let set = timeout.map_or(0, |_| ENTRY + NUMBER)
            + retry.as_ref().map_or(0, retry::RetryPolicy::json_bytes_max)
            + meta.fold(0, |sum, bytes| if sum == 0 { ENTRY + bytes } else { sum + bytes })
            + traceparent.as_ref().map_or(0, |text| ENTRY + escaped_len(text))
            + reply.as_ref().map_or(0, |reply| ENTRY + reply.json_bytes_max(escaped_len))
            + callback.as_ref().map_or(0, |callback| ENTRY + callback.json_bytes_max(escaped_len))
            + if hidden == 0 { 0 } else { ENTRY + hidden }
            + occurrence.as_ref().map_or(0, |of| OCCURRENCE + escaped_len(&of.schedule));
        if set == 0 { 0 } else { r#"{"v":}"#.len() + NUMBER + set }
    }
}

/// Extras as they are stored: the version first, then what is set.
struct Stored<'a>(&'a Extras);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Extras { timeout, retry, meta, traceparent, reply, callback, occurrence, hidden } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &self.0.version())?;
        if let Some(timeout) = timeout {
            map.serialize_entry("timeout_ms", &millis(*timeout))?;
        }
        if let Some(retry) = retry {
            map.serialize_entry("retry", retry)?;
        }
        if !meta.is_empty() {
            map.serialize_entry("meta", meta)?;
        }
        if let Some(traceparent) = traceparent {
            map.serialize_entry("traceparent", traceparent)?;
        }
        if let Some(reply) = reply {
            map.serialize_entry("reply", reply)?;
        }
        if let Some(callback) = callback {
            map.serialize_entry("callback", callback)?;
        }
        if let Some(occurrence) = occurrence {
            map.serialize_entry("occurrence", occurrence)?;
        }
        if !hidden.is_empty() {
            map.serialize_entry("hidden", hidden)?;
        }
        map.end()
    }
}

/// What stored text turns out to be.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives inside one call, and to box it costs an allocation per job"
)]
enum Read {
    Known(Extras),
    /// Text of this newer version.
    Newer(u32),
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadVisitor)
    }
}

struct ReadVisitor;

impl<'de> Visitor<'de> for ReadVisitor {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose first field is the version `v`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let is_version = map.next_key::<Cow<'de, str>>()?.is_some_and(|key| key == "v");
        if !is_version {
            return Err(A::Error::custom("the first field is not the version `v`"));
        }
        match map.next_value()? {
            0 => Err(A::Error::custom("version 0 never existed")),
            1..=VERSION => Extras::deserialize(MapAccessDeserializer::new(map)).map(Read::Known),
            newer => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Read::Newer(newer))
            }
        }
    }
}

fn check_timeout(timeout: Duration) -> Result<Duration, Invalid> {
    bounds::check_span("timeout", timeout)?;
    match millis(timeout) {
        0 => Err(Invalid::new("timeout", "is less than a millisecond; leave it out for no limit")),
        whole => Ok(Duration::from_millis(whole)),
    }
}

fn check_hidden(hidden: &[String]) -> Result<(), Invalid> {
    if hidden.len() > redact::POINTERS_MAX {
        let why = format!("are {}; at most {} are allowed", hidden.len(), redact::POINTERS_MAX);
        return Err(Invalid::new("hidden fields", why));
    }
    hidden.iter().try_for_each(|pointer| pointer.parse::<redact::Pointer>().map(drop))
}

fn check_meta(meta: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if meta.len() > bounds::META_ENTRIES_MAX {
        let why = format!("has {} entries; at most {} are allowed", meta.len(), bounds::META_ENTRIES_MAX);
        return Err(Invalid::new("meta", why));
    }
    for (key, value) in meta {
        check_name("meta key", key)?;
        if value.len() > bounds::META_VALUE_BYTES_MAX {
            let why = format!(
                "of {key:?} is {} bytes long; at most {} are allowed",
                value.len(),
                bounds::META_VALUE_BYTES_MAX
            );
            return Err(Invalid::new("meta value", why));
        }
        if value.contains('\0') {
            return Err(Invalid::new("meta value", format!("of {key:?} holds a NUL byte; remove it")));
        }
    }
    Ok(())
}

/// How long a text is inside a JSON string.
fn escaped_len(text: &str) -> usize {
    let of_byte = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of_byte).sum()
}
