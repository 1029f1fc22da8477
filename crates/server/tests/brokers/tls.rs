//! TLS to brokers: with the right authority it works, and what is wrong is said in words.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use backroom_testbed::{Broker, BrokerKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::{
    bench::{Bench, Sent, World, jobs, until},
    cli_support::Place,
    serve_support::Server,
};

/// A certificate for these names, its key, and that of the authority in PEM.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
    authority: String,
}

fn identity(names: &[&str]) -> Identity {
    let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(of_authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    Identity { certificate, key, authority: authority.pem() }
}

/// Speaks TLS for a port that does not.
async fn front(identity: &Identity, target: u16) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate leaves.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

fn check<B: Bench>(world: &World<B>, right: &str, wrong_name: &str, authorities: [&str; 2]) {
    let file = |name: &str, pem: &str| {
        let path = world.place.path(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (ca, ca_of_wrong) = (file("right.pem", authorities[0]), file("wrong.pem", authorities[1]));
    let trigger = |name: &str, url: &str, ca: Option<&str>| {
        let ca = ca.map(|path| format!("ca_file = \"{path}\"\n")).unwrap_or_default();
        format!("[triggers.{name}]\nkind = \"x\"\n{}\n{ca}\n", B::source(url, &world.name))
    };
    world.write_settings(&format!(
        "{}{}{}",
        trigger("in", right, Some(&ca)),
        trigger("unknown", right, None),
        trigger("wrong", wrong_name, Some(&ca_of_wrong)),
    ));
    let server = Server::start(&world.place, &[]);
    world.publish(vec![Sent::number(1)]);
    until(&server, "a message came through TLS", || !jobs(&world.place).is_empty());
    for (name, part) in [("unknown", "ca_file"), ("wrong", "another name")] {
        is_said(&server, name, part);
    }
    server.stop();
}

#[track_caller]
fn is_said(server: &Server, name: &str, part: &str) {
    until(server, &format!("{name} is reported"), || {
        server.log().lines().any(|line| line.contains(&format!("trigger={name}")) && line.contains(part))
    });
}

/// A broker that speaks TLS from the first byte on.
fn behind_a_front<B: Bench>(scheme: &str) {
    let world = World::<B>::start();
    let (right, wrong) = (identity(&["localhost"]), identity(&["other.example"]));
    let ports = world
        .run(async { [front(&right, world.broker.port()).await, front(&wrong, world.broker.port()).await] });
    let [right_url, wrong_url] = ports.map(|port| {
        let url = world.broker.url_at(port).replace("127.0.0.1", "localhost");
        format!("{scheme}://{}", url.split_once("://").unwrap().1)
    });
    check(&world, &right_url, &wrong_url, [&right.authority, &wrong.authority]);
}

#[test]
fn redis_by_tls() {
    behind_a_front::<crate::redis::Redis>("rediss");
}

#[test]
fn mqtt_by_tls() {
    behind_a_front::<crate::mqtt::Mqtt>("mqtts");
}

#[test]
fn amqp_by_tls() {
    behind_a_front::<crate::amqp::Classic>("amqps");
}

/// NATS greets in clear text, so that it must speak TLS itself.
#[test]
fn nats_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    // The broker runs as another account.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (right, wrong) = (identity(&["localhost", "127.0.0.1"]), identity(&["other.example"]));
    let arguments = |name: &str, identity: &Identity| -> Vec<String> {
        let path = |kind: &str| folder.path().join(format!("{name}.{kind}")).display().to_string();
        fs::write(path("crt"), identity.certificate.pem()).unwrap();
        fs::write(path("key"), identity.key.serialize_pem()).unwrap();
        vec!["--tls".into(), "--tlscert".into(), path("crt"), "--tlskey".into(), path("key")]
    };
    let start =
        |name: &str, identity| Broker::start_with(BrokerKind::Nats, &arguments(name, identity)).unwrap();
    let (broker, other) = (start("right", &right), start("wrong", &wrong));
    let place = Place::new();
    let trigger = |name: &str, broker: &Broker, authority: Option<&str>| {
        let path = place.path(&format!("{name}.pem"));
        fs::write(&path, authority.unwrap_or_default()).unwrap();
        let ca = authority.map(|_| format!("ca_file = \"{}\"\n", path.display())).unwrap_or_default();
        let url = broker.url().replace("nats://", "tls://").replace("127.0.0.1", "localhost");
        format!(
            "[triggers.{name}]\nkind = \"x\"\ntype = \"nats\"\nurl = \"{url}\"\nstream = \"none\"\n{ca}\n"
        )
    };
    let settings = [
        trigger("in", &broker, Some(&right.authority)),
        trigger("unknown", &broker, None),
        trigger("wrong", &other, Some(&wrong.authority)),
    ];
    fs::write(place.path("backroom.toml"), settings.concat()).unwrap();
    fs::set_permissions(place.path("backroom.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(&place, &[]);
    // The first was let in, and finds no stream.
    for (name, part) in [("in", "make the stream"), ("unknown", "ca_file"), ("wrong", "another name")] {
        is_said(&server, name, part);
    }
    server.stop();
}
