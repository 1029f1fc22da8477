//! Recurrence rules beside dateutil.

use backroom_core::schedule::rrule::Recurrence;
use jiff::civil::{DateTime, date};
use serde_json::json;

use crate::{chance::Chance, python::Python};

const CASES: usize = 1_000;
const COMPARED: usize = 8;

/// A random rule, as text.
struct Case {
    start: DateTime,
    parts: Vec<String>,
    from: DateTime,
}

impl Case {
    fn new(chance: &mut Chance) -> Self {
        let start = moment(chance, 2000, 2006);
        // dateutil walks period by period: rules below a day are few, and asked about near their start.
        let below = chance.one_in(8);
        let frequency = match below {
            true => *chance.pick(&["HOURLY", "MINUTELY", "SECONDLY"]),
            false => *chance.pick(&["YEARLY", "MONTHLY", "WEEKLY", "DAILY"]),
        };
        let with_dates = !below || chance.one_in(3);
        let mut parts = vec![format!("FREQ={frequency}")];
        if chance.one_in(2) {
            parts.push(format!("INTERVAL={}", chance.number(2, 14)));
        }
        let (yearly, monthly, weekly) =
            (frequency == "YEARLY", frequency == "MONTHLY", frequency == "WEEKLY");
        let mut has_by = false;
        let mut by = |chance: &mut Chance,
                      name: &str,
                      allowed: bool,
                      of: i64,
                      value: &dyn Fn(&mut Chance) -> String| {
            if allowed && chance.one_in(of) {
                let count = chance.number(1, 3);
                let values: Vec<String> = (0..count).map(|_| value(chance)).collect();
                parts.push(format!("{name}={}", values.join(",")));
                has_by = true;
            }
        };
        let signed = |chance: &mut Chance, max: i64| {
            let number = chance.number(1, max);
            if chance.one_in(3) { (-number).to_string() } else { number.to_string() }
        };
        let by_week = yearly && chance.one_in(6);
        by(chance, "BYMONTH", with_dates, 4, &|chance| chance.number(1, 12).to_string());
        by(chance, "BYWEEKNO", by_week, 1, &|chance| signed(chance, 52));
        by(chance, "BYYEARDAY", yearly && !by_week, 8, &|chance| signed(chance, 365));
        by(chance, "BYMONTHDAY", with_dates && !weekly && !by_week, 4, &|chance| signed(chance, 31));
        by(chance, "BYDAY", with_dates, if by_week { 1 } else { 3 }, &|chance| {
            let day = *chance.pick(&["MO", "TU", "WE", "TH", "FR", "SA", "SU"]);
            match (yearly || monthly) && !by_week && chance.one_in(2) {
                true => format!("{}{day}", signed(chance, 5)),
                false => day.to_owned(),
            }
        });
        by(chance, "BYHOUR", true, 5, &|chance| chance.number(0, 23).to_string());
        by(chance, "BYMINUTE", true, 6, &|chance| chance.number(0, 59).to_string());
        by(chance, "BYSECOND", true, 8, &|chance| chance.number(0, 59).to_string());
        // More than one occurrence in most periods, so that there is something to choose from.
        let is_rich = parts.iter().any(|part| part.contains(','));
        if has_by && is_rich && !below && chance.one_in(3) {
            parts.push(format!("BYSETPOS={}", signed(chance, 2)));
        }
        if chance.one_in(4) {
            parts.push(format!("WKST={}", chance.pick(&["MO", "SU", "WE", "SA"])));
        }
        match chance.number(0, 5) {
            0 => parts.push(format!("COUNT={}", chance.number(1, 60))),
            1 => parts.push(format!("UNTIL={}", basic(moment(chance, 2006, 2020)))),
            _ => {}
        }
        let from = match below {
            true => {
                start.checked_add(jiff::SignedDuration::from_hours(chance.number(-5, 100))).expect("in range")
            }
            false => moment(chance, 2000, 2015),
        };
        Self { start, parts, from }
    }

    fn text(&self) -> String {
        format!("DTSTART:{}\nRRULE:{}", basic(self.start), self.parts.join(";"))
    }

    fn has(&self, begin: &str) -> bool {
        self.parts.iter().any(|part| part.starts_with(begin))
    }
}

fn moment(chance: &mut Chance, first: i64, last: i64) -> DateTime {
    let small = |chance: &mut Chance, min, max| i8::try_from(chance.number(min, max)).expect("small");
    let year = i16::try_from(chance.number(first, last)).expect("a year");
    let day = date(year, small(chance, 1, 12), small(chance, 1, 28));
    day.at(small(chance, 0, 23), small(chance, 0, 59), small(chance, 0, 59), 0)
}

fn basic(at: DateTime) -> String {
    at.strftime("%Y%m%dT%H%M%S").to_string()
}

/// The next few at or after the case's moment, and what dateutil says.
fn ours(case: &Case) -> Vec<String> {
    let Ok(rule) = Recurrence::parse(&case.text(), "UTC") else { return Vec::new() };
    let one = jiff::SignedDuration::from_secs(1);
    let next =
        std::iter::successors(rule.at_or_after(case.from), |at| rule.at_or_after(at.checked_add(one).ok()?));
    next.take(COMPARED).map(|at| at.to_string()).collect()
}

/// Whether dateutil chooses by `BYSETPOS` from a first week that begins at the start and not on its first day.
fn has_cut_first_week(case: &Case) -> bool {
    case.has("FREQ=WEEKLY") && case.has("BYSETPOS")
}

/// Whether `BYDAY` has weekdays with a number and without: dateutil then asks for both at once, RFC 5545 for either.
fn mixes_ordinals(case: &Case) -> bool {
    let days = case.parts.iter().find_map(|part| part.strip_prefix("BYDAY="));
    days.is_some_and(|days| {
        days.split(',').any(|day| day.len() == 2) && days.split(',').any(|day| day.len() > 2)
    })
}

#[test]
fn a_thousand_recurrence_rules_agree_with_dateutil() {
    let mut chance = Chance(20_261_128);
    let mut python = Python::start();
    let (mut same, mut with_any, mut cut, mut mixed, mut endless) = (0, 0, 0, 0, 0);
    let mut unexplained = Vec::new();
    for _ in 0..CASES {
        let case = Case::new(&mut chance);
        let answer =
            python.ask(&json!({"rule": case.text(), "from": case.from.to_string(), "count": COMPARED}));
        let ours = ours(&case);
        if let Some(error) = answer["error"].as_str() {
            // dateutil walks period by period, so rare rules of seconds take it minutes.
            match (error.starts_with("Endless"), error.contains("empty set") && ours.is_empty()) {
                (true, _) => endless += 1,
                (false, true) => same += 1,
                (false, false) => unexplained.push(format!("{}: {error}", case.text())),
            }
            continue;
        }
        let theirs: Vec<String> = serde_json::from_value(answer["next"].clone()).expect("a list");
        if ours == theirs {
            same += 1;
            with_any += usize::from(!ours.is_empty());
        } else if has_cut_first_week(&case) {
            cut += 1;
        } else if mixes_ordinals(&case) {
            mixed += 1;
        } else {
            unexplained.push(format!("{} from {}: ours {ours:?}, theirs {theirs:?}", case.text(), case.from));
        }
    }
    println!(
        "dateutil: {same} agree, {with_any} of them with occurrences; {cut} cut weeks, {mixed} mixed ordinals, {endless} endless"
    );
    let first: Vec<&String> = unexplained.iter().take(20).collect();
    assert!(
        unexplained.is_empty(),
        "dateutil differs {} times without a reason: {first:#?}",
        unexplained.len()
    );
    assert!(
        same >= CASES * 8 / 10 && with_any >= CASES / 2,
        "only {same} agree, {with_any} with occurrences"
    );
}
