//! Graph documents.

use std::fmt::Write as _;

use backroom_core::dependency::{
    EDGES_MAX, Edge, NODES_MAX, OnFailure,
    graph::{Graph, GraphError, Predecessor},
};
use proptest::{collection::vec, prelude::*};

use crate::job_id;

/// A document of jobs by name, each with the text of its `after`.
fn document(jobs: &[(&str, &str)]) -> String {
    let jobs: Vec<_> = jobs
        .iter()
        .map(|(name, after)| format!(r#"{{"name":{name:?},"job":{{"kind":"k"}},"after":[{after}]}}"#))
        .collect();
    format!(r#"{{"jobs":[{}]}}"#, jobs.join(","))
}

fn wrong(text: &str) -> (String, String) {
    let GraphError { pointer, why } = Graph::parse(text).unwrap_err();
    (pointer, why)
}

#[test]
fn a_graph_answers_with_an_order_and_the_edges_of_each_job() {
    let stored = "00000000-0000-0000-0000-00000000002a";
    let text = document(&[
        (
            "mail",
            &format!(
                r#"{{"name":"pack","on_failure":"run"}},"charge",{{"job":{stored:?},"on_failure":"wait"}}"#
            ),
        ),
        ("pack", r#""charge""#),
        ("charge", ""),
    ]);
    let graph = Graph::parse(&text).unwrap();
    assert_eq!(graph.order, [2, 1, 0]);
    assert_eq!(graph.nodes[0].job.as_str(), r#"{"kind":"k"}"#);
    let first = job_id(0x0190_0000_0000_7000_8000_0000_0000_0000);
    let edge = |predecessor, on_failure| Edge { predecessor, on_failure };
    assert_eq!(
        graph.edges(first, 0),
        [
            edge(first.nth(1), OnFailure::Run),
            edge(first.nth(2), OnFailure::Cancel),
            edge(job_id(42), OnFailure::Wait)
        ]
    );
    assert_eq!(graph.edges(first, 2), []);
    assert_eq!(graph.edges(first, 3), []);
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let cases = [
        (r#"{"jobs":[]}"#.to_owned(), "/jobs", "is empty; name at least one job"),
        (r#"{"jobs":[{"name":"a"}]}"#.into(), "/jobs/0", "is no job of a graph: missing field `job`"),
        (
            r#"{"jobs":[{"name":"a","job":1,"affter":[]}]}"#.into(),
            "/jobs/0",
            "is no job of a graph: unknown field `affter`",
        ),
        ("{".into(), "", "does not parse"),
        (r#"{"jobs":[],"more":1}"#.into(), "", "does not parse: unknown field `more`"),
        (document(&[("a", ""), (" b", "")]), "/jobs/1/name", r#"" b" begins or ends with white space"#),
        (document(&[("a", ""), ("", "")]), "/jobs/1/name", "is empty"),
        (
            document(&[("a", ""), ("b", ""), ("a", "")]),
            "/jobs/2/name",
            r#""a" is the name of /jobs/0 already; give each job its own"#,
        ),
        (document(&[("a", r#""b""#)]), "/jobs/0/after/0", r#""b" is the name of no job of the graph"#),
        (
            document(&[("a", ""), ("b", r#""a",{"name":"a","on_failure":"run"}"#)]),
            "/jobs/1/after/1",
            "names the same job as /jobs/1/after/0; once is enough",
        ),
        (
            document(&[("a", ""), ("b", r#"{"name":"a","on_failure":"explode"}"#)]),
            "/jobs/1/after/0",
            "is no predecessor; use",
        ),
        (document(&[("a", "7")]), "/jobs/0/after/0", "is no predecessor; use"),
        (document(&[("a", r#""a""#)]), "/jobs/0/after/0", r#"closes a cycle of 1 jobs: "a" -> "a""#),
        (
            document(&[("x", r#""c""#), ("a", r#""x0","c""#), ("b", r#""a""#), ("c", r#""b""#), ("x0", "")]),
            "/jobs/1/after/1",
            r#"closes a cycle of 3 jobs: "a" -> "b" -> "c" -> "a""#,
        ),
    ];
    for (text, pointer, why) in cases {
        let (at, said) = wrong(&text);
        assert_eq!(at, pointer, "{text}: {said}");
        assert!(said.starts_with(why), "{text}: {said}");
    }
    assert_eq!(
        GraphError::of_job(3, "/args", "is too large").to_string(),
        r#"graph is wrong at "/jobs/3/job/args": is too large"#
    );
}

#[test]
fn a_long_cycle_is_shown_by_its_ends() {
    let mut jobs = Vec::new();
    for n in 0..50_000 {
        jobs.push((format!("j{n}"), format!(r#""j{}""#, (n + 1) % 50_000)));
    }
    let jobs: Vec<_> = jobs.iter().map(|(name, after)| (name.as_str(), after.as_str())).collect();
    let (_, why) = wrong(&document(&jobs));
    assert!(why.starts_with(r#"closes a cycle of 50000 jobs: "j0" -> "j49999" -> "j49998""#), "{why}");
    assert!(why.contains(" -> (49981 more) -> "), "{why}");
    assert!(why.len() < 400, "{}", why.len());
}

#[test]
fn bounds_of_jobs_and_edges_are_held() {
    let many = |count: usize| {
        let mut text = String::from(r#"{"jobs":["#);
        for n in 0..count {
            let comma = if n == 0 { "" } else { "," };
            write!(text, r#"{comma}{{"name":"{n}","job":1}}"#).unwrap();
        }
        text + "]}"
    };
    assert_eq!(Graph::parse(&many(NODES_MAX)).unwrap().order.len(), NODES_MAX);
    assert!(wrong(&many(NODES_MAX + 1)).1.contains("holds 100001 jobs; at most 100000 are allowed"));

    let fan_in = |edges: usize| {
        let names: Vec<_> = (0..edges).map(|n| n.to_string()).collect();
        let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        let all = quoted.join(",");
        let mut jobs: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        jobs.push(("end", all.as_str()));
        document(&jobs)
    };
    assert_eq!(Graph::parse(&fan_in(EDGES_MAX)).unwrap().order.last(), Some(&EDGES_MAX));
    let (pointer, why) = wrong(&fan_in(EDGES_MAX + 1));
    assert_eq!(pointer, "/jobs/10001/after");
    assert!(why.starts_with("names 10001 predecessors; at most 10000 are allowed"), "{why}");
}

#[test]
fn a_chain_of_the_largest_size_needs_no_deep_stack() {
    let names: Vec<_> = (0..NODES_MAX).map(|n| n.to_string()).collect();
    let after: Vec<_> =
        (0..NODES_MAX).map(|n| if n == 0 { String::new() } else { format!("\"{}\"", n - 1) }).collect();
    let jobs: Vec<_> =
        names.iter().zip(&after).map(|(name, after)| (name.as_str(), after.as_str())).collect();
    assert_eq!(Graph::parse(&document(&jobs)).unwrap().order, (0..NODES_MAX).collect::<Vec<_>>());
}

/// Whether the edges have a cycle, by trying to remove jobs until none is left.
fn has_cycle(count: usize, edges: &[(usize, usize)]) -> bool {
    let mut left: Vec<usize> = (0..count).collect();
    loop {
        let free = |job: &usize| !edges.iter().any(|(from, to)| to == job && left.contains(from));
        let Some(at) = left.iter().position(free) else { return !left.is_empty() };
        left.remove(at);
    }
}

proptest! {
    #[test]
    fn a_graph_is_refused_exactly_if_it_has_a_cycle_and_the_cycle_shown_is_one(
        count in 1usize..8, edges in vec((0usize..8, 0usize..8), 0..14)
    ) {
        let mut edges: Vec<_> = edges.into_iter().filter(|(from, to)| from.max(to) < &count).collect();
        edges.sort_unstable();
        edges.dedup();
        let after = |job: usize| {
            let from: Vec<_> = edges.iter().filter(|(_, to)| *to == job).map(|(from, _)| format!("\"{from}\"")).collect();
            from.join(",")
        };
        let jobs: Vec<_> = (0..count).map(|job| (job.to_string(), after(job))).collect();
        let jobs: Vec<_> = jobs.iter().map(|(name, after)| (name.as_str(), after.as_str())).collect();
        match Graph::parse(&document(&jobs)) {
            Ok(graph) => {
                prop_assert!(!has_cycle(count, &edges));
                let place = |job| graph.order.iter().position(|at| *at == job).unwrap();
                for (from, to) in &edges {
                    prop_assert!(place(*from) < place(*to));
                }
                for (index, node) in graph.nodes.iter().enumerate() {
                    for edge in &node.after {
                        let Predecessor::Node(from) = edge.predecessor else { panic!("none is stored") };
                        prop_assert!(edges.contains(&(from, index)));
                    }
                }
            }
            Err(error) => {
                prop_assert!(has_cycle(count, &edges), "{}", error);
                let (_, ring) = error.why.split_once(": ").unwrap();
                let ring: Vec<usize> = ring.split(" -> ").map(|name| name.trim_matches('"').parse().unwrap()).collect();
                prop_assert_eq!(ring.first(), ring.last());
                for pair in ring.windows(2) {
                    prop_assert!(edges.contains(&(pair[0], pair[1])), "{}", error);
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        text in ".{0,60}", cut in 0usize..200, sign in prop::sample::select(vec!["\"", "{", "[", "}", ",", "\\", "7", "null"])
    ) {
        let _ = Graph::parse(&text);
        let document = document(&[("a", ""), ("b", r#""a",{"name":"a","on_failure":"run"}"#), ("c", r#"{"job":7}"#)]);
        let cut = cut.min(document.len());
        let _ = Graph::parse(&format!("{}{sign}{}", &document[..cut], &document[cut..]));
        let _ = Graph::parse(&document[..cut]);
    }
}
