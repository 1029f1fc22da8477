//! Figures as Markdown tables. Pure.

use super::Row;
use super::bars::{Bar, Reached};
use super::figures::{median, spread};
use super::program::{Request, Scenario};

/// A Markdown table. What would break a cell is replaced.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let cell = |text: &String| text.replace('|', "/").replace('\n', " ");
    let mut text = line(header.iter().map(|&name| name.to_owned()).collect());
    text += &line(header.iter().map(|_| "---".to_owned()).collect());
    for row in rows {
        text += &line(row.iter().map(cell).collect());
    }
    text
}

/// Everybody at the same batch size.
pub(crate) fn peers(rows: &[Row], jobs_max: Option<u32>) -> String {
    let header = [
        "peer",
        "version",
        "store",
        "durability in force",
        "history",
        "jobs",
        "bulk/s, 1,000 a batch",
        "single/s",
        "drain/s",
        "pickup p50 ms",
        "p99 ms",
    ];
    let cells = rows.iter().map(|row| {
        let figures = &row.figures;
        let history = match figures.keeps_history {
            Some(true) => "retained",
            Some(false) => "deleted",
            None => "-",
        };
        let jobs = |scenario| whole(f64::from(Request::of(row.peer, scenario, jobs_max).jobs));
        vec![
            row.peer.name.to_owned(),
            row.version.clone(),
            row.peer.store.name().to_owned(),
            figures.durability.clone().unwrap_or_else(|| "-".to_owned()),
            history.to_owned(),
            format!("{} (single: {})", jobs(Scenario::Lifecycle), jobs(Scenario::Single)),
            rate(&figures.bulk_per_s),
            rate(&figures.single_per_s),
            rate(&figures.drain_per_s),
            millis(&figures.p50_ms),
            millis(&figures.p99_ms),
        ]
    });
    table(&header, &cells.collect::<Vec<_>>())
}

/// Everybody at a larger batch size.
pub(crate) fn larger_batches(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let batch = whole(f64::from(row.peer.batch_large));
        vec![row.peer.name.to_owned(), batch, rate(&row.figures.bulk_large_per_s)]
    });
    table(&["peer", "jobs a batch", "bulk/s"], &cells.collect::<Vec<_>>())
}

pub(crate) fn bars(bars: &[Bar]) -> String {
    let cells = bars.iter().map(|bar| {
        let (reached, verdict) = match &bar.reached {
            Reached::Met(words) => (words.as_str(), "met"),
            Reached::Missed(words) => (words.as_str(), "**missed**"),
            Reached::NotMeasured => ("-", "not measured"),
        };
        vec![bar.what.to_owned(), bar.mark.clone(), reached.to_owned(), verdict.to_owned()]
    });
    table(&["what", "mark", "reached", ""], &cells.collect::<Vec<_>>())
}

/// The faults of every peer, as a list; empty when there are none.
pub(crate) fn faults(rows: &[Row]) -> String {
    let lines = rows.iter().flat_map(|row| {
        // The same fault in every round is said once.
        let mut faults: Vec<&String> = Vec::new();
        for fault in &row.figures.faults {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        faults.into_iter().map(|fault| format!("- {}: {fault}\n", row.peer.name))
    });
    lines.collect()
}

fn rate(figures: &[f64]) -> String {
    shown(figures, |figure| whole(three_digits(figure)))
}

fn millis(figures: &[f64]) -> String {
    shown(figures, |figure| format!("{figure:.2}"))
}

/// The median, and from least to most where there is more than one.
fn shown(figures: &[f64], show: impl Fn(f64) -> String) -> String {
    match (median(figures), spread(figures)) {
        (Some(middle), Some((least, most))) if figures.len() > 1 => {
            format!("{} ({}–{})", show(middle), show(least), show(most))
        }
        (Some(middle), _) => show(middle),
        (None, _) => "-".to_owned(),
    }
}

/// More digits than these are noise.
fn three_digits(figure: f64) -> f64 {
    if figure <= 0.0 {
        return figure;
    }
    let unit = 10_f64.powf(figure.log10().floor() - 2.0).max(1.0);
    (figure / unit).round() * unit
}

/// `12,345`.
fn whole(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::super::peers::PEERS;
    use super::*;

    #[test]
    fn rates_have_three_digits_and_a_spread() {
        assert_eq!(rate(&[]), "-");
        assert_eq!(rate(&[36_412.0]), "36,400");
        assert_eq!(rate(&[36_412.0, 999.6, 120_055.0]), "36,400 (1,000–120,000)");
        assert_eq!(rate(&[87.0]), "87");
        assert_eq!(millis(&[1.2345, 10.0, 2.0]), "2.00 (1.23–10.00)");
    }

    #[test]
    fn cell_cannot_break_the_table() {
        let text = table(&["a", "b"], &[vec!["1|2".to_owned(), "x\ny".to_owned()]]);
        assert_eq!(text, "| a | b |\n| --- | --- |\n| 1/2 | x y |\n");
    }

    #[test]
    fn peer_that_failed_has_its_row_and_says_why_once() {
        let figures = Figures { faults: vec!["single: it broke".to_owned(); 3], ..Figures::default() };
        let rows = [Row { peer: &PEERS[1], version: "1.2.3".to_owned(), figures }];
        assert!(peers(&rows, Some(2_000)).contains("| graphile_worker | 1.2.3 | PostgreSQL | - | - | 2,000"));
        assert_eq!(faults(&rows), "- graphile_worker: single: it broke\n");
    }

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        let rows = [Row { peer: &PEERS[0], version: "1".to_owned(), figures: Figures::default() }];
        for text in [peers(&rows, None), larger_batches(&rows)] {
            let bars: Vec<_> = text.lines().map(|line| line.matches('|').count()).collect();
            assert_eq!(bars, [bars[0]; 3]);
        }
    }
}
