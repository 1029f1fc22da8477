//! One connection, from the greeting to its end.

use std::{sync::Arc, time::Duration};

use backroom::clock::Clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, WriteHalf},
    net::TcpStream,
};

use super::{
    Command, Faktory,
    hello::{self, Challenge, NoHello},
    line::{LineLimits, Lines, NoLine},
    reply::{Refusal, Reply},
    session::{Answered, Session},
};
use crate::serve::Patient;

/// How long the greeting may take.
const GREETING_TIME: Duration = Duration::from_secs(2);
/// Longest greeting.
const GREETING_BYTES_MAX: usize = 16 * 1024;

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, faktory: Arc<Faktory>) {
    // Answers are small, and clients wait for each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the delay of small packets stays on for a connection");
    }
    let clock = Arc::clone(faktory.state.backroom.clock());
    let stream = Patient::new(stream, Arc::clone(&clock), faktory.state.settings.now().limits.write_time);
    let Some(acceptor) = faktory.state.tls.now() else {
        return Box::pin(converse(stream, faktory)).await;
    };
    let encrypted = tokio::select! {
        encrypted = acceptor.accept(stream) => encrypted,
        () = clock.sleep(faktory.state.settings.now().limits.header_time) => return,
        () = faktory.state.stopping.cancelled() => return,
    };
    match encrypted {
        Ok(stream) => Box::pin(converse(stream, faktory)).await,
        Err(error) => tracing::debug!(%error, "a connection did not become a TLS one"),
    }
}

/// Refuses one connection, because there are too many.
pub(super) async fn refuse(mut stream: TcpStream, clock: Arc<dyn Clock>, connections: usize) {
    let reply = Reply::Error(Refusal::new(format!("too many connections: {connections}")));
    let bytes = reply.bytes();
    tokio::select! {
        // The client may have gone already.
        _ = stream.write_all(&bytes) => {}
        () = clock.sleep(GREETING_TIME) => {}
    }
}

/// Greets, and answers commands.
pub(super) async fn converse<T: AsyncRead + AsyncWrite + Unpin>(stream: T, faktory: Arc<Faktory>) {
    let clock = Arc::clone(faktory.state.backroom.clock());
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = Lines::new(read, Arc::clone(&clock), faktory.budget.clone());
    let greeted = tokio::select! {
        greeted = greet(&mut lines, &mut write, &faktory) => greeted,
        () = faktory.state.stopping.cancelled() => return,
    };
    let Some(mut session) = greeted else { return };
    loop {
        let limits = faktory.state.settings.now().limits.clone();
        let bytes_max = faktory.state.settings.now().faktory.line_bytes.as_usize();
        let limits = LineLimits { bytes_max, time: limits.body_time };
        let cut = session.cut();
        let cut = async {
            match &cut {
                Some(cut) => cut.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let line = tokio::select! {
            biased;
            () = faktory.state.stopping.cancelled() => return,
            () = cut => return,
            line = lines.next(limits) => line,
        };
        let command = match line {
            Ok(line) => Command::read(line),
            Err(no_line) => {
                // The rest of the line would be read as commands, so the connection ends.
                if let Some(refusal) = said(&no_line) {
                    let _ = write.write_all(&Reply::Error(refusal).bytes()).await;
                    let _ = write.shutdown().await;
                }
                return;
            }
        };
        let reply = match command {
            Ok(command) => match session.answer(command, lines.gone()).await {
                Answered::Reply(reply) => reply,
                Answered::Close => return,
            },
            Err(refusal) => Reply::Error(refusal),
        };
        if write.write_all(&reply.bytes()).await.is_err() || write.flush().await.is_err() {
            return session.undelivered().await;
        }
        session.in_delivery = None;
    }
}

/// What a client learns of a line that is none.
fn said(no_line: &NoLine) -> Option<Refusal> {
    match no_line {
        NoLine::Ended => None,
        NoLine::Broken(error) => {
            tracing::debug!(%error, "a connection of a Faktory client broke");
            None
        }
        NoLine::TooLong(most) => Some(Refusal::new(format!(
            "the command is longer than {most} bytes; send fewer jobs in one, or change the setting faktory.line_bytes"
        ))),
        NoLine::TooSlow(time) => {
            Some(Refusal::new(format!("the command did not end within {time:?}; end it with a line feed")))
        }
    }
}

/// Greets, and reads the greeting of the client. None if the connection is to be closed.
async fn greet<R: AsyncRead + Unpin, W: AsyncRead + AsyncWrite + Unpin>(
    lines: &mut Lines<R>,
    write: &mut WriteHalf<W>,
    faktory: &Arc<Faktory>,
) -> Option<Session> {
    let settings = faktory.state.settings.now();
    let password = settings.faktory.password.as_ref().map(|secret| secret.0.as_str());
    let challenge = password.map(|_| {
        let mut random = [0; 16];
        random.copy_from_slice(&faktory.state.ids.secret()[..16]);
        Challenge::of(random)
    });
    let limits = LineLimits { bytes_max: GREETING_BYTES_MAX, time: GREETING_TIME };
    let greeting = async {
        write.write_all(hello::hi(challenge.as_ref()).as_bytes()).await.ok()?;
        write.flush().await.ok()?;
        let line = lines.next(limits).await.ok()?;
        Some(std::str::from_utf8(line).map_err(|_| NoHello::NotFaktory).and_then(hello::read))
    };
    let hello = tokio::select! {
        hello = greeting => hello?,
        () = faktory.state.backroom.clock().sleep(GREETING_TIME) => return None,
    };
    let hello = hello.and_then(|hello| {
        if let (Some(password), Some(challenge)) = (password, &challenge) {
            hello.check(password, challenge)?;
        }
        Ok(hello)
    });
    let begun = match hello {
        Ok(hello) if password.is_some() || is_open(faktory).await => {
            Session::begin(Arc::clone(faktory), &hello).await
        }
        // As for HTTP: the store has tokens, so every caller must show what it may do.
        Ok(_) => Err(Refusal::new(
            "the server has tokens, so Faktory clients need a password: set faktory.password",
        )),
        Err(NoHello::NotFaktory) => return None,
        Err(NoHello::WrongPassword) => Err(Refusal::new("Invalid password")),
        Err(NoHello::Invalid(why)) => Err(Refusal::new(why)),
    };
    let (reply, session) = match begun {
        Ok(session) => (Reply::Ok, Some(session)),
        Err(refusal) => (Reply::Error(refusal), None),
    };
    write.write_all(&reply.bytes()).await.ok()?;
    write.flush().await.ok()?;
    if session.is_none() {
        let _ = write.shutdown().await;
    }
    session
}

/// Whether clients without a password are served.
async fn is_open(faktory: &Faktory) -> bool {
    matches!(faktory.state.access.is_open().await, Ok(true))
}
