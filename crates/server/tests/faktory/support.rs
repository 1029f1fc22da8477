//! A server that listens for Faktory clients, and a client of our own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
};

/// A server with a second port.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Served {
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        let server = Server::start(place, &[&["--faktory", "127.0.0.1:0"][..], args].concat());
        let line = server.line_with("listening for Faktory clients on ");
        let address = line.rsplit('/').next().unwrap().parse().unwrap();
        Self { server, address }
    }

    /// As clients find it, with a password if there is one.
    pub(crate) fn url(&self, password: Option<&str>) -> String {
        let password = password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("tcp://{password}{}", self.address)
    }

    pub(crate) fn connect(&self, hello: &str) -> Client {
        let mut client = Client::new(self.address);
        assert_eq!(client.says(hello), "+OK");
        client
    }
}

/// One client.
pub(crate) struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects, and reads the greeting.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut client = Self { stream, reader };
        assert_eq!(client.answer(), r#"+HI {"v":2}"#);
        client
    }

    /// The connection, to write to from elsewhere.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub(crate) fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next answer: of a bulk one its text. Empty once the server has closed.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
            return String::new();
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        match line.strip_prefix('$').map(str::parse::<usize>) {
            Some(Ok(length)) => {
                let mut text = vec![0; length + 2];
                self.reader.read_exact(&mut text).unwrap();
                text.truncate(length);
                String::from_utf8(text).unwrap()
            }
            _ => line,
        }
    }

    pub(crate) fn says(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    pub(crate) fn json(&mut self, line: &str) -> Value {
        let answer = self.says(line);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{line}: {answer}: {error}"))
    }
}
