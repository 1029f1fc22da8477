//! The server is killed with `kill -9` again and again while messages and objects come in at services of clouds: each becomes one job.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use backroom_testbed::{AZURITE_ACCOUNT, Emulator};

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
    triggers_killed::{each_once, kill, named},
};

const KILLS: usize = 20;
/// A signature for Azurite's account, whose key everyone knows.
const SAS: &str = "sp=rwdlacup&ss=bq&srt=sco&se=2099-01-01T00%3A00%3A00Z&spr=https%2Chttp&sv=2021-12-02&sig=v62kJec9P2MRf%2BWXx2XUjIquHB4le%2B96aXhGkHgZkCI%3D";

/// Services with a queue or a bucket each.
struct Clouds {
    amazon: Emulator,
    blobs: Emulator,
    queues: Emulator,
    _folder: tempfile::TempDir,
}

impl Clouds {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clouds = Self {
            amazon: Emulator::moto().unwrap(),
            blobs: Emulator::azure_blob(folder.path()).unwrap(),
            queues: Emulator::azure_queue(folder.path()).unwrap(),
            _folder: folder,
        };
        request(clouds.amazon.port(), "PUT", "/photos", &[], "");
        clouds.sqs("Action=CreateQueue&QueueName=orders");
        let blobs = format!("/{AZURITE_ACCOUNT}/photos?restype=container&{SAS}");
        request(clouds.blobs.port(), "PUT", &blobs, &[], "");
        request(clouds.queues.port(), "PUT", &format!("/{AZURITE_ACCOUNT}/orders?{SAS}"), &[], "");
        clouds
    }

    fn sqs(&self, form: &str) {
        // Moto reads the service out of it, and does not check it.
        let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0";
        let headers = [("authorization", scope), ("content-type", "application/x-www-form-urlencoded")];
        request(self.amazon.port(), "POST", "/", &headers, form);
    }

    /// One more message in each queue, one more object in each bucket.
    fn add(&self, n: usize) {
        let port = self.amazon.port();
        self.sqs(&format!(
            "Action=SendMessage&QueueUrl=http%3A%2F%2F127.0.0.1%3A{port}%2F123456789012%2Forders&MessageBody=%7B%22n%22%3A{n}%7D"
        ));
        request(port, "PUT", &format!("/photos/{n:06}"), &[], "x");
        let block = [("x-ms-blob-type", "BlockBlob")];
        let blob = format!("/{AZURITE_ACCOUNT}/photos/{n:06}?{SAS}");
        request(self.blobs.port(), "PUT", &blob, &block, "x");
        let message = format!("<QueueMessage><MessageText>{{\"n\":{n}}}</MessageText></QueueMessage>");
        let queue = format!("/{AZURITE_ACCOUNT}/orders/messages?{SAS}");
        request(self.queues.port(), "POST", &queue, &[], &message);
    }

    fn settings(&self) -> String {
        let (amazon, blobs, queues) = (self.amazon.url(), self.blobs.url(), self.queues.url());
        format!(
            r#"
[triggers.sqs]
type = "sqs"
kind = "sqs"
url = "{amazon}/123456789012/orders"
region = "us-east-1"
access_key = "test"
secret_key = "test"
redeliver_after = "3s"

[triggers.s3]
type = "objects"
kind = "s3"
url = "s3://photos"
endpoint = "{amazon}"
access_key = "test"
secret_key = "test"
rescan = "100ms"

[triggers.blobs]
type = "objects"
kind = "blobs"
url = "azure://{AZURITE_ACCOUNT}/photos"
endpoint = "{blobs}"
sas = "{SAS}"
rescan = "100ms"

[triggers.queue]
type = "azure-queue"
kind = "queue"
url = "{queues}/orders"
sas = "{SAS}"
poll = "50ms"
redeliver_after = "3s"
"#
        )
    }
}

/// Sends a request to a service, which must take it.
fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    assert!(status.starts_with('2'), "{method} {path}: {answer}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test lets other processes work for a while")]
fn twenty_kills_lose_no_message_and_no_object_of_a_cloud_and_make_none_twice() {
    let clouds = Clouds::start();
    let place = Place::new();
    let path = place.path("backroom.toml");
    fs::write(&path, clouds.settings()).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (stop, added) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let n = added.load(SeqCst);
                clouds.add(n);
                added.store(n + 1, SeqCst);
            }
        });
        for n in 0..KILLS {
            let server = Server::start(&place, &[]);
            // Differently long in each life, so that it dies at different points.
            std::thread::sleep(Duration::from_millis(150 + 53 * (n as u64 % 7)));
            kill(server);
        }
        stop.store(true, SeqCst);
    });
    let added = added.load(SeqCst);
    assert!(added > 50, "there was load: {added}");
    let server = Server::start(&place, &[]);
    let begun = Instant::now();
    let kinds = [("sqs", "n"), ("queue", "n"), ("s3", "name"), ("blobs", "name")];
    let counts = || kinds.map(|(kind, field)| named(&place, kind, field).len());
    while counts().iter().any(|count| *count < added) {
        assert!(begun.elapsed() < PATIENCE, "{:?} of {added}: {}", counts(), server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    // What was hidden when the last server died comes again, and must not become a second job.
    std::thread::sleep(Duration::from_secs(4));
    server.stop();
    for (kind, field) in kinds {
        let name = |n: usize| if field == "n" { n.to_string() } else { format!("{n:06}") };
        each_once(&named(&place, kind, field), (0..added).map(name));
    }
}
