//! Random cron expressions, zones and moments.

use jiff::{Timestamp, tz::TimeZone};

use crate::chance::Chance;

pub(crate) struct Case {
    pub(crate) fields: Vec<String>,
    pub(crate) zone: &'static str,
    pub(crate) at: Timestamp,
}

/// With changes by an hour, by half an hour, at midnight, of a whole day; without any; with odd offsets; with a daylight
/// saving time that goes back.
const ZONES: [&str; 14] = [
    "UTC",
    "Europe/Oslo",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/St_Johns",
    "America/Santiago",
    "Europe/Dublin",
    "Asia/Tehran",
    "Africa/Monrovia",
    "Asia/Pyongyang",
];

impl Case {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let mut fields = vec![
            field(chance, 0, 59),
            field(chance, 0, 23),
            days(chance),
            field(chance, 1, 12),
            weekdays(chance),
        ];
        if chance.one_in(6) {
            fields.insert(0, field(chance, 0, 59));
        }
        // Many expressions at the hours at which clocks are changed.
        if chance.one_in(3) {
            let hour = fields.len() - 4;
            fields[hour] = chance.pick(&["0", "1", "2", "3", "0-3", "1,2", "*/2"]).to_string();
            let month = fields.len() - 2;
            fields[month] = "*".to_owned();
        }
        let zone = *chance.pick(&ZONES);
        Self { fields, zone, at: moment(chance, zone) }
    }

    pub(crate) fn expression(&self) -> String {
        self.fields.join(" ")
    }

    pub(crate) fn has_seconds(&self) -> bool {
        self.fields.len() == 6
    }

    pub(crate) fn day(&self) -> &str {
        &self.fields[self.fields.len() - 3]
    }

    pub(crate) fn weekday(&self) -> &str {
        &self.fields[self.fields.len() - 1]
    }
}

/// Between 1970 and 2037; half of them within hours of a change of the offset.
fn moment(chance: &mut Chance, zone: &str) -> Timestamp {
    let any = Timestamp::from_second(chance.number(0, 2_114_380_800)).expect("in range");
    if chance.one_in(2) {
        return any;
    }
    let zone = TimeZone::get(zone).expect("a zone of the list");
    let change = zone.following(any).next().map(|change| change.timestamp());
    change.map_or(any, |change| {
        Timestamp::from_second(change.as_second() + chance.number(-10_000, 10_000)).expect("in range")
    })
}

fn field(chance: &mut Chance, min: i64, max: i64) -> String {
    match chance.number(0, 9) {
        0..4 => "*".to_owned(),
        4 => format!("*/{}", chance.number(2, if max == 7 { 7 } else { 12 })),
        _ => list(chance, min, max),
    }
}

fn list(chance: &mut Chance, min: i64, max: i64) -> String {
    let items = if chance.one_in(3) { chance.number(2, 3) } else { 1 };
    (0..items).map(|_| item(chance, min, max)).collect::<Vec<_>>().join(",")
}

fn item(chance: &mut Chance, min: i64, max: i64) -> String {
    let (one, other) = (chance.number(min, max), chance.number(min, max));
    let (begin, end) = (one.min(other), one.max(other));
    match chance.number(0, 9) {
        0..6 => one.to_string(),
        6 | 7 => format!("{begin}-{end}"),
        8 => format!("{begin}-{end}/{}", chance.number(1, 7)),
        _ => format!("{begin}/{}", chance.number(2, 7)),
    }
}

fn days(chance: &mut Chance) -> String {
    match chance.number(0, 19) {
        0 => "L".to_owned(),
        1 => "LW".to_owned(),
        2 => format!("{}W", chance.number(1, 31)),
        3 => format!("L-{}", chance.number(1, 30)),
        4..12 => "*".to_owned(),
        _ => field(chance, 1, 31),
    }
}

fn weekdays(chance: &mut Chance) -> String {
    match chance.number(0, 19) {
        0 => format!("{}L", chance.number(0, 7)),
        1 => format!("{}#{}", chance.number(0, 7), chance.number(1, 5)),
        2 => chance.pick(&["MON-FRI", "SAT,SUN", "sun", "TUE-THU"]).to_string(),
        3..13 => "*".to_owned(),
        _ => field(chance, 0, 7),
    }
}
