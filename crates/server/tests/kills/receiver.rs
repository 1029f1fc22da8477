//! A receiver of callbacks on a real socket.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

/// It listens until the process ends.
#[derive(Clone)]
pub(super) struct Receiver {
    address: SocketAddr,
    received: Arc<Received>,
}

#[derive(Default)]
struct Received {
    /// Requests that were read whole.
    calls: AtomicUsize,
    /// The jobs that they were about.
    jobs: Mutex<Vec<String>>,
}

impl Receiver {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, received) = (listener.local_addr().unwrap(), Arc::<Received>::default());
        let noted = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                // A server that was killed may have left half a request.
                std::thread::spawn(move || drop(answer(stream, &noted)));
            }
        });
        Self { address, received }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/jobs", self.address)
    }

    pub(super) fn calls(&self) -> usize {
        self.received.calls.load(Ordering::Relaxed)
    }

    /// The jobs that callbacks were about.
    pub(super) fn called(&self) -> Vec<String> {
        self.received.jobs.lock().unwrap().clone()
    }
}

/// Reads one request, notes it, and answers.
fn answer(stream: TcpStream, received: &Received) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(event["type"], "backroom.job.completed", "{event}");
    received.jobs.lock().unwrap().push(event["subject"].as_str().unwrap().to_owned());
    received.calls.fetch_add(1, Ordering::Relaxed);
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
}
