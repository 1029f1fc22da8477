//! Finds the processes that descend from this one, and sends them signals.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use rustix::process::{Pid, Signal, kill_process};

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) pid: i32,
    parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// It has ended and waits for its parent.
    is_zombie: bool,
}

/// All processes that descend from `root` and have not ended. Ids ascend, so children mostly follow their parents. Empty where
/// `/proc` cannot be read.
pub(super) fn of(root: i32) -> Vec<Seen> {
    descend(root, &all())
}

/// All processes of this machine's `/proc`.
pub(super) fn all() -> Vec<Seen> {
    let Ok(listed) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // A process that ends while the list is read is left out.
    let mut seen: Vec<_> =
        ids.filter_map(|pid| read(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect();
    seen.sort_unstable_by_key(|process| process.pid);
    seen
}

/// Sends a signal. A process that has ended by now is no error; one that this process may not signal stays.
pub(super) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 1) {
        let _ = kill_process(pid, signal);
    }
}

fn descend(root: i32, all: &[Seen]) -> Vec<Seen> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let (mut found, mut open) = (HashSet::new(), vec![root]);
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if *child != root && found.insert(*child) {
                open.push(*child);
            }
        }
    }
    all.iter().filter(|process| found.contains(&process.pid) && !process.is_zombie).copied().collect()
}

/// The second field is the command's name in brackets, which may contain any character. Behind it stand state, parent, group and
/// session.
fn read(pid: i32, stat: &str) -> Option<Seen> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = || fields.next()?.parse().ok();
    Some(Seen { pid, parent: number()?, group: number()?, session: number()?, is_zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Seen {
        Seen { pid, parent, group: 0, session: 0, is_zombie: false }
    }

    #[test]
    fn descendants_of_all_generations_are_found_and_no_others() {
        let zombie = Seen { is_zombie: true, ..process(6, 2) };
        let all = [
            process(1, 0),
            process(2, 1),
            process(3, 2),
            process(4, 1),
            process(5, 3),
            zombie,
            process(7, 6),
        ];
        let found = |root| descend(root, &all).iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(found(2), [3, 5, 7]);
        assert_eq!(found(4), [0; 0]);
        // A list that was read while ids were reused may hold a circle.
        assert_eq!(descend(2, &[process(2, 3), process(3, 2)]).len(), 1);
    }

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let seen = read(7, "7 (a) Z 9 9) S 1 5 6 0").unwrap();
        assert_eq!(seen, Seen { pid: 7, parent: 1, group: 5, session: 6, is_zombie: false });
        assert_eq!(read(7, "7 (a"), None);
    }

    #[test]
    fn a_real_child_is_found() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let found = of(i32::try_from(std::process::id()).unwrap());
        assert!(found.iter().any(|process| process.pid == id), "{found:?}");
        signal(id, Signal::KILL);
        child.wait().unwrap();
    }
}
