//! A client with one connection, which it opens again after each cut.

use std::{
    io::{self, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;

use crate::serve_support::Answer;

/// A server that is alive answers within this time.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Where the servers are now.
#[derive(Clone)]
pub(super) struct Addresses(Arc<Mutex<Vec<SocketAddr>>>);

impl Addresses {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }

    pub(super) fn replace(&self, place: usize, address: SocketAddr) {
        self.0.lock().unwrap()[place] = address;
    }

    fn nth(&self, number: usize) -> SocketAddr {
        let addresses = self.0.lock().unwrap();
        addresses[number % addresses.len()]
    }
}

pub(super) struct Client {
    addresses: Addresses,
    /// Which server it calls. After a cut it calls the next one.
    number: usize,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(addresses: &Addresses, number: usize) -> Self {
        Self { addresses: addresses.clone(), number, connection: None }
    }

    /// The answer to a POST with a JSON body. An error: the server was killed, so it is not known what it did.
    pub(super) fn post(&mut self, path: &str, body: &Value) -> io::Result<Answer> {
        self.call("POST", path, &body.to_string())
    }

    pub(super) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.call("GET", path, "")
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let answer = self.try_call(method, path, body);
        if answer.is_err() {
            self.connection = None;
            self.number += 1;
        }
        answer
    }

    fn try_call(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.addresses.nth(self.number))?;
                stream.set_read_timeout(Some(ANSWER_TIME))?;
                stream.set_nodelay(true)?;
                self.connection.insert(BufReader::new(stream))
            }
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.get_mut().write_all(request.as_bytes())?;
        Answer::try_read(connection, false)
    }
}
