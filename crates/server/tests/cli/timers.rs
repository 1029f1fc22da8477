//! The files of `packaging/timers`, which let outside timers trigger a schedule.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{cli_support::Place, serve_support::Server};

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/timers");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// A place whose schedule `nightly` only outside timers start.
fn with_nightly() -> Place {
    let place = Place::new();
    place.json(["schedules", "put", "nightly", "--when", "0 2 * * *", "--kind", "report", "--paused"]);
    place
}

fn triggered(place: &Place) -> Vec<Value> {
    place.json(["schedules", "history", "nightly"])["entries"].as_array().unwrap().clone()
}

/// A cron of Debian with tables of its own, in a mount namespace. It is killed at the end of the test.
struct Cron(Child);

impl Cron {
    /// Starts it. Fails where there is no cron, or no right to make a namespace.
    fn start(place: &Place, table: &str) -> Self {
        let has = |program: &str| {
            Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok()
        };
        assert!(
            Path::new("/usr/sbin/cron").exists() && has("unshare"),
            "install cron and util-linux (Debian: apt-get install cron util-linux)"
        );
        let spool = place.path("spool");
        fs::create_dir(&spool).unwrap();
        fs::create_dir(place.path("none.d")).unwrap();
        fs::write(place.path("none"), "").unwrap();
        let path = spool.join("root");
        fs::write(&path, table).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mounts = "mount --bind spool /var/spool/cron/crontabs && mount --bind none.d /etc/cron.d && \
                      mount --bind none /etc/crontab && mount -t tmpfs tmpfs /run";
        let probe =
            Command::new("unshare").args(["-m", "sh", "-c", mounts]).current_dir(place.path(".")).output();
        let probe = probe.unwrap();
        assert!(
            probe.status.success(),
            "no mount namespace can be made, which the test of cron needs: {probe:?}"
        );
        let mut cron = Command::new("unshare");
        cron.args(["-m", "sh", "-c", &format!("{mounts} && exec /usr/sbin/cron -f")])
            .current_dir(place.path("."));
        Self(cron.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_crontab_line_triggers_the_schedule_once_for_each_key() {
    let place = with_nightly();
    let (store, binary) = (place.path("backroom.db"), PathBuf::from(env!("CARGO_BIN_EXE_backroom")));
    let table = file("crontab");
    let line = table.lines().find(|line| line.starts_with("0 2 ")).unwrap();
    // Every minute instead of every night; the rest of the line is as it is.
    let table = table
        .replace("sqlite:/var/lib/backroom/backroom.db", &format!("sqlite:{}", store.display()))
        .replace("PATH=", &format!("PATH={}:", binary.parent().unwrap().display()))
        .replace(line, &line.replacen("0 2 ", "* * ", 1));
    let _cron = Cron::start(&place, &table);
    #[expect(clippy::disallowed_methods, reason = "cron goes by real time")]
    let (now, pause) = (Instant::now, std::thread::sleep);
    let patience = now() + Duration::from_secs(150);
    let entries = loop {
        let entries = triggered(&place);
        if !entries.is_empty() {
            break entries;
        }
        assert!(now() < patience, "cron did not trigger the schedule");
        pause(Duration::from_millis(250));
    };
    let key = entries[0]["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("nightly-20") && key.len() == "nightly-2026-11-27".len(), "{key}");
    // What cron runs a second time on this day starts nothing.
    let again = place.json(["trigger", "nightly", "--key", &key]);
    assert_eq!(again["id"], entries[0]["job"]);
    assert_eq!(triggered(&place).len(), 1);
}

#[test]
fn the_command_of_the_systemd_unit_triggers_the_schedule() {
    let place = with_nightly();
    let unit = file("backroom-trigger@.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    // As systemd reads it.
    let start = start.replace("%%", "%").replace("%i", "nightly");
    let start = start.replace("/usr/bin/backroom", env!("CARGO_BIN_EXE_backroom"));
    let ran = place.command().get_current_dir().map(Path::to_path_buf).unwrap();
    for _ in 0..2 {
        let output = Command::new("sh").args(["-c", &start]).current_dir(&ran).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let entries = triggered(&place);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0]["key"].as_str().unwrap().starts_with("nightly-20"));
}

#[test]
fn the_timer_units_are_valid() {
    let version = Command::new("systemd-analyze").arg("--version").output();
    assert!(version.is_ok(), "install systemd-analyze (Debian: apt-get install systemd): {version:?}");
    let place = Place::new();
    let units = ["service", "timer"].map(|sort| {
        let unit = file(&format!("backroom-trigger@.{sort}"));
        let unit = unit.replace("/usr/bin/backroom", env!("CARGO_BIN_EXE_backroom"));
        let path = place.path(&format!("backroom-trigger@.{sort}"));
        fs::write(&path, unit).unwrap();
        place.path(&format!("backroom-trigger@nightly.{sort}"))
    });
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", place.path(".").display()))
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("backroom-trigger"), "{said}");
}

#[test]
fn the_request_of_the_logic_app_triggers_the_schedule() {
    let place = with_nightly();
    let server = Server::start(&place, &[]);
    let app: Value = serde_json::from_str(&file("logic-app.json")).unwrap();
    let inputs = &app["definition"]["actions"]["Trigger_nightly"]["inputs"];
    let url = inputs["uri"]
        .as_str()
        .unwrap()
        .replace("https://jobs.example.com", &format!("http://{}", server.address));
    for _ in 0..2 {
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "-X", inputs["method"].as_str().unwrap(), &url]);
        for (name, value) in inputs["headers"].as_object().unwrap() {
            // The server of this test has no token; the name of the run is what the app fills in.
            if name != "authorization" {
                let value = value.as_str().unwrap().replace("@{workflow().run.name}", "08584890127");
                curl.args(["-H", &format!("{name}: {value}")]);
            }
        }
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let entries = triggered(&place);
    assert_eq!((entries.len(), entries[0]["key"].as_str()), (1, Some("08584890127")), "{entries:?}");
}

#[test]
fn the_kubernetes_job_runs_the_command_with_the_name_of_its_job_as_the_key() {
    let text = file("cronjob.yaml");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("command: ")).unwrap();
    let command: Vec<String> = serde_json::from_str(line).unwrap();
    let place = with_nightly();
    let args: Vec<_> =
        command[1..].iter().map(|arg| arg.replace("$(JOB_NAME)", "backroom-nightly-29388600")).collect();
    place.run(&args).succeeded();
    assert_eq!(triggered(&place)[0]["key"], "backroom-nightly-29388600");
}
