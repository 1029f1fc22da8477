//! Cron expressions beside croner, cronexpr and cronsim.

use std::collections::BTreeMap;

use backroom_core::{
    Timestamp,
    schedule::{Spec, Timetable, policy::Dst},
};
use jiff::{
    SignedDuration,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use serde_json::json;

use crate::{chance::Chance, cron_cases::Case, python::Python};

const CASES: usize = 10_000;

/// What an implementation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Next(i64),
    Never,
    Refused(String),
}

fn ours(expression: &str, case: &Case, dst: Dst) -> Answer {
    match Timetable::new(&[Spec::cron(expression)], &[], case.zone, dst) {
        Ok(timetable) => {
            timetable.next_after(case.at).map_or(Answer::Never, |at| Answer::Next(at.as_second()))
        }
        Err(error) if error.why.contains("can never fire") => Answer::Never,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

fn croner(case: &Case) -> Answer {
    use croner::parser::{CronParser, Seconds};
    let parser = CronParser::builder().seconds(Seconds::Optional).sloppy_ranges(true).build();
    let cron = match parser.parse(&case.expression()) {
        Ok(cron) => cron,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let zone = jiff_of_oracles::tz::TimeZone::get(case.zone).expect("a zone");
    let at = jiff_of_oracles::Timestamp::from_second(case.at.as_second()).expect("in range").to_zoned(zone);
    match cron.find_next_occurrence(&at, false) {
        Ok(next) => Answer::Next(next.timestamp().as_second()),
        Err(_) => Answer::Never,
    }
}

fn cronexpr(case: &Case) -> Answer {
    let text = format!("{} {}", case.expression(), case.zone);
    let crontab = match cronexpr::parse_crontab(&text) {
        Ok(crontab) => crontab,
        Err(error) => return Answer::Refused(error.to_string().lines().next().unwrap_or("").to_owned()),
    };
    let at = cronexpr::MakeTimestamp::from_second(case.at.as_second()).expect("in range");
    match crontab.find_next(at) {
        Ok(next) => Answer::Next(next.timestamp().as_second()),
        Err(_) => Answer::Never,
    }
}

fn cronsim(python: &mut Python, case: &Case) -> Answer {
    let question = json!({"cron": case.expression(), "zone": case.zone, "at": case.at.as_second()});
    let answer = python.ask(&question);
    match (answer["next"].as_i64(), answer["error"].as_str()) {
        (Some(next), _) => Answer::Next(next),
        (None, Some(error)) => Answer::Refused(error.to_owned()),
        (None, None) => Answer::Never,
    }
}

/// Kinds of differences, as the table in `docs/schedules.md` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The other one cannot read the expression: `L-3`, `W`, `LW`, or a field for seconds.
    NotRead,
    /// croner joins the two fields for days by OR, although one begins with `*`.
    NoStarRule,
    /// croner counts a list, a range or a step in a field of time as a wildcard, and goes by the wall clock.
    ListIsWildcard,
    /// cronsim answers with a moment in the past, if it starts in the second pass of a fold.
    InThePast,
    /// cronsim and cronexpr walk by whole hours, and lose minutes where the offset changes inside an hour.
    InsideAnHour,
    /// cronsim shows a midnight that does not exist, or skips the day, where clocks are set forward over midnight.
    GapAtMidnight,
    /// cronexpr gives up after some years.
    GivesUp,
    /// cronsim reads `2-2/5` as `2/5`.
    StepOfOne,
    /// cronsim goes by the wall clock as soon as there is a field for seconds.
    SecondsAreWildcards,
    /// The search of the other one does not end over some folds.
    Endless,
    /// cronexpr 1.7 misses the last day, or the last such weekday, of some months.
    LastDay,
}

#[derive(Default)]
struct Tally {
    same: usize,
    differences: BTreeMap<Kind, usize>,
    unexplained: Vec<String>,
}

impl Tally {
    fn add(&mut self, case: &Case, ours: &Answer, theirs: &Answer, explain: impl FnOnce() -> Option<Kind>) {
        let both_refuse =
            *ours == Answer::Never && matches!(theirs, Answer::Refused(why) if why.contains("Bad day"));
        if ours == theirs || both_refuse {
            self.same += 1;
        } else if let Some(kind) = explain() {
            *self.differences.entry(kind).or_default() += 1;
        } else {
            self.unexplained.push(format!(
                "{} in {} after {}: ours {}, theirs {}",
                case.expression(),
                case.zone,
                shown(case, &Answer::Next(case.at.as_second())),
                shown(case, ours),
                shown(case, theirs)
            ));
        }
    }

    #[expect(clippy::print_stdout, reason = "the figures of docs/schedules.md are read here")]
    fn check(&self, name: &str, same_min: usize) {
        println!("{name}: {} agree, {:?}", self.same, self.differences);
        let first: Vec<&String> = self.unexplained.iter().take(20).collect();
        assert!(
            self.unexplained.is_empty(),
            "{name} differs {} times without a reason: {first:#?}",
            self.unexplained.len()
        );
        assert!(self.same >= same_min, "{name} agrees only {} times", self.same);
    }
}

fn shown(case: &Case, answer: &Answer) -> String {
    let Answer::Next(second) = answer else { return format!("{answer:?}") };
    let zone = TimeZone::get(case.zone).expect("a zone");
    let at = Timestamp::from_second(*second).expect("in range");
    at.display_with_offset(zone.to_offset(at)).to_string()
}

fn explain_croner(case: &Case, theirs: &Answer) -> Option<Kind> {
    if matches!(theirs, Answer::Refused(_)) {
        return case.day().starts_with("L-").then_some(Kind::NotRead);
    }
    let without_star_rule = without_star_rule(case);
    if ours(&case.expression(), case, Dst::Literal) == *theirs {
        return Some(Kind::ListIsWildcard);
    }
    if ours(&without_star_rule, case, Dst::Once) == *theirs
        || ours(&without_star_rule, case, Dst::Literal) == *theirs
    {
        return Some(Kind::NoStarRule);
    }
    None
}

/// The same sets without a star at the beginning of a field for days, unless it is a star alone.
fn without_star_rule(case: &Case) -> String {
    let mut fields = case.fields.clone();
    let len = fields.len();
    let spelt = |field: &str, all: &str| field.replacen("*/", &format!("{all}/"), 1);
    fields[len - 3] = spelt(&fields[len - 3], "1-31");
    fields[len - 1] = spelt(&fields[len - 1], "0-6");
    fields.join(" ")
}

fn explain_cronsim(case: &Case, ours_once: &Answer, theirs: &Answer) -> Option<Kind> {
    if let Answer::Refused(why) = theirs {
        if why.starts_with("Endless") {
            return is_endless(case, ours_once).then_some(Kind::Endless);
        }
        let is_not_read = case.day().contains('W') || case.day().starts_with("L-");
        return is_not_read.then_some(Kind::NotRead);
    }
    if matches!(theirs, Answer::Next(next) if *next <= case.at.as_second()) && is_second_pass(case) {
        return Some(Kind::InThePast);
    }
    if has_step_of_one(case) {
        return Some(Kind::StepOfOne);
    }
    if case.has_seconds() && ours(&case.expression(), case, Dst::Literal) == *theirs {
        return Some(Kind::SecondsAreWildcards);
    }
    if goes_forward_over_midnight(case, ours_once, theirs) {
        return Some(Kind::GapAtMidnight);
    }
    changes_inside_an_hour(case, ours_once, theirs).then_some(Kind::InsideAnHour)
}

fn explain_cronexpr(case: &Case, ours_literal: &Answer, theirs: &Answer) -> Option<Kind> {
    const GIVES_UP_AFTER_SECS: i64 = 4 * 365 * 86_400;
    let theirs_is_later = match (ours_literal, theirs) {
        (Answer::Next(ours), Answer::Next(theirs)) => theirs > ours,
        (_, Answer::Never) => true,
        (_, Answer::Refused(_)) => {
            let is_not_read = case.has_seconds() || case.day() == "LW" || case.day().starts_with("L-");
            return is_not_read.then_some(Kind::NotRead);
        }
        (Answer::Never | Answer::Refused(_), Answer::Next(_)) => false,
    };
    if theirs_is_later && (case.weekday().ends_with('L') || case.day() == "L") {
        return Some(Kind::LastDay);
    }
    match (ours_literal, theirs) {
        (Answer::Next(ours), Answer::Never) if ours - case.at.as_second() > GIVES_UP_AFTER_SECS => {
            Some(Kind::GivesUp)
        }
        _ => changes_inside_an_hour(case, ours_literal, theirs).then_some(Kind::InsideAnHour),
    }
}

fn is_second_pass(case: &Case) -> bool {
    let zone = TimeZone::get(case.zone).expect("a zone");
    match zone.to_ambiguous_timestamp(zone.to_datetime(case.at)).offset() {
        AmbiguousOffset::Fold { after, .. } => zone.to_offset(case.at) == after,
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => false,
    }
}

fn has_step_of_one(case: &Case) -> bool {
    case.fields.iter().flat_map(|field| field.split(',')).any(|item| {
        let range = item.split_once('/').and_then(|(range, _)| range.split_once('-'));
        range.is_some_and(|(begin, end)| begin == end)
    })
}

/// Whether the offset changes by a part of an hour, or not on the hour, around the start or before the answers.
fn changes_inside_an_hour(case: &Case, ours: &Answer, theirs: &Answer) -> bool {
    changes(case, end_of(ours, theirs)).any(|(before, after)| {
        // A second before the change the wall clock shows the last second of an hour, if the change is on the hour.
        (before.minute(), before.second()) != (59, 59) || (after.minute(), after.second()) != (0, 0)
    })
}

fn goes_forward_over_midnight(case: &Case, ours: &Answer, theirs: &Answer) -> bool {
    let is_gap =
        |before: DateTime, after: DateTime| after.duration_since(before) > SignedDuration::from_secs(1);
    changes(case, end_of(ours, theirs))
        .any(|(before, after)| is_gap(before, after) && after.date() > before.date())
}

fn end_of(ours: &Answer, theirs: &Answer) -> i64 {
    let next = |answer: &Answer| match answer {
        Answer::Next(next) => Some(*next),
        Answer::Never | Answer::Refused(_) => None,
    };
    next(ours).max(next(theirs)).unwrap_or(i64::MAX)
}

/// The changes of the offset from two days before the start until two days after `end`: what the wall clock showed a second
/// before, and what it shows at the change.
fn changes(case: &Case, end: i64) -> impl Iterator<Item = (DateTime, DateTime)> {
    let zone = TimeZone::get(case.zone).expect("a zone");
    let second = |at: i64| Timestamp::from_second(at).expect("in range");
    let begin = case.at.as_second() - 172_800;
    let end = end.saturating_add(172_800).min(begin + 400 * 31_557_600);
    let moments: Vec<Timestamp> = zone
        .following(second(begin))
        .map(|change| change.timestamp())
        .take_while(|at| at.as_second() <= end)
        .collect();
    moments.into_iter().map(move |at| (zone.to_datetime(second(at.as_second() - 1)), zone.to_datetime(at)))
}

/// Whether the search of cronexpr 1.7 or cronsim 2.8 may not end: a clock is set back to the day before, or by a part of an hour.
fn is_endless(case: &Case, answer: &Answer) -> bool {
    let Answer::Next(end) = answer else { return true };
    changes(case, *end).any(|(before, after)| {
        let by = after.duration_since(before).as_secs() - 1;
        by < 0 && (by % 3600 != 0 || after.date() < before.date() || before.hour() == 23)
    })
}

#[test]
fn ten_thousand_expressions_agree_with_three_implementations() {
    let mut chance = Chance(20_261_127);
    let mut python = Python::start();
    let (mut with_croner, mut with_cronexpr, mut with_cronsim) =
        (Tally::default(), Tally::default(), Tally::default());
    for _ in 0..CASES {
        let case = Case::new(&mut chance);

        let once = ours(&case.expression(), &case, Dst::Once);

        let literal = ours(&case.expression(), &case, Dst::Literal);
        let theirs = croner(&case);

        with_croner.add(&case, &once, &theirs, || explain_croner(&case, &theirs));
        let theirs = cronsim(&mut python, &case);

        with_cronsim.add(&case, &once, &theirs, || explain_cronsim(&case, &once, &theirs));
        if is_endless(&case, &literal) {
            *with_cronexpr.differences.entry(Kind::Endless).or_default() += 1;
        } else {
            let theirs = cronexpr(&case);
            with_cronexpr.add(&case, &literal, &theirs, || explain_cronexpr(&case, &literal, &theirs));
        }
    }
    with_croner.check("croner", CASES * 8 / 10);
    with_cronsim.check("cronsim", CASES * 7 / 10);
    with_cronexpr.check("cronexpr", CASES * 6 / 10);
}
