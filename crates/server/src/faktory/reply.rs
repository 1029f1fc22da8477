//! What the server answers: the part of Redis' protocol that clients read.

use backroom::core::bounds::clip;

/// Longest text of an error.
const ERROR_BYTES_MAX: usize = 1000;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is done.
    Ok,
    /// Text, mostly JSON. It has no line break.
    Bulk(String),
    /// There is nothing.
    Nil,
    /// It was refused.
    Error(Refusal),
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What programs read: one word in capitals.
    pub(crate) code: &'static str,
    /// What people read.
    pub(crate) message: String,
}

impl Refusal {
    /// With the code of most errors.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: "ERR", message: message.into() }
    }

    /// Another job has the same unique content.
    pub(crate) fn not_unique() -> Self {
        Self { code: "NOTUNIQUE", message: "Job not unique".into() }
    }

    /// Both in one line, as the answer to one job of several has it.
    pub(crate) fn said(&self) -> String {
        if self.code == "ERR" { self.message.clone() } else { format!("{} {}", self.code, self.message) }
    }
}

impl From<backroom::Error> for Refusal {
    fn from(error: backroom::Error) -> Self {
        match error.kind() {
            backroom::ErrorKind::KeyHeld { .. } => Self::not_unique(),
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<Result<Reply, Refusal>> for Reply {
    fn from(answered: Result<Reply, Refusal>) -> Self {
        answered.unwrap_or_else(Reply::Error)
    }
}

impl Reply {
    /// The bytes that are sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ok => b"+OK\r\n".to_vec(),
            Self::Bulk(text) => format!("${}\r\n{text}\r\n", text.len()).into_bytes(),
            Self::Nil => b"$-1\r\n".to_vec(),
            Self::Error(Refusal { code, message }) => {
                let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                format!("-{code} {}\r\n", clip(&line, ERROR_BYTES_MAX)).into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_message_whatever_it_says() {
        let bytes = |reply: Reply| String::from_utf8(reply.bytes()).unwrap();
        assert_eq!(bytes(Reply::Ok), "+OK\r\n");
        assert_eq!(bytes(Reply::Nil), "$-1\r\n");
        assert_eq!(bytes(Reply::Bulk("é{}".into())), "$4\r\né{}\r\n");
        assert_eq!(bytes(Reply::Error(Refusal::new("a\r\n+OK"))), "-ERR a  +OK\r\n");
        assert_eq!(bytes(Reply::Error(Refusal::not_unique())), "-NOTUNIQUE Job not unique\r\n");
        assert!(bytes(Reply::Error(Refusal::new("x".repeat(5000)))).len() < 1100);
    }
}
