//! The examples for brokers, run as a reader would run them.

use std::{path::Path, process::Command};

use backroom_testbed::BrokerKind;

use crate::bench::Bed;

#[track_caller]
fn runs(name: &str, kind: BrokerKind) {
    let broker = Bed::start(kind);
    let script = format!("{}/../../examples/triggers/{name}/run.sh", env!("CARGO_MANIFEST_DIR"));
    let binary = Path::new(env!("CARGO_BIN_EXE_backroom")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args(["120", "sh", &script, &broker.url()])
        .env("PATH", path)
        .env_remove("BACKROOM_STORE")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {said}");
    assert!(said.contains("1 received, 1 jobs"), "{name}: {said}");
}

#[test]
fn that_of_redis_runs() {
    runs("redis", BrokerKind::Redis);
}

#[test]
fn that_of_nats_runs() {
    runs("nats", BrokerKind::Nats);
}

#[test]
fn that_of_amqp_runs() {
    runs("amqp", BrokerKind::RabbitMq);
}

#[test]
fn that_of_mqtt_runs() {
    runs("mqtt", BrokerKind::Mosquitto);
}
