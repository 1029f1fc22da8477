//! Emulators of the services of clouds, to throw away: moto for S3 and SQS, Azurite for Azure Storage. `cargo xtask emulators` installs
//! them.
//!
//! An emulator reads its standard input and ends with it. So it ends with the program that started it, also if that one is killed.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Failure, wait_until};

/// Names the folder where they are installed.
pub const EMULATORS_VARIABLE: &str = "BACKROOM_TEST_EMULATORS";
/// The account that Azurite has.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// The key of that account, which everyone knows.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// How long an emulator may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Starts moto, which ends with its standard input. Each line of that input is a bucket, a number, a content and a key with `#` for a
/// number, between tabs: so many objects are put at once, faster than requests could.
const MOTO: &str = "\
import os, sys, threading
def read():
    for line in open(0, encoding='utf-8', closefd=False):
        from moto.s3.models import s3_backends
        bucket, count, content, key = line.rstrip('\\n').split('\\t')
        backend = s3_backends['123456789012']['aws']
        for n in range(int(count)):
            backend.put_object(bucket, key.replace('#', f'{n:06}'), content.encode())
    os._exit(0)
threading.Thread(target=read, daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', sys.argv[1]])";
/// Starts a service of Azurite, which ends with its standard input.
const AZURITE: &str =
    "process.stdin.on('end', () => process.exit(0)).resume().unref(); require(process.argv[1]);";

/// A service of a cloud, on a port of its own.
#[derive(Debug)]
pub struct Emulator {
    kind: Kind,
    port: u16,
    running: Option<Child>,
}

#[derive(Debug)]
enum Kind {
    Moto,
    /// With the folder that has what it stores.
    Azurite(Service, PathBuf),
}

#[derive(Debug)]
enum Service {
    Blob,
    /// With the files of a certificate and of its key.
    BlobWithTls(PathBuf, PathBuf),
    Queue,
}

impl Emulator {
    /// S3 and SQS. They are in memory, so a kill empties them.
    pub fn moto() -> Result<Self, Failure> {
        Self::start(Kind::Moto)
    }

    /// Azure Blob Storage. What it stores is in the folder and outlives a stop.
    pub fn azure_blob(folder: &Path) -> Result<Self, Failure> {
        Self::start(Kind::Azurite(Service::Blob, folder.to_owned()))
    }

    /// The same with TLS: a certificate and its key, as files in PEM.
    pub fn azure_blob_with_tls(folder: &Path, certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let tls = Service::BlobWithTls(certificate.to_owned(), key.to_owned());
        Self::start(Kind::Azurite(tls, folder.to_owned()))
    }

    /// Azure Storage Queues. What they store is in the folder and outlives a stop.
    pub fn azure_queue(folder: &Path) -> Result<Self, Failure> {
        Self::start(Kind::Azurite(Service::Queue, folder.to_owned()))
    }

    /// Its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What requests begin with. That of Azurite includes its account.
    pub fn url(&self) -> String {
        let Self { kind, port, .. } = self;
        match kind {
            Kind::Moto => format!("http://127.0.0.1:{port}"),
            Kind::Azurite(Service::BlobWithTls(..), _) => {
                format!("https://localhost:{port}/{AZURITE_ACCOUNT}")
            }
            Kind::Azurite(..) => format!("http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"),
        }
    }

    /// Asks it to end, and waits until it has. Azurite writes to the disk what it has in memory.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-s", "TERM", &running.id().to_string()]).status();
            if wait_until(START_LIMIT, || running.try_wait().ok().flatten()).is_none() {
                let _ = running.kill();
                let _ = running.wait();
            }
        }
    }

    /// Ends it at once, as a crash does. Azurite loses what it has not written to the disk in the last seconds.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself.
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// Has moto put so many objects with this content into a bucket, at once: a number of six digits takes the place of `#` in their keys.
    /// Does not wait until they are there.
    pub fn put_many(&mut self, bucket: &str, key: &str, count: usize, content: &str) -> Result<(), Failure> {
        use std::io::Write as _;
        let input = self.running.as_mut().and_then(|running| running.stdin.as_mut());
        let written = input
            .map(|input| writeln!(input, "{bucket}\t{count}\t{content}\t{key}").and_then(|()| input.flush()));
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(Failure::new("the emulator has ended", "run it again")),
        }
    }

    /// Starts it again, on the same port.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.kill();
        self.running = Some(launch(&self.kind, self.port)?);
        Ok(())
    }

    fn start(kind: Kind) -> Result<Self, Failure> {
        let mut last = Failure::new("no emulator was started", "see `cargo xtask emulators`");
        // Another program may take the port that was free a moment ago.
        for _ in 0..3 {
            let port = free_port()?;
            match launch(&kind, port) {
                Ok(running) => return Ok(Self { kind, port, running: Some(running) }),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> Result<u16, Failure> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(bound.map_err(|error| Failure::of_machine("find a free port", &error))?.port())
}

/// The folder where they are installed: `venv/bin` has moto, `azurite/node_modules/.bin` Azurite.
pub fn emulators() -> PathBuf {
    let named = std::env::var_os(EMULATORS_VARIABLE).map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/emulators"))
}

fn launch(kind: &Kind, port: u16) -> Result<Child, Failure> {
    let mut command = match kind {
        Kind::Moto => {
            let mut command = Command::new(emulators().join("venv/bin/python"));
            command.args(["-c", MOTO, &port.to_string()]);
            command
        }
        Kind::Azurite(service, folder) => {
            let (name, flag) = match service {
                Service::Blob | Service::BlobWithTls(..) => ("blob", "--blobPort"),
                Service::Queue => ("queue", "--queuePort"),
            };
            let main = emulators().join(format!("azurite/node_modules/azurite/dist/src/{name}/main.js"));
            let mut command = Command::new("node");
            command.args(["-e", AZURITE]).arg(main).args(["--silent", "--disableTelemetry", "--location"]);
            command.arg(folder).args([flag, &port.to_string()]);
            if let Service::BlobWithTls(certificate, key) = service {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            command
        }
    };
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let missing = |why: String| {
        Failure::new(why, "run `cargo xtask emulators`, which installs moto from PyPI and Azurite with npm")
    };
    let mut running =
        command.spawn().map_err(|error| missing(format!("{command:?} did not start: {error}")))?;
    let answered = wait_until(START_LIMIT, || match running.try_wait() {
        Ok(Some(status)) => Some(Err(format!("{command:?} ended with {status}"))),
        _ => TcpStream::connect(("127.0.0.1", port)).ok().map(|_| Ok(())),
    });
    match answered {
        Some(Ok(())) => Ok(running),
        Some(Err(why)) => Err(missing(why)),
        None => {
            let _ = running.kill();
            let _ = running.wait();
            Err(missing(format!("{command:?} did not listen within {START_LIMIT:?}")))
        }
    }
}
