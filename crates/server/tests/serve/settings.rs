//! Settings: where they come from, which is stronger, and what is refused.

use std::fs;

use crate::{cli_support::Place, serve_support::Server};

/// The setting as `backroom config --json` shows it.
fn setting(place: &Place, args: &[&str], key: &str) -> serde_json::Value {
    let shown = place.json(["config"].iter().chain(args));
    let found = shown["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key);
    found.unwrap_or_else(|| panic!("no {key} in {shown}")).clone()
}

#[test]
fn a_flag_is_stronger_than_a_variable_and_a_variable_than_the_file() {
    let place = Place::new();
    let key = "limits.body_bytes";
    assert_eq!(setting(&place, &[], key)["from"]["place"], "default");
    fs::write(place.path("backroom.toml"), "# comment\n[limits]\nbody_bytes = \"1MiB\"\n").unwrap();
    let of_file = setting(&place, &[], key);
    assert_eq!((&of_file["value"], &of_file["from"]["line"]), (&"1MiB".into(), &3.into()));
    let config = |args: &[&str]| {
        let mut command = place.command();
        command.env("BACKROOM_LIMITS_BODY_BYTES", "2MiB").args(["config", "--json"]).args(args);
        let shown: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        shown["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    let of_variable = config(&[]);
    assert_eq!(of_variable["value"], "2MiB");
    assert_eq!(of_variable["from"]["variable"], "BACKROOM_LIMITS_BODY_BYTES");
    let of_flag = config(&["--limits-body-bytes", "3MiB"]);
    assert_eq!(
        (&of_flag["value"], &of_flag["from"]["flag"]),
        (&"3MiB".into(), &"--limits-body-bytes".into())
    );
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_with_its_place_and_remedy() {
    let place = Place::new();
    let text = "lisen = [\"127.0.0.1:0\"]\ndrain = 30\n[limits]\nbody_bytes = \"4 parsecs\"\nbody_tme = \"1s\"\nbatch_jobs = \"many\"\n[tls]\ncertificate = \"missing.pem\"\n[colours]\na = 1\n";
    fs::write(place.path("backroom.toml"), text).unwrap();
    let mut command = place.command();
    command.env("BACKROOM_LIMITS_STREAMS", "0").args(["config", "--check", "--metrics-refresh", "soon"]);
    let said = crate::cli_support::said(command.output().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    for wanted in [
        "backroom.toml:1:1: there is no setting `lisen`; did you mean `listen`?",
        "backroom.toml:2:9: `drain` is a number; write a time with its unit",
        "backroom.toml:4:15: `limits.body_bytes` is no size; write a size with its unit",
        "backroom.toml:5:1: there is no setting `limits.body_tme`; did you mean `limits.body_time`?",
        "backroom.toml:6:15: `limits.batch_jobs` is not valid; write a whole number",
        "backroom.toml:8:16: `tls.certificate` names the file missing.pem, which cannot be read",
        "`tls.certificate` needs `tls.key`",
        "backroom.toml:9:2: there is no setting `colours`",
        "variable BACKROOM_LIMITS_STREAMS: `limits.streams` is not valid",
        "flag --metrics-refresh: `metrics.refresh` is not a span of time",
    ] {
        assert!(said.err.contains(wanted), "{wanted:?} is missing in:\n{}", said.err);
    }
    // The server refuses to start with them, and leaves nothing behind.
    place.run(["serve"]).failed_naming("did you mean `listen`?");
    assert!(!place.path("backroom.db").exists());
}

#[test]
fn text_that_is_no_toml_and_a_named_file_that_is_missing_are_refused() {
    let place = Place::new();
    fs::write(place.path("backroom.toml"), "a = 1\nb = = 2\n").unwrap();
    place.run(["config"]).failed_naming("backroom.toml:2:5: is no TOML");
    place.run(["config", "--config", "other.toml"]).failed_naming("other.toml: there is no such file");
    fs::write(place.path("latin.toml"), b"store = \"\xe9\"").unwrap();
    place.run(["config", "--config", "latin.toml"]).failed_naming("no UTF-8");
    fs::write(place.path("large.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    place.run(["config", "--config", "large.toml"]).failed_naming("larger than 1 MiB");
}

#[test]
fn a_password_in_the_url_of_the_store_is_not_shown() {
    let place = Place::new();
    let url = "postgres://ada:hunter2@db/jobs";
    let said = place.run(["config", "--store", url]);
    assert!(said.succeeded().out.contains("postgres://ada:***@db/jobs"), "{said:?}");
    assert_eq!(setting(&place, &["--store", url], "store")["from"]["flag"], "--store");
    assert!(!place.run(["config", "--json", "--store", url]).out.contains("hunter2"));
}

#[test]
fn a_variable_that_sets_nothing_is_reported_and_does_not_stop_the_server() {
    let place = Place::new();
    let mut command = place.command();
    command.env("BACKROOM_LIMITS_BODY_BYTE", "1MiB").env("BACKROOM_PORT", "tcp://10.0.0.1:80").arg("config");
    let said = crate::cli_support::said(command.output().unwrap());
    said.succeeded();
    assert!(said.err.contains("did you mean BACKROOM_LIMITS_BODY_BYTES?"), "{}", said.err);
}

#[cfg(unix)]
#[test]
fn a_reload_takes_what_may_change_and_a_broken_file_changes_nothing() {
    let place = Place::new();
    let file = place.path("backroom.toml");
    fs::write(&file, "drain = \"20s\"\n").unwrap();
    let mut command = place.command();
    command.env("BACKROOM_LOG", "info").args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::spawn(command);
    fs::write(&file, "drain = \"10s\"\nstore = \"sqlite:other.db\"\n").unwrap();
    server.signal("HUP");
    server.line_with("setting `store` stays \"sqlite:backroom.db\" until the server is restarted");
    server.line_with("setting `drain` is now \"10s\"; it was \"20s\"");
    server.line_with("the settings were reloaded");
    fs::write(&file, "drain = 10\n").unwrap();
    server.signal("HUP");
    server.line_with("backroom.toml:1:9: `drain` is a number");
    server.line_with("the old ones stay in effect");
    assert_eq!(server.get("/v1/queues").status, 200);
    server.stop();
}

#[test]
fn a_command_beside_the_server_uses_the_store_of_the_settings_file() {
    let place = Place::new();
    fs::write(place.path("backroom.toml"), "store = \"sqlite:jobs.db\"\n").unwrap();
    place.enqueue(&["send_mail", "{}", "--queue", "mail"]);
    assert!(place.path("jobs.db").exists() && !place.path("backroom.db").exists());
    let server = Server::start(&place, &[]);
    assert_eq!(server.get("/v1/queues").json()["queues"][0]["name"], "mail");
    place.enqueue(&["send_mail", "{}", "--store", "sqlite:other.db"]);
    assert!(place.path("other.db").exists());
    fs::write(place.path("backroom.toml"), "stor = 1\n").unwrap();
    place.run(["jobs"]).failed_naming("did you mean `store`?");
}

#[test]
fn callbacks_need_a_secret_and_no_secret_is_shown() {
    let place = Place::new();
    place
        .run(["config", "--callbacks-send", "true"])
        .failed_naming("`callbacks.send` is true, but there is no secret");
    let secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";
    let args = ["--callbacks-send", "true", "--callbacks-secrets", secret];
    let said = place.run(["config"].iter().chain(&args));
    assert!(said.succeeded().out.contains("(hidden)") && !said.out.contains(secret), "{said:?}");
    let said = place.run(["config", "--callbacks-send", "true", "--callbacks-secrets", "hunter2"]);
    said.failed_naming("flag --callbacks-secrets: `callbacks.secrets`");
    assert!(!said.err.contains("hunter2"), "{said:?}");
    let server = Server::start(&place, &args);
    // It registers with its first heartbeat.
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    let began = std::time::Instant::now();
    while place.json(["workers"])["workers"][0]["queues"][0][0] != "backroom.callbacks" {
        assert!(began.elapsed() < crate::serve_support::PATIENCE, "no worker sends callbacks");
    }
    assert!(!server.stop().contains(secret));
}

#[cfg(unix)]
#[test]
fn a_file_with_a_secret_that_everyone_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let file = place.path("backroom.toml");
    fs::write(&file, "[callbacks]\nsecrets = [\"whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0\"]\n").unwrap();
    let allow = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o644);
    place.run(["config"]).failed_naming("chmod o-r mends that");
    allow(0o640);
    place.run(["config"]).succeeded();
}

#[test]
fn tables_by_name_are_read_and_shown_with_their_places() {
    let place = Place::new();
    let text = "[kinds.thumbnail]\ncommand = [\"python3\", \"a,b.py\"]\nenv = { TOKEN = \"geheim\" }\n\n[kinds.\"mail.send\"]\ncommand = [\"send\"]\ngrace = \"2s\"\n";
    fs::write(place.path("backroom.toml"), text).unwrap();
    let command = setting(&place, &[], "kinds.thumbnail.command");
    assert_eq!((&command["value"], &command["from"]["line"]), (&r#"["python3","a,b.py"]"#.into(), &2.into()));
    let grace = setting(&place, &[], "kinds.mail.send.grace");
    assert_eq!((&grace["value"], &grace["from"]["line"]), (&"2s".into(), &7.into()));
    assert_eq!(setting(&place, &[], "kinds.thumbnail.env")["value"], "(hidden)");
    let shown = place.run(["config"]);
    assert!(shown.out.contains("kinds.thumbnail.command") && !shown.out.contains("geheim"), "{shown:?}");
    assert!(!shown.out.contains("kinds.thumbnail.folder"), "only what the file sets: {shown:?}");
}

#[test]
fn everything_that_is_wrong_in_tables_by_name_is_reported_at_once() {
    let place = Place::new();
    let text = "\
[kinds.one]
comand = [\"x\"]
grace = 5
[kinds.mail.send]
command = [\"x\"]
[kinds.\"bad\\nname\"]
command = [\"x\"]
[kinds.text]
command = \"resize --fast\"
memory = \"1 lot\"
env = { A = 1 }
[kind.two]
command = [\"x\"]
";
    fs::write(place.path("backroom.toml"), text).unwrap();
    let said = crate::cli_support::said(place.command().args(["config", "--check"]).output().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    for wanted in [
        "backroom.toml:2:1: there is no setting `comand` in [kinds.one]; did you mean `command`?",
        "backroom.toml:3:9: `kinds.one.grace` is a number; write a time with its unit",
        "backroom.toml:1:8: `kinds.one.command` names no program; write one such as",
        "backroom.toml:4:13: there is no setting `send` in [kinds.mail]; a name with a dot needs quotes: [kinds.\"mail.send\"]",
        "backroom.toml:6:9: kind \"bad\\nname\" holds the control character",
        "backroom.toml:9:12: `kinds.text.command` is a string; write an array of strings",
        "backroom.toml:10:11: `kinds.text.memory` is no size",
        "backroom.toml:11:7: `kinds.text.env` has a number as `A`; write a table of strings",
        "backroom.toml:12:2: there is no setting `kind`; did you mean `kinds`?",
    ] {
        assert!(said.err.contains(wanted), "{wanted:?} is missing in:\n{}", said.err);
    }
    fs::write(place.path("backroom.toml"), "kinds = 1\n").unwrap();
    place
        .run(["config", "--check"])
        .failed_naming("backroom.toml:1:1: `kinds` needs a name; write [kinds.NAME]");
    fs::write(place.path("backroom.toml"), "[kinds]\ncommand = [\"x\"]\n").unwrap();
    place
        .run(["config", "--check"])
        .failed_naming("backroom.toml:2:1: `kinds` needs a name; write [kinds.NAME]");
}
