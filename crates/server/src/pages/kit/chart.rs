//! Small charts as SVG, drawn with attributes alone, because the policy of the pages forbids styles inside them.

use std::fmt::Write as _;

use maud::{Markup, html};

const WIDTH: usize = 300;
const HEIGHT: usize = 48;

/// One line of numbers, the oldest first.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    /// The class of its colour.
    pub(crate) class: &'a str,
    pub(crate) values: Vec<u64>,
}

/// Numbers over time as a line, with the largest and the last in words.
pub(crate) fn chart(series: &Series<'_>, unit: impl Fn(u64) -> String) -> Markup {
    let most = series.values.iter().copied().max().unwrap_or_default();
    let last = series.values.last().copied().unwrap_or_default();
    let words = format!("{}: now {}, at most {}", series.name, unit(last), unit(most));
    html! {
        figure class={ "chart " (series.class) } {
            figcaption { (series.name) " " strong { (unit(last)) } " " span.muted { "max " (unit(most)) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) role="img" aria-label=(words)
                preserveAspectRatio="none" {
                polyline points=(points(&series.values, most)) fill="none" stroke="currentColor" stroke-width="2"
                    vector-effect="non-scaling-stroke" {}
            }
        }
    }
}

fn points(values: &[u64], most: u64) -> String {
    let steps = values.len().saturating_sub(1).max(1) as f64;
    let most = most.max(1) as f64;
    let mut points = String::with_capacity(values.len() * 10);
    for (index, value) in values.iter().enumerate() {
        let x = index as f64 / steps * WIDTH as f64;
        let y = (HEIGHT - 2) as f64 - *value as f64 / most * (HEIGHT - 4) as f64;
        let _ = write!(points, "{x:.0},{y:.1} ");
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_its_numbers_and_has_no_style() {
        let series = Series { name: "Done", class: "good", values: vec![0, 2000, 1000] };
        let chart = chart(&series, crate::terminal::words::thousands).into_string();
        assert!(chart.contains("Done: now 1,000, at most 2,000"), "{chart}");
        assert!(chart.contains(r#"points="0,46.0 150,2.0 300,24.0 ""#), "{chart}");
        assert!(!chart.contains("style="));
    }

    #[test]
    fn no_numbers_and_zeros_alone_are_drawn_too() {
        assert_eq!(points(&[], 0), "");
        assert_eq!(points(&[0], 0), "0,46.0 ");
    }
}
