//! The marks that we set ourselves, as ratios within one run. Pure.

use super::Row;
use super::figures::{Figures, median};
use super::peers::{Home, Store};

/// One mark and what was reached.
#[derive(Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) what: &'static str,
    pub(crate) mark: String,
    pub(crate) reached: Reached,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Reached {
    /// In words, with what it was compared with.
    Met(String),
    Missed(String),
    /// One side of it is not there.
    NotMeasured,
}

/// Every mark.
pub(crate) fn bars(rows: &[Row]) -> Vec<Bar> {
    vec![
        ratio(
            rows,
            "PostgreSQL: drain, history retained, against the best peer",
            Store::Postgres,
            1.8,
            drain,
        ),
        ratio(
            rows,
            "PostgreSQL: bulk enqueue in batches of 1,000, against the best peer",
            Store::Postgres,
            2.0,
            bulk,
        ),
        ratio(
            rows,
            "PostgreSQL: bulk enqueue, each at its better batch size",
            Store::Postgres,
            2.0,
            best_bulk,
        ),
        pickup(rows),
        ratio(rows, "SQLite: drain, history retained, against the best peer", Store::Sqlite, 3.0, drain),
        against_variants(rows),
    ]
}

/// A figure of one peer.
type Measure = fn(&Figures) -> Option<f64>;

fn drain(figures: &Figures) -> Option<f64> {
    median(&figures.drain_per_s)
}

fn bulk(figures: &Figures) -> Option<f64> {
    median(&figures.bulk_per_s)
}

fn best_bulk(figures: &Figures) -> Option<f64> {
    bulk(figures).into_iter().chain(median(&figures.bulk_large_per_s)).reduce(f64::max)
}

/// Against peers as their own documentation sets them up.
fn ratio(rows: &[Row], what: &'static str, store: Store, mark: f64, measure: Measure) -> Bar {
    let usual = |row: &&Row| row.peer.variant.is_empty();
    against(rows.iter().filter(usual), what, store, mark, measure)
}

/// What a peer does in a way that it does not document is no mark of ours, but worth knowing.
fn against_variants(rows: &[Row]) -> Bar {
    let others = |row: &&Row| row.peer.home == Home::Ours || !row.peer.variant.is_empty();
    let what = "SQLite: drain, against effectum set up as it does not document (write-ahead log)";
    against(rows.iter().filter(others), what, Store::Sqlite, 1.0, drain)
}

fn against<'a>(
    rows: impl Iterator<Item = &'a Row> + Clone,
    what: &'static str,
    store: Store,
    mark: f64,
    measure: Measure,
) -> Bar {
    let here = || rows.clone().filter(move |row| row.peer.store == store);
    let ours = here().filter(|row| row.peer.home == Home::Ours).find_map(|row| measure(&row.figures));
    let best = here()
        .filter(|row| row.peer.home != Home::Ours)
        .filter_map(|row| Some((measure(&row.figures)?, row.peer.name)))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let reached = match (ours, best) {
        (Some(ours), Some((best, name))) => {
            let words = format!("{:.2} × {name}", ours / best);
            if ours / best >= mark { Reached::Met(words) } else { Reached::Missed(words) }
        }
        _ => Reached::NotMeasured,
    };
    Bar { what, mark: format!("≥ {mark} ×"), reached }
}

fn pickup(rows: &[Row]) -> Bar {
    const MARK_MS: f64 = 2.0;
    let ours = rows.iter().find(|row| row.peer.home == Home::Ours && row.peer.store == Store::Postgres);
    let reached = match ours.and_then(|row| median(&row.figures.p50_ms)) {
        Some(p50) if p50 < MARK_MS => Reached::Met(format!("{p50:.2} ms")),
        Some(p50) => Reached::Missed(format!("{p50:.2} ms")),
        None => Reached::NotMeasured,
    };
    Bar { what: "PostgreSQL: pickup on an idle worker, p50", mark: format!("< {MARK_MS} ms"), reached }
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::*;

    fn row(name: &str, drain: f64, bulk: f64, large: f64, p50: f64) -> Row {
        let figures = Figures {
            drain_per_s: vec![drain],
            bulk_per_s: vec![bulk],
            bulk_large_per_s: vec![large],
            p50_ms: vec![p50],
            ..Figures::default()
        };
        let peer = PEERS.iter().find(|peer| peer.name == name).unwrap();
        Row { peer, version: String::new(), figures }
    }

    fn reached(rows: &[Row]) -> Vec<Reached> {
        bars(rows).into_iter().map(|bar| bar.reached).collect()
    }

    #[test]
    fn ratios_are_against_the_best_peer_on_the_same_store() {
        let rows = [
            row("backroom", 60.0, 150.0, 160.0, 1.5),
            row("pg-boss", 10.0, 60.0, 90.0, 500.0),
            row("graphile_worker", 30.0, 50.0, 50.0, 3.0),
            row("backroom-sqlite", 20.0, 1.0, 1.0, 1.0),
            row("effectum", 10.0, 1.0, 1.0, 1.0),
            row("effectum-wal", 15.0, 1.0, 1.0, 1.0),
        ];
        assert_eq!(
            reached(&rows),
            [
                Reached::Met("2.00 × graphile_worker".to_owned()),
                Reached::Met("2.50 × pg-boss".to_owned()),
                Reached::Missed("1.78 × pg-boss".to_owned()),
                Reached::Met("1.50 ms".to_owned()),
                Reached::Missed("2.00 × effectum".to_owned()),
                Reached::Met("1.33 × effectum-wal".to_owned()),
            ]
        );
    }

    #[test]
    fn mark_without_a_peer_or_without_us_is_not_measured() {
        let all_alone = reached(&[row("backroom", 60.0, 150.0, 160.0, 2.0)]);
        assert_eq!(all_alone[0], Reached::NotMeasured);
        assert_eq!(all_alone[3], Reached::Missed("2.00 ms".to_owned()));
        assert!(
            reached(&[row("effectum", 1.0, 1.0, 1.0, 1.0)]).iter().all(|bar| *bar == Reached::NotMeasured)
        );
    }
}
