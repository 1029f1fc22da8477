//! What the listener must do with any bytes: a fuzz target.

use std::{sync::Arc, time::Duration};

use super::{
    Command, Faktory, hello,
    line::{LineLimits, Lines},
    reply::Reply,
    session::{Answered, Session},
};

/// Longest command here.
const LINE_BYTES: usize = 64 * 1024;
/// Most commands of one conversation.
const COMMANDS_MAX: usize = 100;

/// A conversation: the first line is a greeting, the others are commands. Every answer is exactly one message, and JSON where clients
/// expect it.
pub(crate) async fn converse(faktory: &Arc<Faktory>, bytes: &[u8]) {
    let clock = Arc::clone(faktory.state.backroom.clock());
    let mut lines = Lines::new(bytes, clock, faktory.budget.clone());
    let limits = LineLimits { bytes_max: LINE_BYTES, time: Duration::from_secs(60) };
    let Ok(line) = lines.next(limits).await else { return };
    let Ok(Ok(hello)) = std::str::from_utf8(line).map(hello::read) else { return };
    let Ok(mut session) = Session::begin(Arc::clone(faktory), &hello).await else { return };
    for _ in 0..COMMANDS_MAX {
        let Ok(line) = lines.next(limits).await else { break };
        let shown = String::from_utf8_lossy(line).into_owned();
        let (reply, is_json) = match Command::read(line) {
            Ok(command) => {
                // The answer to these is the id of the batch, as it is.
                let is_id = matches!(command, Command::BatchNew(_) | Command::BatchOpen(_));
                let is_json = !is_id && !matches!(command, Command::End);
                // Nothing is to wait.
                match session.answer(command, std::future::ready(())).await {
                    Answered::Reply(reply) => (reply, is_json),
                    Answered::Close => break,
                }
            }
            Err(refusal) => (Reply::Error(refusal), false),
        };
        check(&reply, is_json, &shown);
    }
}

fn check(reply: &Reply, is_json: bool, shown: &str) {
    let bytes = reply.bytes();
    let text = std::str::from_utf8(&bytes).expect("an answer is text");
    let breaks = text.matches("\r\n").count();
    match reply {
        Reply::Bulk(bulk) => {
            assert_eq!(breaks, 2, "{shown}: {text}");
            assert!(!bulk.contains(['\r', '\n']), "{shown}: {text}");
            if is_json {
                let _: serde_json::Value = serde_json::from_str(bulk).expect("an answer is JSON");
            }
        }
        Reply::Ok | Reply::Nil | Reply::Error(_) => {
            assert!(breaks == 1 && text.ends_with("\r\n"), "{shown}: {text}");
        }
    }
}
