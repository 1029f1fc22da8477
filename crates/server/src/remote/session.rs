//! One connection for a caller that sends one small request after the other.
//!
//! It writes and reads HTTP/1.1 itself, without a task of its own for the connection: in a measurement the callers share the
//! processors with the server, so that what they cost is missing there.

use std::fmt::Write as _;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ANSWER_MAX, Remote, answer, connection::Stream};
use crate::terminal::Problem;

/// Longest header of an answer that is read.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Longest body of an answer that is read.
const BODY_BYTES_MAX: usize = 16 << 20;

/// One connection that stays open from request to request.
pub(crate) struct Session<'a> {
    remote: &'a Remote,
    stream: Box<dyn Stream>,
    /// The headers that every request has.
    headers: String,
    /// What was read and belongs to no answer yet.
    read: BytesMut,
}

/// The first line and the length of an answer.
struct Head {
    status: StatusCode,
    /// Of the header, with the empty line.
    bytes: usize,
    /// Of the body.
    body_bytes: usize,
}

impl<'a> Session<'a> {
    pub(super) fn new(remote: &'a Remote, stream: Box<dyn Stream>) -> Self {
        let mut headers = format!(
            "host: {}\r\naccept: application/json\r\ncontent-type: application/json\r\n",
            remote.address.authority()
        );
        if let Some(token) =
            remote.token.as_ref().and_then(|token| token.header().to_str().ok().map(str::to_owned))
        {
            // Writing to a String cannot fail.
            let _ = write!(headers, "authorization: {token}\r\n");
        }
        Self { remote, stream, headers, read: BytesMut::with_capacity(4096) }
    }

    /// The answer to a `POST` of a body that is JSON already.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<Bytes, Problem> {
        let remote = self.remote;
        let (status, body) = remote.within(ANSWER_MAX, path, self.exchange(path, &body)).await?;
        if status.is_success() { Ok(body) } else { Err(answer::refusal(path, status, &body)) }
    }

    async fn exchange(&mut self, path: &str, body: &[u8]) -> Result<(StatusCode, Bytes), Problem> {
        let failed =
            |why: &dyn std::fmt::Display| Problem::new(format_args!("ask for {path}"), &why.to_string());
        let head = format!(
            "POST {} HTTP/1.1\r\n{}content-length: {}\r\n\r\n",
            self.remote.address.path(path),
            self.headers,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.write_all(&request).await.map_err(|error| failed(&error))?;
        loop {
            if let Some(head) = head_of(&self.read).map_err(|why| failed(&why))?
                && self.read.len() >= head.bytes + head.body_bytes
            {
                self.read.advance(head.bytes);
                return Ok((head.status, self.read.split_to(head.body_bytes).freeze()));
            }
            if self.stream.read_buf(&mut self.read).await.map_err(|error| failed(&error))? == 0 {
                return Err(failed(&"the server closed the connection"));
            }
        }
    }
}

/// The head of an answer, once it is there.
fn head_of(read: &[u8]) -> Result<Option<Head>, &'static str> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = read.windows(END.len()).position(|four| four == END) else {
        return if read.len() > HEADER_BYTES_MAX {
            Err("the header of the answer is too long")
        } else {
            Ok(None)
        };
    };
    let text = std::str::from_utf8(&read[..end]).map_err(|_| "the header of the answer is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or("the answer is not HTTP")?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse().ok());
    match length.ok_or("the answer does not say how long it is")? {
        body_bytes if body_bytes > BODY_BYTES_MAX => Err("the answer is too long"),
        body_bytes => Ok(Some(Head { status, bytes: end + END.len(), body_bytes })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_its_header_is_whole() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        for cut in 0..text.len() - 2 {
            assert!(head_of(&text[..cut]).is_ok_and(|head| head.is_none()), "{cut}");
        }
        let found = head_of(text).expect("HTTP").expect("a header");
        assert_eq!((found.status, found.bytes, found.body_bytes), (StatusCode::ACCEPTED, text.len() - 2, 2));
    }

    #[test]
    fn what_is_no_answer_of_a_known_length_is_refused() {
        for text in
            ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]
        {
            assert!(head_of(text.as_bytes()).is_err(), "{text}");
        }
        assert!(head_of(&[b'a'; HEADER_BYTES_MAX + 1]).is_err());
    }
}
