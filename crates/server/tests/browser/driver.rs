//! Installs the driver below `target`, and runs it against a server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::filled::Filled;

/// The browser's program, as the test environment or the system names it.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    found.expect("Chromium is missing: `cargo xtask test` installs it (Debian: apt-get install chromium)")
}

/// The folder with the driver and its packages.
fn installed(name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    // Tests that run at the same time must not write the same files.
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser").join(name);
    fs::create_dir_all(&to).unwrap();
    for file in ["package.json", "package-lock.json", "drive.mjs"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let stamp = to.join("node_modules/package-lock.json");
    let lock = fs::read(to.join("package-lock.json")).unwrap();
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&to);
        let output = npm.output().expect("npm starts: see `cargo xtask test`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(stamp, lock).unwrap();
    }
    to
}

/// Drives all pages of the server. `is_brief`: without pictures.
pub(crate) fn drive(filled: &Filled, name: &str, is_brief: bool) {
    let dir = installed(name);
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../screenshots").join(name);
    fs::create_dir_all(&shots).unwrap();
    let mut node = Command::new("node");
    node.arg("drive.mjs")
        .current_dir(&dir)
        .env("BACKROOM_URL", format!("http://{}", filled.server.address))
        .env("BACKROOM_TOKEN", &filled.token)
        .env("CHROMIUM", chromium())
        .env("SHOTS", &shots)
        .env("DATA", filled.data.to_string())
        .env("BRIEF", if is_brief { "1" } else { "" })
        .stdin(Stdio::null());
    let output = node.output().expect("Node.js starts: see `cargo xtask test`");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{}\n{}\n{}", said[0], said[1], filled.server.log());
}
