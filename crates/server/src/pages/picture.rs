//! The jobs around a job as a picture: what runs after what, from left to right, and the same as a list.

use std::collections::{BTreeMap, HashMap};

use backroom::{JobId, Tree, TreeEdge, TreeNode};
use maud::{Markup, html};

use super::kit;

/// Jobs of a picture, and lines between them. A page stays small.
pub(super) const JOBS_MAX: usize = 20;
const EDGES_MAX: usize = 60;
/// The box of a job.
const WIDTH: usize = 150;
const HEIGHT: usize = 44;
/// Between two columns, and between two jobs of one.
const ACROSS: usize = 50;
const DOWN: usize = 14;
/// Around all of it.
const BORDER: usize = 4;
/// So much of a kind fits into its box.
const KIND_CHARS_MAX: usize = 18;

/// The picture and the list of a tree with more than one job.
pub(super) fn picture(tree: &Tree) -> Markup {
    let places = places(tree);
    let columns = places.values().map(|(column, _)| column + 1).max().unwrap_or(1);
    let rows = places.values().map(|(_, row)| row + 1).max().unwrap_or(1);
    let width = columns * (WIDTH + ACROSS) - ACROSS + 2 * BORDER;
    let height = rows * (HEIGHT + DOWN) - DOWN + 2 * BORDER;
    html! {
        h2 { "Before and after it" }
        div.scroll role="region" aria-label="Jobs before and after it, as a picture" tabindex="0" {
            svg.tree width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="group"
                aria-label=(format!("{} jobs, each with lines to those that run after it", tree.jobs.len())) {
                @for edge in tree.edges.iter().take(EDGES_MAX) { (line(edge, &places)) }
                @for node in &tree.jobs {
                    @if let Some(place) = places.get(&node.job) { (job(node, *place, node.job == tree.root)) }
                }
            }
        }
        @if tree.more || tree.edges.len() > EDGES_MAX { p { "There are more than fit into the picture." } }
        details { summary { "The same as a list" } (list(tree)) }
    }
}

/// The column and the row of each job. A job stands right of all that it runs after.
fn places(tree: &Tree) -> HashMap<JobId, (usize, usize)> {
    let mut columns: BTreeMap<JobId, usize> = tree.jobs.iter().map(|node| (node.job, 0)).collect();
    // A graph has no circles, so no way is longer than there are jobs.
    for _ in 0..tree.jobs.len() {
        let mut is_settled = true;
        for edge in &tree.edges {
            let (Some(&before), Some(&after)) =
                (columns.get(&edge.predecessor), columns.get(&edge.dependant))
            else {
                continue;
            };
            if after <= before && before + 1 < tree.jobs.len() {
                columns.insert(edge.dependant, before + 1);
                is_settled = false;
            }
        }
        if is_settled {
            break;
        }
    }
    // Within a column they stand at the height of those before them.
    let mut places: HashMap<JobId, (usize, usize)> = HashMap::new();
    let last = columns.values().copied().max().unwrap_or_default();
    for column in 0..=last {
        let height = |job: JobId| -> usize {
            let before = tree.edges.iter().filter(|edge| edge.dependant == job);
            before
                .filter_map(|edge| places.get(&edge.predecessor))
                .map(|(_, row)| *row)
                .min()
                .unwrap_or_default()
        };
        let mut jobs: Vec<_> =
            columns.iter().filter(|(_, at)| **at == column).map(|(job, _)| (height(*job), *job)).collect();
        jobs.sort_unstable();
        for (row, (_, job)) in jobs.into_iter().enumerate() {
            places.insert(job, (column, row));
        }
    }
    places
}

fn corner((column, row): (usize, usize)) -> (usize, usize) {
    (BORDER + column * (WIDTH + ACROSS), BORDER + row * (HEIGHT + DOWN))
}

fn line(edge: &TreeEdge, places: &HashMap<JobId, (usize, usize)>) -> Markup {
    let (Some(from), Some(to)) = (places.get(&edge.predecessor), places.get(&edge.dependant)) else {
        return Markup::default();
    };
    let ((x, y), (to_x, to_y)) = (corner(*from), corner(*to));
    let (x, y, to_y) = (x + WIDTH, y + HEIGHT / 2, to_y + HEIGHT / 2);
    let bend = ACROSS / 2;
    let path =
        format!("M{x} {y}C{} {y} {} {to_y} {to_x} {to_y}m-6-4l6 4-6 4", x + bend, to_x.saturating_sub(bend));
    html! { path d=(path) {} }
}

fn job(node: &TreeNode, place: (usize, usize), is_root: bool) -> Markup {
    let (x, y) = corner(place);
    let (kind, state) = words(node);
    let short: String = if kind.chars().count() > KIND_CHARS_MAX {
        kind.chars().take(KIND_CHARS_MAX - 1).chain(['…']).collect()
    } else {
        kind.clone()
    };
    html! {
        a href=(format!("/jobs/{}", node.job)) aria-current=[is_root.then_some("true")] {
            rect class=(state) x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="6" {}
            text x=(x + 10) y=(y + 18) { (short) }
            text.muted x=(x + 10) y=(y + 35) { (state) }
        }
    }
}

/// The kind and the state of a job, also of one that was deleted.
fn words(node: &TreeNode) -> (String, &'static str) {
    let kind =
        node.kind.as_deref().map_or_else(|| "a deleted job".into(), |kind| kit::shown(kind).into_owned());
    (kind, node.state.map_or("deleted", backroom::State::as_str))
}

fn list(tree: &Tree) -> Markup {
    let before = |job: JobId| tree.edges.iter().filter(move |edge| edge.dependant == job).take(EDGES_MAX);
    html! {
        ul {
            @for node in &tree.jobs {
                @let (kind, state) = words(node);
                li {
                    (kit::job_link(node.job)) " " (kind) ", " (state)
                    @if node.job == tree.root { " (this one)" }
                    @for (number, edge) in before(node.job).enumerate() {
                        @if number == 0 { ", runs after " } @else { ", " }
                        (kit::job_link(edge.predecessor))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backroom::{
        State,
        core::dependency::{EdgeState, OnFailure},
    };
    use uuid::Uuid;

    use super::*;

    fn tree(jobs: u128, edges: &[(u128, u128)]) -> Tree {
        let id = |number| JobId(Uuid::from_u128(number));
        let node =
            |number| serde_json::json!({ "job": id(number), "kind": "<work>", "state": State::Queued });
        let edge = |(before, after): &(u128, u128)| {
            serde_json::json!({
                "predecessor": id(*before), "dependant": id(*after), "on_failure": OnFailure::Cancel, "state": EdgeState::Open,
            })
        };
        let tree = serde_json::json!({
            "root": id(1), "jobs": (1..=jobs).map(node).collect::<Vec<_>>(),
            "edges": edges.iter().map(edge).collect::<Vec<_>>(), "more": false,
        });
        serde_json::from_value(tree).unwrap()
    }

    #[test]
    fn a_job_stands_right_of_all_that_it_runs_after() {
        let edges = [(1, 2), (1, 3), (2, 4), (3, 4), (1, 4)];
        let tree = tree(4, &edges);
        let places = places(&tree);
        let column = |number| places[&JobId(Uuid::from_u128(number))].0;
        assert_eq!([1, 2, 3, 4].map(column), [0, 1, 1, 2]);
        let mut taken: Vec<_> = places.values().collect();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 4, "no two stand at one place");
    }

    #[test]
    fn a_picture_is_text_too_and_has_no_style() {
        let shown = picture(&tree(3, &[(1, 2), (2, 3)])).into_string();
        assert!(shown.contains("&lt;work&gt;, queued") && shown.contains("runs after"), "{shown}");
        assert!(!shown.contains("style=") && !shown.contains("<work>"), "{shown}");
        // Rows that say nonsense are drawn all the same.
        picture(&tree(2, &[(1, 2), (2, 1), (1, 9)]));
        picture(&tree(1, &[]));
    }
}
