//! An answer that the server goes on writing, read line by line.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::connection::{Connection, whole};
use crate::terminal::Problem;

/// The longest line: one job with its args and output.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The lines of a stream.
#[derive(Debug)]
pub(crate) struct Lines {
    path: String,
    body: Incoming,
    /// What has arrived and is not answered yet.
    buffer: BytesMut,
    is_over: bool,
    _connection: Connection,
}

impl Lines {
    pub(super) fn new(path: &str, body: Incoming, connection: Connection) -> Self {
        let buffer = BytesMut::new();
        Self { path: path.to_owned(), body, buffer, is_over: false, _connection: connection }
    }

    /// The next line without its end; none when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Problem> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + end + 1);
                return self.text(&line).map(Some);
            }
            if self.is_over {
                let rest = self.buffer.split();
                return if rest.is_empty() { Ok(None) } else { self.text(&rest).map(Some) };
            }
            searched = self.buffer.len();
            if searched > LINE_BYTES_MAX {
                let why = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(Problem::new(format_args!("read {}", self.path), &why));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => {
                    return Err(Problem::new(format_args!("read {}", self.path), &whole(&error)));
                }
                None => self.is_over = true,
            }
        }
    }

    fn text(&self, line: &[u8]) -> Result<String, Problem> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line);
        text.map(str::to_owned).map_err(|error| Problem::new(format_args!("read {}", self.path), &error))
    }
}
