//! Many jobs as lines, in both directions: stored as they come, answered in order.
//!
//! One task reads lines and stores them in batches; the answer is what it sends. It holds one batch at a time and waits while the
//! client does not read, so a stream of any length takes bounded memory.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use backroom::{ChosenJob, ErrorKind, core::bounds::whole_micros};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    enqueue::{check_new, traceparent},
    reach::check_predecessors,
};
use tracing::Instrument as _;

use crate::{
    api::{
        around::{Arrival, Cut},
        body,
        caller::Caller,
        codes::Code,
        problem::Problem,
    },
    bodies::NewJob,
    serve::AppState,
    views::Enqueued,
};

/// Most lines that are stored together.
const BATCH_LINES_MAX: usize = 1000;
/// Most bytes of lines that are stored together, about.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Answers that wait to be sent before no further batch is read.
const ANSWERS_WAITING_MAX: usize = 2;

/// Begins the stream of answers.
pub(super) fn answer(state: AppState, caller: Caller, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key("idempotency-key") {
        let why = "a stream takes no Idempotency-Key; give its jobs unique keys, or send an array";
        return Err(Problem::new(Code::Malformed, why));
    }
    if let Some(arrival) = parts.extensions.get::<Arrival>() {
        arrival.is_stream();
    }
    let (send, receive) = mpsc::channel(ANSWERS_WAITING_MAX);
    let instance = parts.uri.path().to_owned();
    let storing = Storing { state, caller, headers: parts.headers, instance, send, line: 0 };
    tokio::spawn(storing.run(body).in_current_span());
    let answers = stream::unfold(receive, |mut receive| async move {
        let answer: Bytes = receive.recv().await?;
        Some((Ok::<_, Infallible>(answer), receive))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(answers)).into_response())
}

struct Storing {
    state: AppState,
    caller: Caller,
    headers: HeaderMap,
    instance: String,
    send: mpsc::Sender<Bytes>,
    /// Lines read so far.
    line: u64,
}

/// The answer to a line that is stored.
#[derive(Serialize)]
struct Answer {
    line: u64,
    #[serde(flatten)]
    enqueued: Enqueued,
}

/// A line: the job it asks for, or what is wrong with it.
struct Line {
    number: u64,
    job: Result<ChosenJob, Problem>,
}

impl Storing {
    /// Reads and stores until the body or the interest in the answers ends.
    async fn run(mut self, body: Body) {
        let mut body = body.into_data_stream();
        let (mut left, mut batch, mut bytes) = (BytesMut::new(), Vec::new(), 0);
        let line_bytes_max =
            usize::try_from(self.state.settings.now().limits.body_bytes.0).unwrap_or(usize::MAX);
        loop {
            // What has arrived is stored before more is waited for: a slow client wants to see its lines answered.
            let piece = match body.next().now_or_never() {
                Some(piece) => piece,
                None => {
                    if !self.store(&mut batch).await {
                        return;
                    }
                    bytes = 0;
                    body.next().await
                }
            };
            match piece {
                Some(Ok(piece)) => left.extend_from_slice(&piece),
                Some(Err(error)) => {
                    if !self.store(&mut batch).await {
                        return;
                    }
                    let problem = Cut::behind(&error)
                        .map_or_else(|| Problem::new(Code::Malformed, "the body was cut off"), Problem::from);
                    return self.give_up(problem).await;
                }
                None => {
                    self.take(&left, &mut batch);
                    self.store(&mut batch).await;
                    return;
                }
            }
            while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                let line = left.split_to(end + 1);
                bytes += line.len();
                self.take(&line, &mut batch);
                if batch.len() >= BATCH_LINES_MAX || bytes >= BATCH_BYTES_MAX {
                    if !self.store(&mut batch).await {
                        return;
                    }
                    bytes = 0;
                }
            }
            if left.len() > line_bytes_max {
                if self.store(&mut batch).await {
                    let why = format!("line {} has more than {line_bytes_max} bytes", self.line + 1);
                    self.give_up(Problem::new(Code::BodyTooLarge, why)).await;
                }
                return;
            }
        }
    }

    /// Reads one line into the batch. Empty lines are passed over.
    fn take(&mut self, line: &[u8], batch: &mut Vec<Line>) {
        let line = line.trim_ascii();
        self.line += 1;
        if !line.is_empty() {
            batch.push(Line { number: self.line, job: self.read(line) });
        }
    }

    fn read(&self, line: &[u8]) -> Result<ChosenJob, Problem> {
        let new: NewJob = body::read(line)?;
        check_new(&self.state, &self.caller, &new)?;
        let now = self.state.backroom.clock().now();
        let new = new.chosen(self.state.ids.job(now), traceparent(&self.state, &self.headers), now)?;
        // Checked alone, so that a bad line does not refuse the others of its batch.
        new.draft.clone().check(new.id, now, backroom::core::bounds::JSON_BYTES_MAX)?;
        Ok(new)
    }

    /// Stores a batch and sends the answers. Whether the client still reads.
    async fn store(&self, batch: &mut Vec<Line>) -> bool {
        if batch.is_empty() {
            return !self.send.is_closed();
        }
        let mut batch = std::mem::take(batch);
        for line in &mut batch {
            if let Ok(new) = &line.job
                && let Err(problem) = check_predecessors(&self.state, &self.caller, &new.after).await
            {
                line.job = Err(problem);
            }
        }
        let good: Vec<_> = batch.iter().filter_map(|line| line.job.as_ref().ok().cloned()).collect();
        let at = whole_micros(self.state.backroom.clock().now());
        // An id that a caller chose may be stored already.
        let is_repeated = good.iter().any(|new| new.draft.id.is_some());
        let inserted = self.state.backroom.enqueue_chosen_linked(good.clone(), at, is_repeated).await;
        let mut answers = match inserted {
            Ok(inserted) => {
                let enqueued =
                    good.iter().zip(inserted).map(|(new, inserted)| Enqueued::new(new.id, inserted));
                enqueued.map(Ok).collect::<Vec<_>>()
            }
            // A queue may take some of them, though not all.
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull { .. } | ErrorKind::Invalid) => {
                self.store_singly(good).await
            }
            Err(error) => {
                let problem = Problem::from(error);
                good.iter().map(|_| Err(problem.clone())).collect()
            }
        }
        .into_iter();
        let mut text = Vec::new();
        for line in batch {
            let answer = match line.job {
                Ok(_) => answers.next().unwrap_or_else(|| {
                    Err(Problem::new(Code::Internal, "the store gave no answer for a job"))
                }),
                Err(problem) => Err(problem),
            };
            match answer {
                Ok(enqueued) => {
                    let answer = Answer { line: line.number, enqueued };
                    text.extend(serde_json::to_vec(&answer).expect("invariant: ids and words are JSON"));
                }
                Err(problem) => text.extend(self.document(problem, line.number)),
            }
            text.push(b'\n');
        }
        self.send.send(text.into()).await.is_ok()
    }

    async fn store_singly(&self, good: Vec<ChosenJob>) -> Vec<Result<Enqueued, Problem>> {
        let mut answers = Vec::with_capacity(good.len());
        for new in good {
            let at = whole_micros(self.state.backroom.clock().now());
            let (id, is_repeated) = (new.id, new.draft.id.is_some());
            let inserted = self.state.backroom.enqueue_chosen_linked(vec![new], at, is_repeated).await;
            answers.push(match inserted {
                Ok(inserted) => {
                    Ok(Enqueued::new(id, inserted.first().copied().unwrap_or(backroom::Inserted::Created)))
                }
                Err(error) => Err(error.into()),
            });
        }
        answers
    }

    /// Ends the stream with a problem: nothing more is read.
    async fn give_up(&self, problem: Problem) {
        let mut text = self.document(problem, self.line + 1);
        text.push(b'\n');
        // The client may have left.
        let _ = self.send.send(text.into()).await;
    }

    fn document(&self, problem: Problem, line: u64) -> Vec<u8> {
        problem.member("line", line).document(&format!("{}#line-{line}", self.instance))
    }
}
