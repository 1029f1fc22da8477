//! What the figures depend on besides the programs: a figure without its conditions says nothing.

use std::path::Path;

use super::args::Asked;
use super::peers::Home;
use super::server::{self, Server};
use crate::system::{self, Repository};

/// The machine's load average at two moments.
pub(crate) struct Loads {
    pub(crate) at_start: String,
    pub(crate) at_measuring: String,
}

/// Names and what was found, in the order in which they are shown.
pub(crate) struct Conditions {
    pub(crate) list: Vec<(&'static str, String)>,
    pub(crate) rounds: u32,
    pub(crate) jobs_max: Option<u32>,
}

pub(crate) fn of(
    repository: &Repository,
    work: &Path,
    server: &Server,
    asked: &Asked,
    loads: &Loads,
) -> Conditions {
    let cores = std::thread::available_parallelism().map_or("unknown".to_owned(), |cores| cores.to_string());
    let mut list = vec![
        ("date", answer("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit(repository)),
        ("cores", format!("{cores}, {}", field("/proc/cpuinfo", "model name"))),
        ("memory", gibibytes(&field("/proc/meminfo", "MemTotal"))),
        ("system", answer("uname", &["-srm"])),
        ("disk", format!("PostgreSQL on {}, SQLite on {}", disk(&server.data_folder()), disk(work))),
        (
            "load average",
            format!("{} at the start, {} after the installation", loads.at_start, loads.at_measuring),
        ),
        ("PostgreSQL", format!("{}, {}", server.shows("server_version"), settings(server))),
        (
            "Rust",
            format!(
                "{}; release, debug = false, lto = off, for every Rust program",
                answer("rustc", &["--version"])
            ),
        ),
    ];
    if asked.peers.iter().any(|peer| peer.home == Home::Npm) {
        list.push(("Node.js", node(asked, work)));
    }
    if asked.peers.iter().any(|peer| peer.home == Home::PyPi) {
        list.push(("Python", answer("python3", &["--version"])));
    }
    Conditions { list, rounds: asked.rounds, jobs_max: asked.jobs_max }
}

pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let numbers: Vec<_> = text.split_whitespace().take(3).collect();
    if numbers.is_empty() { "unknown".to_owned() } else { numbers.join(" ") }
}

fn answer(program: &str, args: &[&str]) -> String {
    system::answer_of(program, args).unwrap_or_else(|| "unknown".to_owned())
}

fn commit(repository: &Repository) -> String {
    let root = repository.path("").display().to_string();
    let commit = answer("git", &["-C", &root, "rev-parse", "--short=12", "HEAD"]);
    // The result itself is not part of what was measured.
    let changed =
        answer("git", &["-C", &root, "status", "--porcelain", "--", ".", ":!bench/compare/RESULTS.md"]);
    if changed.is_empty() { commit } else { format!("{commit}, with changes that are not committed") }
}

/// The settings as the server shows them, not as they were asked for.
fn settings(server: &Server) -> String {
    let names = server::SETTINGS.iter().filter_map(|setting| setting.split_once('=')).map(|(name, _)| name);
    let shown =
        names.filter(|name| *name != "listen_addresses").map(|name| format!("{name} {}", server.shows(name)));
    format!("{}, everything else its default", shown.collect::<Vec<_>>().join(", "))
}

/// The kind of file system: on one in memory a sync costs nothing.
fn disk(path: &Path) -> String {
    let kind = answer("stat", &["-f", "-c", "%T", &path.display().to_string()]);
    if kind == "tmpfs" { "tmpfs (in memory: a sync costs nothing there)".to_owned() } else { kind }
}

fn node(asked: &Asked, work: &Path) -> String {
    let peer = asked.peers.iter().find(|peer| peer.home == Home::Npm);
    let program = peer.map(|peer| super::install::node_program(&work.join("npm").join(peer.folder)).program);
    answer(&program.unwrap_or_else(|| "node".into()).display().to_string(), &["--version"])
}

/// The first value of that name in a file of lines like `name : value`.
fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    field_in(&text, name).unwrap_or_else(|| "unknown".to_owned())
}

fn field_in(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

/// From how the system writes it, such as `24684096 kB`.
fn gibibytes(text: &str) -> String {
    match text.strip_suffix(" kB").and_then(|number| number.trim().parse::<f64>().ok()) {
        Some(kibibytes) => format!("{:.1} GiB", kibibytes / 1024.0 / 1024.0),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_gibibytes() {
        assert_eq!(gibibytes("24684096 kB"), "23.5 GiB");
        assert_eq!(gibibytes("unknown"), "unknown");
    }

    #[test]
    fn field_is_found_by_its_whole_name() {
        let text = "model\t: 1\nmodel name\t: A processor\nmodel name\t: Another\n";
        assert_eq!(field_in(text, "model name").as_deref(), Some("A processor"));
        assert_eq!(field_in(text, "name"), None);
    }
}
