//! Which job a delivery becomes. Pure: a delivery goes in, a draft or a reason comes out.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use backroom::{
    Draft, Invalid, Json,
    core::{
        Reply,
        draft::When,
        template::{Template, TextTemplate},
        trace,
        unique::UniqueRule,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Delivery,
    place::{self, Condition, Place, Values},
};

/// How long a job stands for its delivery by default: a delivery that comes again within this time makes no second job.
const UNIQUE_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// Where the correlation id of messages about a job comes from by default.
const CORRELATION_DEFAULT: &str = "{{header.correlation-id}}";

/// A mapping as it is written and stored. [`Mapping::new`] checks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingRule {
    /// The kind of the jobs: a name, or a template such as `{{header.type}}`; then `kinds` must list those allowed.
    pub kind: String,
    /// Kinds that a template may name. Others are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The queue: a name or a template. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The lane: a name or a template. A delivery for which it is `null` gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// 0 (served first) to 9. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The jobs may run this much later.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis", rename = "delay_ms")]
    pub delay: Option<Duration>,
    /// Longest run of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis", rename = "timeout_ms")]
    pub timeout: Option<Duration>,
    /// Attempts allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Labels to filter by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How the body is read. Default JSON.
    #[serde(default)]
    pub body: BodyFormat,
    /// The args: the value at this JSON pointer of the body. Default the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The args: JSON with places such as `{{body/id}}`. Not together with `pointer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Json>,
    /// Conditions that a delivery must meet, all of them. Others are left out and acknowledged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// How long a job stands for its delivery: a delivery that comes again within this time makes no second job. Default 24 hours; zero for
    /// never.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis", rename = "unique_for_ms")]
    pub unique_for: Option<Duration>,
    /// Where messages about the job go: a reply queue, or `broker:NAME/ADDRESS`; a name or a template such as
    /// `broker:shop/{{header.reply-to}}`. A delivery for which it is `null` gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The correlation id of those messages: a template. Default `{{header.correlation-id}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// Spans as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

/// How the body of a delivery is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// It is JSON.
    #[default]
    Json,
    /// It is text in UTF-8, which becomes a string.
    Text,
    /// It is anything, and becomes a string in base64.
    Base64,
}

/// Which job a delivery becomes: checked and ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    rule: MappingRule,
    kind: TextTemplate<Place>,
    queue: Option<TextTemplate<Place>>,
    lane: Option<TextTemplate<Place>>,
    args: Option<Template<Place>>,
    filter: Vec<Condition>,
    unique_for: Duration,
    reply_to: Option<TextTemplate<Place>>,
    correlation_id: TextTemplate<Place>,
}

/// What a delivery becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mapped {
    /// This job.
    Job(Box<Draft>),
    /// Nothing: the filter leaves it out.
    LeftOut,
}

impl Mapping {
    /// Jobs of this kind, with the whole message as args.
    pub fn kind(kind: impl Into<String>) -> MappingBuilder {
        let rule = MappingRule {
            kind: kind.into(),
            kinds: Vec::new(),
            queue: None,
            lane: None,
            priority: None,
            delay: None,
            timeout: None,
            max_attempts: None,
            tags: Vec::new(),
            body: BodyFormat::Json,
            pointer: None,
            args: None,
            filter: Vec::new(),
            unique_for: None,
            reply_to: None,
            correlation_id: None,
        };
        MappingBuilder { rule }
    }

    /// Checks a rule. The error names the part that is wrong.
    pub fn new(rule: MappingRule) -> Result<Self, Invalid> {
        let text = |what: &'static str, text: &str| {
            TextTemplate::parse(text, &Place::read).map_err(|mistake| Invalid::new(what, mistake.to_string()))
        };
        let kind = text("kind", &rule.kind)?;
        if !kind.is_plain() && rule.kinds.is_empty() {
            let why = "comes from the delivery, so list the allowed ones in `kinds`";
            return Err(Invalid::new("kind", why));
        }
        if let Some(pointer) = &rule.pointer {
            place::check_pointer(pointer).map_err(|why| Invalid::new("pointer", why))?;
            if rule.args.is_some() {
                return Err(Invalid::new("pointer", "and `args` are both set; choose one"));
            }
        }
        let filter = rule.filter.iter().map(|text| Condition::read(text)).collect::<Result<_, _>>();
        let mapping = Self {
            kind,
            queue: rule.queue.as_deref().map(|queue| text("queue", queue)).transpose()?,
            lane: rule.lane.as_deref().map(|lane| text("lane", lane)).transpose()?,
            args: rule.args.as_ref().map(|args| Template::parse(args, &Place::read)).transpose()?,
            filter: filter.map_err(|why| Invalid::new("filter", why))?,
            unique_for: rule.unique_for.unwrap_or(UNIQUE_DEFAULT),
            reply_to: rule.reply_to.as_deref().map(|to| text("reply_to", to)).transpose()?,
            correlation_id: text(
                "correlation_id",
                rule.correlation_id.as_deref().unwrap_or(CORRELATION_DEFAULT),
            )?,
            rule,
        };
        mapping.check_what_is_always_the_same()?;
        Ok(mapping)
    }

    /// Refuses what no delivery could make valid.
    fn check_what_is_always_the_same(&self) -> Result<(), Invalid> {
        let name = |template: &TextTemplate<Place>, otherwise: &str| {
            if template.is_plain() { template.source().to_owned() } else { otherwise.to_owned() }
        };
        let mut draft = Draft::new(name(&self.kind, "kind"), Json::null());
        if let Some(queue) = &self.queue {
            draft.queue = name(queue, "queue");
        }
        draft.lane = self.lane.as_ref().map(|lane| name(lane, "lane"));
        draft.extras.reply =
            self.reply_to.as_ref().map(|to| Reply { to: name(to, "reply"), ..Reply::default() });
        self.set_rest(&mut draft);
        draft.check(backroom::JobId(Default::default()), backroom::Timestamp::UNIX_EPOCH, 1024).map(drop)
    }

    /// The names of the headers on which depends what runs, where, and who gets its messages, each with the field that reads it.
    pub(crate) fn steering_headers(&self) -> Vec<(&'static str, String)> {
        let names = RefCell::new(Vec::new());
        let read = |text: &str| {
            let place = Place::read(text)?;
            if let Place::Header(name) = &place {
                names.borrow_mut().push(name.clone());
            }
            Ok(place)
        };
        let fields = [
            ("kind", Some(&self.kind)),
            ("queue", self.queue.as_ref()),
            ("reply_to", self.reply_to.as_ref()),
        ];
        let mut all = Vec::new();
        for (field, template) in fields {
            let Some(template) = template else { continue };
            // It was read before, without a mistake.
            let _ = TextTemplate::parse(template.source(), &read);
            all.extend(names.take().into_iter().map(|name| (field, name)));
        }
        all
    }

    /// The rule that it was made of.
    pub fn rule(&self) -> &MappingRule {
        &self.rule
    }

    /// What a delivery of a trigger becomes. Fails with the reason why it cannot become a job.
    pub(crate) fn map(&self, delivery: &Delivery, trigger: &str) -> Result<Mapped, Invalid> {
        if let Some(why) = &delivery.refused {
            return Err(Invalid::new("delivery", why));
        }
        let values = Values::new(delivery, trigger, self.rule.body);
        for condition in &self.filter {
            if !condition.holds(&values)? {
                return Ok(Mapped::LeftOut);
            }
        }
        let kind = filled("kind", &self.kind, &values)?;
        if !self.kind.is_plain() && !self.rule.kinds.contains(&kind) {
            let why = format!("{kind:?} is not one of the kinds that the mapping allows");
            return Err(Invalid::new("kind", why));
        }
        let mut draft = Draft::new(kind, self.args(&values)?);
        if let Some(queue) = &self.queue {
            draft.queue = filled("queue", queue, &values)?;
        }
        if let Some(lane) = &self.lane {
            draft.lane = filled_or_none(lane, &values)?;
        }
        self.set_rest(&mut draft);
        draft.extras.reply = self.reply(&values)?;
        let key = delivery.key();
        if !self.unique_for.is_zero() {
            draft.unique = Some(UniqueRule::by_key(format!("{trigger}/{key}")).within(self.unique_for));
        }
        draft.extras.meta = BTreeMap::from([("trigger".into(), trigger.into()), ("delivery".into(), key)]);
        let traceparent = delivery.header_value("traceparent");
        draft.extras.traceparent =
            traceparent.filter(|text| trace::check_traceparent(text).is_ok()).map(str::to_owned);
        Ok(Mapped::Job(Box::new(draft)))
    }

    /// Where messages about the job go.
    fn reply(&self, values: &Values<'_>) -> Result<Option<Reply>, Invalid> {
        let Some(to) = &self.reply_to else { return Ok(None) };
        let Some(to) = filled_or_none(to, values)? else { return Ok(None) };
        let correlation_id = filled_or_none(&self.correlation_id, values)?;
        Ok(Some(Reply { to, correlation_id, ..Reply::default() }))
    }

    fn args(&self, values: &Values<'_>) -> Result<Json, Invalid> {
        if let Some(template) = &self.args {
            return template.fill(&|place| values.json(place));
        }
        let body = values.body()?;
        match self.rule.pointer.as_deref() {
            None | Some("") => Ok(body.clone()),
            Some(pointer) => match place::at(body.as_str(), pointer) {
                Some(found) => Json::parse(found),
                None => Err(Invalid::new("body", format!("has nothing at {pointer}"))),
            },
        }
    }

    /// What does not depend on the delivery.
    fn set_rest(&self, draft: &mut Draft) {
        let MappingRule { priority, delay, timeout, max_attempts, tags, .. } = &self.rule;
        draft.priority = priority.unwrap_or(draft.priority);
        if let Some(delay) = delay {
            draft.start = When::In(*delay);
        }
        draft.extras.timeout = *timeout;
        draft.max_attempts = *max_attempts;
        draft.tags.clone_from(tags);
    }
}

/// A name from a template. `null` in it is refused.
fn filled(
    what: &'static str,
    template: &TextTemplate<Place>,
    values: &Values<'_>,
) -> Result<String, Invalid> {
    template.fill(&|place| {
        let json = values.json(place)?;
        if json == "null" {
            return Err(Invalid::new(what, format!("needs {place}, which the delivery does not have")));
        }
        Ok(json)
    })
}

/// The same; none where a value is `null`.
fn filled_or_none(template: &TextTemplate<Place>, values: &Values<'_>) -> Result<Option<String>, Invalid> {
    let is_none = std::cell::Cell::new(false);
    let text = template.fill(&|place| {
        let json = values.json(place)?;
        is_none.set(is_none.get() || json == "null");
        Ok(json)
    })?;
    Ok((!is_none.get()).then_some(text))
}

/// A mapping in the making.
#[derive(Debug, Clone)]
#[must_use = "a mapping is made by `build`"]
pub struct MappingBuilder {
    rule: MappingRule,
}

impl MappingBuilder {
    /// The queue: a name or a template.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.rule.queue = Some(queue.into());
        self
    }

    /// The lane: a name or a template.
    pub fn lane(mut self, lane: impl Into<String>) -> Self {
        self.rule.lane = Some(lane.into());
        self
    }

    /// 0 (served first) to 9.
    pub fn priority(mut self, priority: u8) -> Self {
        self.rule.priority = Some(priority);
        self
    }

    /// The jobs may run this much later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.rule.delay = Some(delay);
        self
    }

    /// Attempts allowed.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.rule.max_attempts = Some(attempts);
        self
    }

    /// Longest run of one attempt.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rule.timeout = Some(timeout);
        self
    }

    /// A label to filter by.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.rule.tags.push(tag.into());
        self
    }

    /// A kind that a template may name.
    pub fn allow_kind(mut self, kind: impl Into<String>) -> Self {
        self.rule.kinds.push(kind.into());
        self
    }

    /// How the body is read.
    pub fn body(mut self, format: BodyFormat) -> Self {
        self.rule.body = format;
        self
    }

    /// The args are the value at this JSON pointer of the body.
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.rule.pointer = Some(pointer.into());
        self
    }

    /// The args are this JSON with its places filled, such as `{{body/id}}` and `{{header.subject}}`.
    pub fn args(mut self, args: Json) -> Self {
        self.rule.args = Some(args);
        self
    }

    /// A condition that a delivery must meet, such as `header.x-event == push`.
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.rule.filter.push(condition.into());
        self
    }

    /// How long a job stands for its delivery; zero for never.
    pub fn unique_for(mut self, window: Duration) -> Self {
        self.rule.unique_for = Some(window);
        self
    }

    /// Where messages about the job go: a reply queue, or `broker:NAME/ADDRESS`; a name or a template.
    pub fn reply_to(mut self, to: impl Into<String>) -> Self {
        self.rule.reply_to = Some(to.into());
        self
    }

    /// The correlation id of those messages: a template. Default `{{header.correlation-id}}`.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.rule.correlation_id = Some(id.into());
        self
    }

    /// Checks it.
    pub fn build(self) -> Result<Mapping, Invalid> {
        Mapping::new(self.rule)
    }
}
