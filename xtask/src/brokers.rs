//! Installs the message brokers that the tests start for themselves: Redis, NATS, Mosquitto and RabbitMQ.
//!
//! Each test starts throw-away brokers on free ports. The packages would start the brokers as services of the machine, too; that is
//! prevented while they are installed.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use backroom_testbed::BrokerKind;

use crate::failure::Failure;
use crate::system;

/// What Debian's packages ask before they start a service. 101 means that they may not.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Programs that the examples publish with, and their packages.
const CLIENTS: [(&str, &str); 3] =
    [("redis-cli", "redis-tools"), ("amqp-publish", "amqp-tools"), ("mosquitto_pub", "mosquitto-clients")];

/// Installs what is missing.
pub(crate) fn install() -> Result<(), Failure> {
    let missing = || -> Vec<&str> {
        let kinds = BrokerKind::ALL.into_iter().filter(|kind| kind.program().is_none());
        let clients = CLIENTS.iter().filter(|(program, _)| system::find_program(program).is_none());
        kinds.map(BrokerKind::package).chain(clients.map(|(_, package)| *package)).collect()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    if system::installs_with_apt() {
        let _no_services = NoServices::begin()?;
        system::apt_get_install(&packages)?;
        if missing().is_empty() {
            return Ok(());
        }
    }
    let list = packages.join(" ");
    Err(Failure::new(
        format!("message brokers are missing, with which tests start triggers: {list}"),
        format!(
            "install them as root (Debian: apt-get install {list}); the tests start them by themselves, no service has to run"
        ),
    ))
}

/// While it lives, packages start no services.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    /// A policy that the machine has already stays as it is.
    fn begin() -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY) {
            Ok(mut file) => {
                let written = file.write_all(b"#!/bin/sh\nexit 101\n");
                let allowed =
                    written.and_then(|()| fs::set_permissions(POLICY, Permissions::from_mode(0o755)));
                let begun = Self { is_ours: true };
                allowed.map(|()| begun).map_err(|error| unwritable(&error))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { is_ours: false }),
            Err(error) => Err(unwritable(&error)),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            // If it stays, packages that are installed later start no services.
            let _ = fs::remove_file(POLICY);
        }
    }
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{POLICY} could not be written: {error}"),
        "run it as root, or install the brokers by hand",
    )
}
