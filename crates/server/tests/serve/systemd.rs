//! The server under systemd: what it reports, the socket that it is handed, and the unit files.
#![cfg(unix)]

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
};

/// The next report, without those of the watchdog.
fn report(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn systemd_is_told_when_the_server_is_ready_reloads_and_stops() {
    let place = Place::new();
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = place.command();
    command.env("NOTIFY_SOCKET", &path).args(["serve", "--listen", "127.0.0.1:0"]);
    let mut server = Server::spawn(command);
    assert!(report(&socket).starts_with("READY=1\n"));
    assert_eq!(server.get("/readyz").status, 200);
    server.signal("HUP");
    let reloading = report(&socket);
    assert!(reloading.starts_with("RELOADING=1\n") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(report(&socket).starts_with("READY=1\n"));
    server.signal("TERM");
    assert!(report(&socket).starts_with("STOPPING=1\n"));
    assert!(server.ended().success());
}

#[test]
fn the_watchdog_gets_signs_of_life() {
    let place = Place::new();
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = place.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").args([
        "serve",
        "--listen",
        "127.0.0.1:0",
    ]);
    let _server = Server::spawn(command);
    let mut signs = 0;
    while signs < 3 {
        signs += usize::from(report(&socket).starts_with("WATCHDOG=1"));
    }
}

#[test]
fn the_server_takes_the_socket_that_systemd_opened() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new("sh");
    command.current_dir(place.path(".")).stdin(Stdio::from(OwnedFd::from(listener)));
    // As systemd does it: the socket is the file descriptor 3, and LISTEN_PID names the process.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --listen 127.0.0.1:1";
    command.args(["-c", script, env!("CARGO_BIN_EXE_backroom")]);
    let server = Server::spawn(command);
    assert_eq!(server.address, address);
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn the_unit_files_are_valid() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    for name in ["backroom.service", "backroom.socket"] {
        let unit = std::fs::read_to_string(folder.join(name)).unwrap();
        // The program is not installed here.
        let unit = unit.replace("/usr/bin/backroom", env!("CARGO_BIN_EXE_backroom"));
        std::fs::write(place.path(name), unit).unwrap();
    }
    let units = ["backroom.service", "backroom.socket"].map(|name| place.path(name));
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("backroom."), "{said}");
}
