//! After a run with marked secrets: nothing outside the worker that holds the key has any of them.
//!
//! Scanned are the memory of the server, the files of its store with the write-ahead log, a backup or a dump, its log, its metrics, and every
//! answer to a read, of the API and of the pages.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    process::Command,
};

use serde_json::json;

use crate::{
    cli_support::Place,
    postgres_place,
    serve_support::Server,
    support::{Working, finished, kind, until},
};

/// Its parts stand apart, so that the text is in no memory but that of programs that read the jobs.
const SECRET: [&str; 2] = ["brm-scanned", "-secret"];

/// Whether the bytes have a text. The search in texts is compiled with optimization; a loop here is not, and takes twenty times as long.
fn holds(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

/// Whether the memory of a process has a text. What cannot be read, such as the pages of the kernel, is passed over.
fn memory_holds(process: u32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut read = 0;
    let mut found = false;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        // Parts overlap, so that a text on the border of two is found.
        let (mut at, part) = (from, 4 << 20);
        while at < to {
            let mut bytes = vec![0; usize::try_from((to - at).min(part)).unwrap()];
            memory.seek(SeekFrom::Start(at)).unwrap();
            if memory.read_exact(&mut bytes).is_ok() {
                read += bytes.len();
                found |= holds(&bytes, text);
            }
            at += part - text.len() as u64;
        }
    }
    assert!(read > 1 << 20, "the memory of the process was read");
    found
}

/// The files below a folder that have a text.
fn files_with(text: &str, folder: &Path) -> String {
    // Files of a database come and go meanwhile, so the exit code says nothing.
    let found = Command::new("grep").args(["-rlsaF", text]).arg(folder).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[test]
fn nothing_outside_the_worker_has_a_secret_in_the_clear() {
    let office = Place::new();
    run_and_scan(&office);
    let backup = office.path("backup.db");
    office.run(["backup", &backup.display().to_string()]).succeeded();
    let folder = office.path("");
    assert_eq!(files_with(&SECRET.concat(), &folder), "");
    assert!(files_with("ciphertext", &folder).contains("backup.db"), "the scan finds what is there");
}

#[test]
fn nothing_of_a_database_and_its_dump_has_a_secret_in_the_clear() {
    let url = postgres_place::server();
    let store = postgres_place::with_schema(&url, "scanned");
    run_and_scan(&Place::of(store.clone()));
    let program = |name: &str| {
        let bin = Path::new(&postgres_place::variable("BACKROOM_TEST_PG_BIN")).join(name);
        let mut command = Command::new(bin);
        command.arg(format!("--dbname={url}"));
        command
    };
    let answer = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let schema = store.rsplit_once("schema=").unwrap().1;
    let dump = answer(program("pg_dump").arg(format!("--schema={schema}")));
    assert!(!dump.contains(&SECRET.concat()) && dump.contains("ciphertext"), "{dump}");
    // Tables and the write-ahead log, as they are on the disk.
    let sql = ["-XAtc", "CHECKPOINT", "-c", "SHOW data_directory"];
    let said = answer(program("psql").args(sql));
    let folder = Path::new(said.lines().last().unwrap());
    assert_eq!(files_with(&SECRET.concat(), folder), "");
    for part in ["base", "pg_wal"] {
        assert_ne!(
            files_with("ciphertext", &folder.join(part)),
            "",
            "the scan finds what is there in {part}"
        );
    }
}

/// Jobs with the secret in every value, and a scan of the server that serves them.
fn run_and_scan(office: &Place) {
    let secret = SECRET.concat();
    let script = "read args; echo \"log $args\" >&2; printf '%s' \"$args\"";
    let fails = "read args; echo \"error $args\" >&2; exit 65";
    let sealed = "[sensitive.pay]\nsealed = \"payroll\"\n[sensitive.refuse]\nsealed = \"payroll\"\n[worker]\nrun = false\n";
    let settings = fs::read_to_string(office.path("backroom.toml")).unwrap_or_default();
    let settings = [&settings, sealed, &kind("pay", script), &kind("refuse", fails)].concat();
    fs::write(office.path("backroom.toml"), settings).unwrap();
    office.run(["keys", "make", "payroll"]).succeeded();
    let keys = office.path("keys.json").display().to_string();
    let server = Server::start(office, &[]);
    let url = format!("http://{}", server.address);
    let args = json!({"iban": format!("{secret}-args")}).to_string();
    let mut ids = Vec::new();
    for kind in ["pay", "refuse"] {
        let key = format!("{secret}-unique");
        let line = [
            "enqueue",
            kind,
            "-",
            "--seal",
            "payroll",
            "--keys",
            &keys,
            "--server",
            &url,
            "--unique-key",
            &key,
            "--json",
        ];
        let said = office.run_with(args.as_bytes(), &line);
        ids.push(said.succeeded().json()["id"].as_str().unwrap().to_owned());
    }
    // In the clear it is refused.
    server.post("/v1/jobs", &json!({"kind": "pay", "args": {"iban": "x"}})).is_problem(422, "invalid");
    // Before a worker has the key the job stays, and says why.
    let worker = Working::start(office, &["--server", &url]);
    until("the job is explained", || {
        server.get(&format!("/v1/jobs/{}/explain", ids[0])).text().contains("does not have this key")
    });
    assert_eq!(server.get(&format!("/v1/jobs/{}", ids[0])).json()["attempt"], 0);
    worker.stop();
    let worker = Working::start(office, &["--server", &url, "--keys", &format!("file:{keys}")]);
    let done = finished(&server, &ids[0]);
    assert_eq!(done["state"], "completed", "{done}");
    let refused = finished(&server, &ids[1]);
    assert_eq!(refused["state"], "discarded", "{refused}");

    for path in reads(&server, &ids) {
        let answer = server.get(&path);
        assert!(!answer.text().contains(&secret), "{path}: {}", answer.text());
        assert!(answer.status < 500, "{path}: {}", answer.text());
    }
    assert!(!memory_holds(server.id(), &secret), "the memory of the server");
    assert!(memory_holds(server.id(), "ciphertext"), "the scan finds what is there");
    // Who has the key reads all of it.
    let opened = office.run(["job", &ids[0], "--keys", &keys, "--server", &url]);
    assert!(opened.succeeded().out.contains(&format!("{secret}-args")), "{opened:?}");
    assert!(opened.out.contains("log {"), "{opened:?}");
    let output = office.run(["job", &ids[0], "--keys", &keys, "--output"]).succeeded().json();
    assert_eq!(output["iban"], format!("{secret}-args"));
    let opened = office.run(["job", &ids[1], "--keys", &keys]);
    assert!(opened.succeeded().out.contains("error {"), "{opened:?}");
    assert!(office.json(["keys", "needed"])["keys"][0]["here"] == true);
    worker.stop();
    let log = server.stop();
    assert!(!log.contains(&secret), "{log}");
}

/// Every path that a caller can read, with these jobs.
fn reads(server: &Server, ids: &[String]) -> Vec<String> {
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let of_api =
        paths.iter().filter(|(_, methods)| methods.get("get").is_some()).map(|(path, _)| path.as_str());
    let pages = ["/", "/jobs", "/queues", "/queues/{name}", "/workers", "/audit", "/settings", "/jobs/{id}"];
    let parts =
        ["args.json", "output.json", "log.txt", "attempts.txt"].map(|part| format!("/jobs/{{id}}/{part}"));
    let mut all = Vec::new();
    for path in of_api.chain(pages).chain(parts.iter().map(String::as_str)) {
        let path = path.replace("{name}", "default").replace("{queue}", "default");
        for id in ids {
            all.push(path.replace("{id}", id));
            if path.starts_with("/v1/jobs/{id}") {
                all.push(format!("{}?reveal=true", path.replace("{id}", id)));
            }
        }
    }
    all.dedup();
    assert!(all.len() > 60, "{all:?}");
    all
}
