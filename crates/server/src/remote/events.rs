//! Server-sent events as a client reads them.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode, body::Incoming, header::HeaderValue};

use super::{ANSWER_MAX, Remote, connection::Connection};
use crate::terminal::Problem;

/// Most bytes of one event: a job with the largest args and output that a server takes is below it.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Where to continue after it.
    pub(crate) id: String,
    /// What it is about.
    pub(crate) name: String,
    /// What it says.
    pub(crate) data: String,
}

/// A stream of events, and the connection that it arrives on.
pub(crate) struct Events<'a> {
    remote: &'a Remote,
    path: String,
    _connection: Connection,
    body: Incoming,
    parser: Parser,
}

/// What came of asking for events.
pub(crate) enum Opened<'a> {
    Stream(Events<'a>),
    Refused(StatusCode, Problem),
}

impl Remote {
    /// The events of `GET path`, after the one with the id `last`. An error says that the server could not be asked.
    pub(crate) async fn events(&self, path: &str, last: Option<&str>) -> Result<Opened<'_>, Problem> {
        let mut request = self.request(Method::GET, path, "text/event-stream", Bytes::new())?;
        if let Some(last) = last {
            let last = HeaderValue::from_str(last)
                .map_err(|error| Problem::new("continue after the last event", &error))?;
            request.headers_mut().insert("last-event-id", last);
        }
        let mut connection = self.connect().await?;
        let response = self.within(ANSWER_MAX, path, connection.send(request)).await?;
        self.note_time(&response);
        let status = response.status();
        if !status.is_success() {
            return Ok(Opened::Refused(status, self.refused(path, response).await));
        }
        Ok(Opened::Stream(Events {
            remote: self,
            path: path.to_owned(),
            _connection: connection,
            body: response.into_body(),
            parser: Parser::default(),
        }))
    }
}

impl Events<'_> {
    /// The next event; none once the server has ended the stream. An error says that the stream was cut. A server that lives writes
    /// something at least every quarter of a minute.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Problem> {
        let cut = |why: &dyn std::fmt::Display| Problem::new(format_args!("follow {}", self.path), why);
        loop {
            if let Some(event) = self.parser.ready.pop_front() {
                return Ok(Some(event));
            }
            let frame = self.remote.within(ANSWER_MAX, &self.path, async { Ok(self.body.frame().await) });
            match frame.await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(cut(&super::connection::whole(&error))),
                Some(Ok(frame)) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    self.parser.take(&piece).map_err(|why| cut(&why))?;
                }
            }
        }
    }
}

/// Splits a stream of bytes into events, as the standard of HTML has it.
#[derive(Default)]
struct Parser {
    /// What has arrived of the line that is not complete.
    line: Vec<u8>,
    id: String,
    name: String,
    data: Option<String>,
    ready: VecDeque<Event>,
}

impl Parser {
    fn take(&mut self, piece: &[u8]) -> Result<(), &'static str> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_BYTES_MAX {
                return Err("the server sends an event that is too large");
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8(line).map_err(|_| "the server sends text that is no UTF-8")?;
                self.read(line.trim_end_matches(['\n', '\r']));
            }
        }
        Ok(())
    }

    fn read(&mut self, line: &str) {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                self.ready.push_back(Event { id: self.id.clone(), name, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.to_owned(),
            "event" => self.name = value.to_owned(),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, such as the one that keeps the connection open, or a field of a newer server.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&str]) -> Vec<(String, String, String)> {
        let mut parser = Parser::default();
        pieces.iter().for_each(|piece| parser.take(piece.as_bytes()).expect("text"));
        parser.ready.into_iter().map(|event| (event.id, event.name, event.data)).collect()
    }

    #[test]
    fn events_are_read_wherever_the_stream_is_divided() {
        let text = ": comment\n\nid: 1.2\nevent: line\ndata: {\"a\": 1}\n\nevent: state\r\ndata: x\r\ndata:y\r\n\r\nid: 3\n\n";
        let wanted = [("1.2", "line", "{\"a\": 1}"), ("1.2", "state", "x\ny")];
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(id, name, data)| (id.to_string(), name.to_string(), data.to_string()))
            .collect();
        assert_eq!(events(&[text]), wanted);
        for at in 0..text.len() {
            assert_eq!(events(&[&text[..at], &text[at..]]), wanted, "divided at {at}");
        }
    }

    #[test]
    fn an_event_that_is_not_complete_is_not_handed_out() {
        assert!(events(&["id: 1\nevent: line\ndata: x\n"]).is_empty());
    }
}
