//! Specs made ready to be asked: all occurrences of a schedule, in order.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    calendar::{self, Calendar},
    cron::{Cron, Dialect},
    every::Every,
    mark::ClockMark,
    policy::Dst,
    rrule::Recurrence,
    spec::Spec,
    times::{HOURS_ALL, SIXTY_ALL},
    zone::{self, Reading, WallClock},
};
use crate::Invalid;

/// Most excluded occurrences that one search passes over. Whole excluded days and hours count once.
const EXCLUDED_MAX: u32 = 100_000;
/// Most specs of one schedule, and most exclusions.
pub const SPECS_MAX: usize = 32;

/// The occurrences of a schedule: the union of its specs without the exclusions, between start and end.
#[derive(Debug, Clone)]
pub struct Timetable {
    include: Vec<Rule>,
    except: Vec<Rule>,
    zone: TimeZone,
    dst: Dst,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

/// A spec that was parsed and checked.
#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>),
    Every(Every),
    Calendar(Calendar),
    Recurrence(Box<Recurrence>),
    At(Vec<Timestamp>),
}

impl Timetable {
    /// Reads the specs. The zone is a name of the IANA time zone database.
    pub fn new(specs: &[Spec], except: &[Spec], zone_name: &str, dst: Dst) -> Result<Self, Invalid> {
        let zone = zone::find(zone_name).map_err(|mistake| mistake.of("zone"))?;
        Self::in_zone(specs, except, zone_name, zone, dst)
    }

    /// The same with a zone that was found already.
    pub fn in_zone(
        specs: &[Spec],
        except: &[Spec],
        zone_name: &str,
        zone: TimeZone,
        dst: Dst,
    ) -> Result<Self, Invalid> {
        if specs.is_empty() {
            return Err(Invalid::new("schedule", "has no spec; say when it fires"));
        }
        if specs.len() > SPECS_MAX || except.len() > SPECS_MAX {
            let why =
                format!("has more than {SPECS_MAX} specs or exclusions; split it into several schedules");
            return Err(Invalid::new("schedule", why));
        }
        let read = |specs: &[Spec], is_exclusion: bool| -> Result<Vec<Rule>, Invalid> {
            specs.iter().map(|spec| Rule::new(spec, zone_name, &zone, is_exclusion)).collect()
        };
        let (include, except) = (read(specs, false)?, read(except, true)?);
        Ok(Self { include, except, zone, dst, starts_at: None, ends_at: None })
    }

    /// With no occurrence before `starts_at` and none after `ends_at`; one exactly at either counts.
    pub const fn between(mut self, starts_at: Option<Timestamp>, ends_at: Option<Timestamp>) -> Self {
        (self.starts_at, self.ends_at) = (starts_at, ends_at);
        self
    }

    /// The zone whose wall clock counts.
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first occurrence after `after`; none if there is no more.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut after = match self.starts_at {
            Some(start) if after < start => start.checked_sub(SignedDuration::from_nanos(1)).ok()?,
            _ => after,
        };
        for _ in 0..EXCLUDED_MAX {
            let next = self.include.iter().filter_map(|rule| self.next_of(rule, after)).min()?;
            if self.ends_at.is_some_and(|end| next > end) {
                return None;
            }
            match self.excluded_around(next) {
                None => return Some(next),
                Some((_, end)) => after = end.max(next),
            }
        }
        None
    }

    /// The last occurrence before `before`; none if there was none.
    pub fn previous_before(&self, before: Timestamp) -> Option<Timestamp> {
        let mut before = match self.ends_at {
            Some(end) if before > end => end.checked_add(SignedDuration::from_nanos(1)).ok()?,
            _ => before,
        };
        for _ in 0..EXCLUDED_MAX {
            let previous = self.include.iter().filter_map(|rule| self.previous_of(rule, before)).max()?;
            if self.starts_at.is_some_and(|start| previous < start) {
                return None;
            }
            match self.excluded_around(previous) {
                None => return Some(previous),
                Some((begin, _)) => before = begin.min(previous),
            }
        }
        None
    }

    /// What the clocks of the zone do at `at`: nothing at nearly all moments.
    pub fn mark(&self, at: Timestamp) -> Option<ClockMark> {
        zone::mark(&self.zone, at)
    }

    /// Whether `at` is an occurrence.
    pub fn includes(&self, at: Timestamp) -> bool {
        let before = at.checked_sub(SignedDuration::from_nanos(1));
        before.is_ok_and(|before| self.next_after(before) == Some(at))
    }

    fn next_of(&self, rule: &Rule, after: Timestamp) -> Option<Timestamp> {
        let on_wall = |wall: &dyn WallClock, wildcard: bool| {
            zone::next(&self.zone, self.reading(wildcard), wall, after)
        };
        match rule {
            Rule::Cron(cron) => on_wall(&cron.fields, cron.is_wildcard()),
            Rule::Calendar(calendar) => on_wall(calendar, false),
            Rule::Recurrence(rule) => {
                let next = on_wall(&rule.rule, rule.is_wildcard())?;
                rule.until_exact().is_none_or(|until| next <= until).then_some(next)
            }
            Rule::Every(every) => every.next(after),
            Rule::At(moments) => moments.get(moments.partition_point(|at| *at <= after)).copied(),
        }
    }

    fn previous_of(&self, rule: &Rule, before: Timestamp) -> Option<Timestamp> {
        let on_wall = |wall: &dyn WallClock, wildcard: bool, before: Timestamp| {
            zone::previous(&self.zone, self.reading(wildcard), wall, before)
        };
        match rule {
            Rule::Cron(cron) => on_wall(&cron.fields, cron.is_wildcard(), before),
            Rule::Calendar(calendar) => on_wall(calendar, false, before),
            Rule::Recurrence(rule) => {
                let until =
                    rule.until_exact().and_then(|at| at.checked_add(SignedDuration::from_nanos(1)).ok());
                on_wall(&rule.rule, rule.is_wildcard(), until.map_or(before, |until| before.min(until)))
            }
            Rule::Every(every) => every.previous(before),
            Rule::At(moments) => {
                let before = moments.partition_point(|at| *at < before);
                moments.get(before.checked_sub(1)?).copied()
            }
        }
    }

    const fn reading(&self, wildcard: bool) -> Reading {
        match (self.dst, wildcard) {
            (Dst::Once, false) => Reading::Once,
            (Dst::Once, true) | (Dst::Literal, _) => Reading::AsShown,
        }
    }

    /// The excluded stretch that `at` lies in: every moment from its begin to its end is excluded.
    fn excluded_around(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        self.except.iter().find_map(|rule| self.excluded_by(rule, at))
    }

    fn excluded_by(&self, rule: &Rule, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let local = self.zone.to_datetime(at);
        let whole_day = || {
            let begin = zone::resolve(&self.zone, local.date().to_datetime(jiff::civil::Time::midnight()));
            Some((
                begin.unwrap_or(at).min(at),
                calendar::end_of_day(&self.zone, local.date()).unwrap_or(at).max(at),
            ))
        };
        match rule {
            Rule::Cron(cron) => {
                let (fields, times) = (&cron.fields, &cron.fields.times);
                // An expression without seconds excludes the whole minute.
                let seconds = if fields.has_seconds { times.seconds } else { SIXTY_ALL };
                let is_in = fields.has_day(local.date())
                    && super::times::Times { seconds, ..*times }.contains(local.time());
                if !is_in {
                    return None;
                }
                let whole_hour = times.minutes == SIXTY_ALL && seconds == SIXTY_ALL;
                match (times.hours == HOURS_ALL && whole_hour, whole_hour) {
                    (true, _) => whole_day(),
                    (false, true) => self.stretch(at, 3600),
                    (false, false) if seconds == SIXTY_ALL => self.stretch(at, 60),
                    (false, false) => Some((at, at)),
                }
            }
            Rule::Calendar(calendar) if calendar.is_of_whole_days() => {
                calendar.has_date(local.date()).then(whole_day).flatten()
            }
            Rule::Calendar(_) | Rule::Every(_) | Rule::Recurrence(_) | Rule::At(_) => {
                let before = at.checked_sub(SignedDuration::from_nanos(1)).ok()?;
                (self.next_of(rule, before) == Some(at)).then_some((at, at))
            }
        }
    }

    /// The stretch of the wall clock of this many seconds around `at`, as far as the offset does not change in it.
    fn stretch(&self, at: Timestamp, secs: i64) -> Option<(Timestamp, Timestamp)> {
        let local = self.zone.to_datetime(at);
        let into = (i64::from(local.minute()) * 60 + i64::from(local.second())) % secs;
        let second = at.checked_sub(SignedDuration::from_nanos(local.subsec_nanosecond().into())).ok()?;
        let begin = second.checked_sub(SignedDuration::from_secs(into)).ok()?;
        let end = begin.checked_add(SignedDuration::new(secs - 1, 999_999_999)).ok()?;
        let offset = self.zone.to_offset(at);
        let is_steady = self.zone.to_offset(begin) == offset && self.zone.to_offset(end) == offset;
        Some(if is_steady { (begin, end) } else { (at, at) })
    }
}

impl Rule {
    fn new(spec: &Spec, zone_name: &str, zone: &TimeZone, is_exclusion: bool) -> Result<Self, Invalid> {
        let cron = |text: &str, dialect: Dialect, what: &'static str| {
            let parsed = Cron::parse(text, dialect).map_err(|mistake| mistake.of(what))?;
            Ok(Self::Cron(Box::new(parsed)))
        };
        match spec {
            Spec::Cron(text) => cron(text, Dialect::Vixie, "cron expression"),
            Spec::Quartz(text) => cron(text, Dialect::Quartz, "quartz expression"),
            Spec::Every(every) => every.check().map(|()| Self::Every(every.clone())),
            Spec::Calendar(calendar) => calendar.checked(is_exclusion).map(Self::Calendar),
            Spec::Rrule(text) => {
                let parsed = Recurrence::parse(text, zone_name).map_err(|mistake| mistake.of("rule"))?;
                Ok(Self::Recurrence(Box::new(parsed)))
            }
            Spec::At(moments) => calendar::resolve_all(moments, zone).map(Self::At),
        }
    }
}
