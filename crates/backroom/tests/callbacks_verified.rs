//! The signatures of callbacks are accepted by the published packages of Standard Webhooks in two languages. The packages are
//! installed into a temporary folder by pip and npm; without a registry the tests fail.

#![cfg(all(feature = "sqlite", feature = "callbacks"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod callbacks_support;

use std::{fs, path::Path, process::Command, time::Duration};

use backroom::Backroom;
use callbacks_support::{
    SECRET, enqueue, options,
    receiver::{Receiver, Reply},
    start,
};

/// The secret that replaces the other one.
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazNow4AhUXo=";
/// A secret that the sender does not have.
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const PYTHON: &str = r#"
import json, sys
from standardwebhooks.webhooks import Webhook
given = json.load(open(sys.argv[1]))
Webhook(given["secret"]).verify(given["body"], given["headers"])
"#;

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(process.argv[2], "utf8"));
new Webhook(given.secret).verify(given.body, given.headers);
"#;

/// A callback that a receiver got, in a file for each secret.
async fn files(dir: &Path) -> [std::path::PathBuf; 3] {
    let url = format!("sqlite:{}", dir.join("backroom.db").display());
    let backroom = Backroom::open(&url).await.unwrap();
    // Two secrets, as while one replaces the other.
    let worker = start(&backroom, options().secret(NEW.parse().unwrap())).await;
    let receiver = Receiver::start(Reply::status(200)).await;
    enqueue(&backroom, &receiver.url("/")).await;
    let received = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(received) = receiver.received().pop() {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let received = received.await.expect("a callback arrives");
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
    let body = String::from_utf8(received.body).unwrap();
    [("old", SECRET), ("new", NEW), ("other", OTHER)].map(|(name, secret)| {
        let file = dir.join(format!("{name}.json"));
        let given = serde_json::json!({ "secret": secret, "body": body, "headers": received.headers });
        fs::write(&file, given.to_string()).unwrap();
        file
    })
}

/// Installs a package, or fails with what the registry's client said.
fn install(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The receiver's program accepts the callback with either secret of the sender, and with no other.
async fn accepts(dir: &Path, verify: impl Fn(&Path) -> Command) {
    let [old, new, other] = files(dir).await;
    for (file, is_accepted) in [(old, true), (new, true), (other, false)] {
        let done = verify(&file).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.success(), is_accepted, "{}: {said}", file.display());
        assert!(is_accepted || said.contains("No matching signature"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_package_of_python_accepts_the_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let packages = dir.path().join("packages");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(&packages);
    install(pip.arg("standardwebhooks==1.1.0"));
    fs::write(dir.path().join("verify.py"), PYTHON).unwrap();
    let verify = |file: &Path| {
        let mut python = Command::new("python3");
        python.arg(dir.path().join("verify.py")).arg(file).env("PYTHONPATH", &packages);
        python
    };
    accepts(dir.path(), verify).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_package_of_node_accepts_the_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"]).arg(dir.path());
    install(npm.arg("standardwebhooks@1.1.1"));
    fs::write(dir.path().join("verify.cjs"), NODE).unwrap();
    let verify = |file: &Path| {
        let mut node = Command::new("node");
        node.arg(dir.path().join("verify.cjs")).arg(file);
        node
    };
    accepts(dir.path(), verify).await;
}
