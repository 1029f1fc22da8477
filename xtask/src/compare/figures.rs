//! What the answers of a peer's program are worth. Pure: it decides over values and does nothing.

use serde_json::Value;

use super::program::{Request, Scenario};

/// What all rounds of one peer have shown so far. A figure is taken only from a run that was sound.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) bulk_per_s: Vec<f64>,
    pub(crate) bulk_large_per_s: Vec<f64>,
    pub(crate) single_per_s: Vec<f64>,
    pub(crate) drain_per_s: Vec<f64>,
    pub(crate) p50_ms: Vec<f64>,
    pub(crate) p99_ms: Vec<f64>,
    /// As the program read it.
    pub(crate) durability: Option<String>,
    /// Whether finished jobs stay, as counted; none before a drain was sound.
    pub(crate) keeps_history: Option<bool>,
    /// Everything that went wrong, in words.
    pub(crate) faults: Vec<String>,
}

impl Figures {
    pub(crate) fn not_installed(&mut self, why: &str) {
        self.faults.push(format!("not installed: {}", why.lines().next().unwrap_or_default()));
    }

    /// Takes one answer, or the reason why there is none, and says what came of it.
    pub(crate) fn take(&mut self, request: &Request, answer: Result<Value, String>) -> String {
        let faults_before = self.faults.len();
        let heard = match answer {
            Ok(answer) => self.take_answer(request, &answer),
            Err(why) => {
                self.faults.push(format!("{}: {why}", request.scenario.name()));
                String::new()
            }
        };
        let faults = self.faults[faults_before..].join("; ");
        if faults.is_empty() { heard } else { format!("FAULT: {faults} {heard}").trim_end().to_owned() }
    }

    fn take_answer(&mut self, request: &Request, answer: &Value) -> String {
        if let Some(durability) = answer["durability"].as_str() {
            self.durability.get_or_insert_with(|| durability.to_owned());
        }
        let name = request.scenario.name();
        if request.scenario != Scenario::Pickup {
            let stored = answer["stored"].as_u64();
            if stored != Some(u64::from(request.jobs)) {
                let stored = stored.map_or("an unknown number".to_owned(), |stored| stored.to_string());
                self.faults.push(format!("{name}: the store holds {stored} of {} jobs", request.jobs));
                return String::new();
            }
        }
        match request.scenario {
            Scenario::Lifecycle => {
                let bulk = self.figure(name, &answer["bulk_per_s"], |figures| &mut figures.bulk_per_s);
                let drain = self.drain(request, &answer["drain"]);
                format!("bulk {bulk}/s, drain {drain}/s")
            }
            Scenario::BulkLarge => {
                let bulk = self.figure(name, &answer["bulk_per_s"], |figures| &mut figures.bulk_large_per_s);
                format!("bulk {bulk}/s")
            }
            Scenario::Single => {
                let single = self.figure(name, &answer["single_per_s"], |figures| &mut figures.single_per_s);
                format!("single {single}/s")
            }
            Scenario::Pickup => self.pickup(request, &answer["pickup"]),
        }
    }

    fn drain(&mut self, request: &Request, drain: &Value) -> String {
        match ended(request.jobs, drain) {
            Ok(keeps_history) => {
                self.keeps_history = Some(keeps_history);
                self.figure("drain", &drain["per_s"], |figures| &mut figures.drain_per_s)
            }
            Err(fault) => {
                self.faults.push(format!("drain: {fault}"));
                "-".to_owned()
            }
        }
    }

    fn pickup(&mut self, request: &Request, pickup: &Value) -> String {
        let samples = pickup["samples"].as_u64();
        if samples != Some(u64::from(request.jobs)) || pickup["lost"].as_u64() != Some(0) {
            let lost = pickup["lost"].as_u64().unwrap_or_default();
            self.faults.push(format!("pickup: {lost} jobs were not taken up in time"));
            return "pickup -".to_owned();
        }
        let p50 = self.figure("pickup", &pickup["p50_ms"], |figures| &mut figures.p50_ms);
        let p99 = self.figure("pickup", &pickup["p99_ms"], |figures| &mut figures.p99_ms);
        format!("pickup p50 {p50} ms, p99 {p99} ms")
    }

    /// Keeps a figure where it belongs, and says it.
    fn figure(&mut self, name: &str, found: &Value, place: fn(&mut Self) -> &mut Vec<f64>) -> String {
        match found.as_f64() {
            Some(figure) if figure.is_finite() && figure > 0.0 => {
                place(self).push(figure);
                format!("{figure:.2}")
            }
            _ => {
                self.faults.push(format!("{name}: there is no figure in the answer"));
                "-".to_owned()
            }
        }
    }
}

/// Whether every job ran exactly once and is finished, and then whether finished jobs are retained.
fn ended(jobs: u32, drain: &Value) -> Result<bool, String> {
    let jobs = u64::from(jobs);
    let number = |name: &str| drain[name].as_u64().ok_or_else(|| format!("the answer lacks `{name}`"));
    let (runs, distinct) = (number("runs")?, number("distinct")?);
    let (unfinished, finished) = (number("unfinished")?, number("finished")?);
    let mut faults = Vec::new();
    if distinct < jobs {
        faults.push(format!("{} of {jobs} jobs were not run in time", jobs - distinct));
    }
    if runs > distinct {
        faults.push(format!("{} runs too many", runs - distinct));
    }
    if unfinished > 0 {
        faults.push(format!("{unfinished} rows are left unfinished"));
    }
    if finished != 0 && finished != jobs {
        faults.push(format!("{finished} of {jobs} rows are retained"));
    }
    if faults.is_empty() { Ok(finished == jobs) } else { Err(faults.join(", ")) }
}

/// The middle one, or between the two in the middle; none of none.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The smallest and the largest; none of none.
pub(crate) fn spread(figures: &[f64]) -> Option<(f64, f64)> {
    let least = figures.iter().copied().reduce(f64::min)?;
    let most = figures.iter().copied().reduce(f64::max)?;
    Some((least, most))
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::*;
    use serde_json::json;

    fn request(scenario: Scenario) -> Request {
        Request::of(&PEERS[0], scenario, Some(1_000))
    }

    fn drained(runs: u64, distinct: u64, unfinished: u64, finished: u64) -> Value {
        json!({"per_s": 50.0, "runs": runs, "distinct": distinct, "unfinished": unfinished, "finished": finished})
    }

    #[test]
    fn median_is_the_middle_one_or_between_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 7.0]), Some(6.0));
    }

    #[test]
    fn spread_is_from_least_to_most() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[5.0, 9.0, 1.0]), Some((1.0, 9.0)));
    }

    #[test]
    fn history_is_what_was_counted() {
        assert_eq!(ended(100, &drained(100, 100, 0, 100)), Ok(true));
        assert_eq!(ended(100, &drained(100, 100, 0, 0)), Ok(false));
    }

    #[test]
    fn lost_repeated_and_unfinished_jobs_are_told() {
        for (drain, fault) in [
            (
                drained(97, 97, 3, 97),
                "3 of 100 jobs were not run in time, 3 rows are left unfinished, 97 of 100 rows are retained",
            ),
            (drained(105, 100, 0, 100), "5 runs too many"),
            (json!({"runs": 100}), "the answer lacks `distinct`"),
        ] {
            assert_eq!(ended(100, &drain).unwrap_err(), fault);
        }
    }

    #[test]
    fn figure_of_an_unsound_drain_is_not_taken() {
        let mut figures = Figures::default();
        let answer = json!({"stored": 1000, "bulk_per_s": 10.0, "drain": drained(1001, 1000, 0, 1000)});
        figures.take(&request(Scenario::Lifecycle), Ok(answer));
        assert_eq!((figures.bulk_per_s, figures.drain_per_s), (vec![10.0], vec![]));
        assert_eq!(figures.faults, ["drain: 1 runs too many"]);
    }

    #[test]
    fn figure_of_an_unsound_pickup_is_not_taken() {
        let mut figures = Figures::default();
        let answer = json!({"pickup": {"samples": 999, "lost": 1, "p50_ms": 1.0, "p99_ms": 2.0}});
        figures.take(&request(Scenario::Pickup), Ok(answer));
        assert!(figures.p50_ms.is_empty() && figures.p99_ms.is_empty());
        assert_eq!(figures.faults, ["pickup: 1 jobs were not taken up in time"]);
    }

    #[test]
    fn jobs_that_were_not_stored_make_no_figure() {
        let mut figures = Figures::default();
        figures.take(&request(Scenario::Single), Ok(json!({"stored": 999, "single_per_s": 10.0})));
        assert!(figures.single_per_s.is_empty());
        assert_eq!(figures.faults, ["single: the store holds 999 of 1000 jobs"]);
    }

    #[test]
    fn program_that_failed_is_a_fault() {
        let mut figures = Figures::default();
        let heard = figures.take(&request(Scenario::Pickup), Err("it was killed after 60 s".to_owned()));
        assert_eq!(heard, "FAULT: pickup: it was killed after 60 s");
        assert_eq!(figures.faults.len(), 1);
    }

    #[test]
    fn sound_answers_are_taken() {
        let mut figures = Figures::default();
        let answer = json!({"durability": "full", "stored": 1000, "bulk_per_s": 10.0, "drain": drained(1000, 1000, 0, 0)});
        figures.take(&request(Scenario::Lifecycle), Ok(answer));
        let answer = json!({"pickup": {"samples": 200, "lost": 0, "p50_ms": 1.5, "p99_ms": 3.0}});
        figures.take(&request(Scenario::Pickup), Ok(answer));
        assert_eq!((figures.drain_per_s, figures.keeps_history), (vec![50.0], Some(false)));
        assert_eq!((figures.p50_ms, figures.durability.as_deref()), (vec![1.5], Some("full")));
        assert!(figures.faults.is_empty());
    }
}
