//! Every command either asks a running server, or says clearly that it needs the store itself.

use std::collections::BTreeSet;

use backroom::{Backroom, EndedEndpoint, Timestamp};

use crate::{
    cli_support::{Place, Said},
    serve_support::Server,
};

/// What a command does with `--server`.
enum Does {
    /// It asks the server. These arguments make it succeed; `ID` stands for a job, `LEASE` and `MESSAGE` for a message that was taken.
    Ask(&'static [&'static str]),
    /// It asks the server, which has nothing of the last argument's name and says so.
    AskInVain(&'static [&'static str]),
    /// It acts for the server, but not without settings of its own, which it names.
    NeedSettings(&'static str),
    /// It needs the store, and refuses with the remedy.
    NeedStore(&'static [&'static str]),
    /// It acts on no store at all.
    Local(&'static [&'static str]),
    /// It acts on no store, but on the file of the last argument, which is not there.
    LocalInVain(&'static [&'static str]),
}
use Does::{Ask, AskInVain, Local, LocalInVain, NeedSettings, NeedStore};

/// Every command and each of its subcommands.
const COMMANDS: &[(&str, Does)] = &[
    ("enqueue", Ask(&["send_mail", "--queue", "mail"])),
    ("jobs", Ask(&[])),
    ("job", Ask(&["ID"])),
    ("tail", Ask(&["ID"])),
    ("amend", Ask(&["ID", "--priority", "1"])),
    ("reassign", Ask(&["--to-priority", "2", "--state", "queued"])),
    ("cancel", Ask(&["ID"])),
    ("retry", Ask(&["ID"])),
    ("delete", Ask(&["ID"])),
    ("queues", Ask(&[])),
    ("queues pause", Ask(&["mail"])),
    ("queues resume", Ask(&["default"])),
    ("queues retain", Ask(&["mail", "--completed", "1d"])),
    ("queues limit", Ask(&["mail", "100"])),
    ("replies", Ask(&[])),
    ("replies list", Ask(&["orders"])),
    ("replies take", Ask(&["orders", "--lease", "1h"])),
    ("replies acknowledge", Ask(&["orders", "--lease", "LEASE", "MESSAGE"])),
    ("replies release", Ask(&["orders", "--lease", "LEASE", "MESSAGE"])),
    ("work", NeedSettings("kinds")),
    ("workers", Ask(&[])),
    ("endpoints", Ask(&[])),
    ("endpoints enable", Ask(&["http://127.0.0.1:9/hook"])),
    ("stats", Ask(&[])),
    ("top", Ask(&[])),
    ("tokens", Ask(&[])),
    ("tokens list", Ask(&[])),
    ("tokens create", Ask(&["walker", "--scope", "read"])),
    ("tokens revoke", Ask(&["walker"])),
    ("audit", Ask(&[])),
    ("config", Ask(&[])),
    ("doctor", NeedStore(&[])),
    ("migrate", NeedStore(&[])),
    ("backup", NeedStore(&["copy.db"])),
    ("move", NeedStore(&["--from", "sqlite:backroom.db", "--to", "sqlite:other.db"])),
    ("demo", NeedStore(&["--pictures", "1"])),
    ("serve", NeedStore(&[])),
    ("bench", Ask(&["--jobs", "100"])),
    ("completions", Local(&["bash"])),
    ("triggers", Ask(&[])),
    ("triggers list", Ask(&[])),
    ("triggers show", AskInVain(&["none"])),
    ("triggers pause", AskInVain(&["none"])),
    ("triggers resume", AskInVain(&["none"])),
    ("triggers test", AskInVain(&["none"])),
    ("triggers dead-letters", Ask(&[])),
    ("triggers delete-dead-letters", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("triggers forget", AskInVain(&["none"])),
    ("triggers replay", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("schedules", Ask(&[])),
    ("schedules list", Ask(&[])),
    ("schedules put", Ask(&["nightly", "--when", "0 3 * * *", "--kind", "report"])),
    ("schedules show", AskInVain(&["none"])),
    ("schedules preview", Ask(&["0 3 * * *"])),
    ("schedules history", AskInVain(&["none"])),
    ("schedules pause", AskInVain(&["none"])),
    ("schedules resume", AskInVain(&["none"])),
    ("schedules trigger", AskInVain(&["none"])),
    ("schedules backfill", AskInVain(&["--dry-run", "--from", "1d", "none"])),
    ("schedules delete", AskInVain(&["none"])),
    ("trigger", AskInVain(&["none"])),
    ("signal", Ask(&["ID", "shipped"])),
    ("batch", Ask(&[])),
    ("batch open", Ask(&[])),
    ("batch show", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("batch close", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("batch reopen", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("batch cancel", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("batch retry", AskInVain(&["01890a5d-ac96-774b-bcce-b302099a8057"])),
    ("tree", Ask(&["ID"])),
    ("forget", Ask(&["--yes", "customer-7"])),
    ("keys", Local(&["--help"])),
    ("keys make", Local(&["payroll"])),
    ("keys list", LocalInVain(&["--file", "none.json"])),
    ("keys rotate", LocalInVain(&["payroll", "--file", "none.json"])),
    ("keys remove", LocalInVain(&["payroll.1", "--file", "none.json"])),
    ("keys public", LocalInVain(&["--out", "public.json", "--file", "none.json"])),
    ("keys needed", Ask(&[])),
    // The file is read first.
    ("graph", AskInVain(&["none.json"])),
];

/// The commands that the help lists.
fn listed(place: &Place, command: &[&str]) -> Vec<String> {
    let said = place.run(command.iter().copied().chain(["--help"]));
    let lines = said.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // A long description goes on in the next line, further to the right.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_is_in_the_table() {
    let place = Place::new();
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
    let mut there = BTreeSet::new();
    for command in listed(&place, &[]) {
        for sub in listed(&place, &[&command]) {
            there.insert(format!("{command} {sub}"));
        }
        there.insert(command);
    }
    let missing: Vec<_> = there.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "say in the table what these do with --server: {missing:?}");
    let gone: Vec<_> = known.iter().filter(|name| !there.contains(**name)).collect();
    assert!(gone.is_empty(), "these are no commands: {gone:?}");
}

/// A server whose store has a message in the reply queue `orders` and an endpoint that has ended.
fn server(place: &Place) -> Server {
    let id = place.enqueue(&["k", "--reply-to", "orders"]);
    place.run(["cancel", &id]).succeeded();
    let url = "http://127.0.0.1:9/hook".to_owned();
    let ended = EndedEndpoint { url, reason: "410 Gone".into(), ended_at: Timestamp::UNIX_EPOCH };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let backroom =
            Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap();
        backroom.store().end_endpoint(std::sync::Arc::new(ended)).await.unwrap();
        backroom.close().await.unwrap();
    });
    Server::start(place, &[])
}

#[test]
fn every_command_asks_the_server_or_says_that_it_needs_the_store() {
    for (name, does) in COMMANDS {
        let place = Place::new();
        let secret =
            place.run(["tokens", "create", "walks", "--scope", "admin"]).succeeded().out.trim().to_owned();
        if *name == "tokens revoke" {
            place.run(["tokens", "create", "walker", "--scope", "read"]).succeeded();
        }
        let server = server(&place);
        let url = format!("http://{}", server.address);
        // In another folder: a command that opened a store there would find none, or would leave one behind.
        let elsewhere = Place::new();
        let through = |args: &[&str]| -> Said {
            let mut command = elsewhere.command();
            command.env("BACKROOM_TOKEN", &secret).args(args).args(["--server", &url]);
            crate::cli_support::said(command.output().unwrap())
        };
        let args: &[&str] = match does {
            Ask(args) | AskInVain(args) | NeedStore(args) | Local(args) | LocalInVain(args) => args,
            NeedSettings(_) => &[],
        };
        let args: Vec<String> = args.iter().map(|arg| filled(arg, name, &through)).collect();
        let all: Vec<&str> = name.split(' ').chain(args.iter().map(String::as_str)).collect();
        let said = through(&all);
        match does {
            Ask(_) | Local(_) => assert_eq!(said.code, 0, "{name}: {said:?}"),
            AskInVain(_) | LocalInVain(_) => {
                assert!(said.code == 1 && !said.err.contains("the store itself"), "{name}: {said:?}");
                said.failed_naming(all[all.len() - 1]);
            }
            NeedSettings(what) => said.failed_naming(what),
            NeedStore(_) => said.failed_naming("needs the store itself"),
        }
        let is_left = elsewhere.path("backroom.db").exists();
        assert!(!is_left, "{name} made a store of its own beside the server's");
        server.stop();
    }
}

/// The argument, with what it stands for.
fn filled(arg: &str, command: &str, through: &dyn Fn(&[&str]) -> Said) -> String {
    match arg {
        "ID" => {
            let said = through(&["enqueue", "send_mail", "--delay", "1h", "--json"]);
            let id = said.json()["id"].as_str().unwrap().to_owned();
            if matches!(command, "tail" | "delete") {
                through(&["cancel", &id]).succeeded();
            }
            id
        }
        "LEASE" => {
            let said = through(&["replies", "take", "orders", "--lease", "1h", "--json"]);
            said.json()["lease"]["id"].as_str().unwrap().to_owned()
        }
        "MESSAGE" => {
            through(&["replies", "list", "orders", "--json"]).json()["id"].as_str().unwrap().to_owned()
        }
        other => other.to_owned(),
    }
}

#[test]
fn tail_goes_on_where_it_was_when_the_server_comes_back() {
    use std::io::{BufRead as _, BufReader};
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let port = server.address.port().to_string();
    let id = place.enqueue(&["nobody_runs_this", "--delay", "1h"]);
    let url = format!("http://{}", server.address);
    let mut command = place.command();
    command.args(["tail", &id, "--json", "--server", &url]).stdout(std::process::Stdio::piped());
    let mut tail = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["state"]["state"], "queued", "{first}");
    // Killed, so that the stream is cut in the middle of nothing; then on the same port again.
    drop(server);
    let mut again = place.command();
    again.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
    let server = Server::spawn(again);
    place.run(["cancel", &id, "--reason", "while it was away"]).succeeded();
    let rest: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(rest.len(), 1, "each event once: {rest:?}");
    assert_eq!(rest[0]["state"]["reason"], "while it was away");
    assert!(tail.wait().unwrap().success());
    server.stop();
}

/// What one server changed, the other one shows at once: both answer from the store.
#[test]
fn what_is_changed_through_one_server_is_shown_by_the_other() {
    let place = crate::side::place();
    let (one, other) = (Server::start(&place, &[]), Server::start(&place, &[]));
    let through = |server: &Server, args: &[&str]| -> Said {
        let url = format!("http://{}", server.address);
        let mut command = place.command();
        command.args(args).args(["--server", &url]);
        crate::cli_support::said(command.output().unwrap())
    };
    let id = through(
        &one,
        &["enqueue", "send_mail", "--queue", "mail", "--delay", "1h", "--reply-to", "orders", "--json"],
    );
    let id = id.json()["id"].as_str().unwrap().to_owned();
    // Each command on one server, and what the other one shows then.
    let steps: &[(&[&str], &[&str], &str)] = &[
        (&["amend", &id, "--priority", "1"], &["job", &id, "--json"], "\"priority\":1"),
        (&["queues", "pause", "mail"], &["queues", "--json"], "\"paused_at\":\""),
        (&["queues", "resume", "mail"], &["queues", "--json"], "\"paused_at\":null"),
        (&["queues", "limit", "mail", "7"], &["queues", "--json"], "\"depth_max\":7"),
        (&["cancel", &id, "--reason", "called off"], &["job", &id, "--json"], "called off"),
        (&["retry", &id], &["job", &id, "--json"], "\"available\""),
        (&["cancel", &id], &["replies", "list", "orders", "--json"], "cancelled"),
        (&["delete", &id], &["jobs", "--json"], "\"jobs\":[]"),
        (
            &["schedules", "put", "nightly", "--when", "0 3 * * *", "--kind", "k"],
            &["schedules", "--json"],
            "nightly",
        ),
        (&["schedules", "pause", "nightly"], &["schedules", "show", "nightly", "--json"], "\"operator\""),
        (
            &["schedules", "trigger", "nightly", "--key", "a"],
            &["schedules", "history", "nightly", "--json"],
            "triggered",
        ),
        (&["schedules", "delete", "nightly"], &["schedules", "--json"], "\"schedules\":[]"),
        (&["tokens", "create", "walker", "--scope", "admin"], &["tokens"], "without a token"),
    ];
    let mut turn = [&one, &other];
    for (act, show, wanted) in steps {
        through(turn[0], act).succeeded();
        let mut shown = through(turn[1], show);
        // A server without tokens asks the store once a second whether it has one.
        for _ in 0..100 {
            if shown.out.contains(wanted) || shown.code != 0 {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "processes of their own go by real time")]
            std::thread::sleep(std::time::Duration::from_millis(100));
            shown = through(turn[1], show);
        }
        let is_closed = *wanted == "without a token" && shown.err.contains("token");
        assert!(shown.out.contains(wanted) || is_closed, "{act:?}: {shown:?}");
        turn.reverse();
    }
    one.stop();
    other.stop();
}
