//! A TCP proxy that cuts connections at the moment that a test chooses.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

use crate::Failure;

/// Passes connections on to a port of this machine.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    trap: Mutex<Option<Trap>>,
    cuts: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

/// Which bytes of a client are swallowed, and have every connection cut.
#[derive(Debug)]
struct Trap {
    /// They contain this.
    part: &'static [u8],
    is_once: bool,
}

impl Proxy {
    /// Begins to listen.
    pub fn start(target: u16) -> Result<Self, Failure> {
        let of_machine = |error| Failure::of_machine("the proxy", &error);
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(of_machine)?;
        let port = listener.local_addr().map_err(of_machine)?.port();
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let listening = std::thread::spawn(move || accept(&listener, target, &for_thread));
        Ok(Self { port, shared, listening: Some(listening) })
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Swallows the next bytes that a client sends, and cuts every connection then: what the server has delivered before is not
    /// acknowledged.
    pub fn cut_before_next_request(&self) {
        *self.shared.trap() = Some(Trap { part: b"", is_once: true });
    }

    /// From now on swallows what a client sends if it contains this, and cuts every connection then.
    pub fn cut_before(&self, part: &'static [u8]) {
        *self.shared.trap() = Some(Trap { part, is_once: false });
    }

    /// Passes everything on again.
    pub fn pass(&self) {
        *self.shared.trap() = None;
    }

    /// How often connections were cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(SeqCst)
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.shared.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port)));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

impl Shared {
    fn trap(&self) -> MutexGuard<'_, Option<Trap>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether these bytes of a client are not to arrive.
    fn springs(&self, bytes: &[u8]) -> bool {
        let mut trap = self.trap();
        let Some(Trap { part, is_once }) = &*trap else { return false };
        let contains = part.is_empty() || bytes.windows(part.len()).any(|window| window == *part);
        if contains && *is_once {
            *trap = None;
        }
        contains
    }

    fn cut(&self) {
        self.cuts.fetch_add(1, SeqCst);
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in open {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn remember(&self, stream: &TcpStream) {
        if let Ok(stream) = stream.try_clone() {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
    }
}

fn accept(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.stopped.load(SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        // The client sees the end of its connection, as if the broker did not run.
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
        shared.remember(&client);
        shared.remember(&server);
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
        let of_requests = Arc::clone(shared);
        // They end with their connection.
        std::thread::spawn(move || pass(from_client, server, Some(&of_requests)));
        std::thread::spawn(move || pass(from_server, client, None));
    }
}

/// Passes bytes on until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, requests: Option<&Shared>) {
    let mut bytes = [0; 16 * 1024];
    loop {
        let count = match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        if let Some(shared) = requests
            && shared.springs(&bytes[..count])
        {
            shared.cut();
            break;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other side may have ended first.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
