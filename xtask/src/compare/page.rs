//! The page that is printed and stored. Pure.

use super::Row;
use super::bars::bars;
use super::conditions::Conditions;
use super::table;

pub(crate) fn text(rows: &[Row], conditions: &Conditions) -> String {
    let rounds = match conditions.rounds {
        1 => "One round".to_owned(),
        rounds => format!("The median of {rounds} rounds over all peers in turn (least–most)"),
    };
    let bound = match conditions.jobs_max {
        Some(most) => {
            format!(" A quick look: at most {most} jobs per measurement, so short ones weigh too much.")
        }
        None => String::new(),
    };
    let mut text = format!(
        "# Backroom and its peers, side by side\n\n\
         Written by `cargo xtask compare`; [README.md](README.md) says what is measured and with which settings. \
         {rounds}; a fresh database or file for every measurement; jobs of about 200 bytes with a handler that does \
         nothing; 50 slots in one process; single enqueues by 20 callers.{bound}\n\n"
    );
    text += &table::peers(rows, conditions.jobs_max);
    let faults = table::faults(rows);
    if !faults.is_empty() {
        text += &format!(
            "\n**Not measured, or not sound** (no figure is taken from an unsound run):\n\n{faults}"
        );
    }
    text += "\n## Bulk enqueue in larger batches\n\n";
    text += &table::larger_batches(rows);
    text += "\n## Our marks\n\n";
    text += &table::bars(&bars(rows));
    text += "\n## Conditions\n\n";
    for (name, found) in &conditions.list {
        text += &format!("- {name}: {found}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::super::peers::PEERS;
    use super::*;

    #[test]
    fn page_has_every_part() {
        let figures = Figures { faults: vec!["not installed: no network".to_owned()], ..Figures::default() };
        let rows = [Row { peer: &PEERS[2], version: "1.0.0".to_owned(), figures }];
        let conditions =
            Conditions { list: vec![("cores", "2".to_owned())], rounds: 3, jobs_max: Some(1_000) };
        let text = text(&rows, &conditions);
        for part in [
            "The median of 3 rounds",
            "at most 1000 jobs",
            "| apalis-postgres | 1.0.0 |",
            "- apalis-postgres: not installed: no network",
            "## Our marks",
            "- cores: 2",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
