//! One client that has said hello: its commands, one after the other.

use std::sync::{Arc, atomic::Ordering};

use backroom::LeaseId;
use tokio_util::sync::CancellationToken;

use super::{
    Command, Faktory,
    command::QueueAction,
    commands,
    hello::Hello,
    reply::{Refusal, Reply},
    workers::Joined,
};

/// One client.
pub(crate) struct Session {
    pub(super) faktory: Arc<Faktory>,
    host: String,
    /// The worker that it belongs to.
    member: Option<Joined>,
    /// What it fetched last, until the answer is sent.
    pub(super) in_delivery: Option<(String, LeaseId)>,
}

/// What becomes of the connection after a command.
pub(crate) enum Answered {
    /// This is sent.
    Reply(Reply),
    /// It is closed without an answer.
    Close,
}

impl Session {
    /// Begins a session. A worker is met.
    pub(super) async fn begin(faktory: Arc<Faktory>, hello: &Hello) -> Result<Self, Refusal> {
        let host = hello.hostname.clone().unwrap_or_default();
        let member = match hello.worker() {
            Some(wid) => Some(faktory.join(wid, &host).await?),
            None => None,
        };
        Ok(Self { faktory, host, member, in_delivery: None })
    }

    /// Cancelled when the connection is to be closed, because its worker is silent.
    pub(super) fn cut(&self) -> Option<CancellationToken> {
        self.member.as_ref().map(|member| member.cut.clone())
    }

    /// The worker of the connection.
    pub(super) fn wid(&self) -> Option<&Arc<str>> {
        self.member.as_ref().map(|member| &member.wid)
    }

    /// The worker of the connection. One that has no name gets one when it fetches.
    pub(super) fn wid_to_fetch(&mut self) -> Arc<str> {
        let joined = self.member.get_or_insert_with(|| self.faktory.join_unnamed(&self.host));
        Arc::clone(&joined.wid)
    }

    /// Carries out a command. `gone` returns when the client has gone.
    pub(crate) async fn answer(&mut self, command: Command, gone: impl Future<Output = ()>) -> Answered {
        let faktory = Arc::clone(&self.faktory);
        faktory.commands.fetch_add(1, Ordering::Relaxed);
        faktory.state.metrics.commanded(command.name());
        if let Some(wid) = self.wid() {
            faktory.workers().heard(wid, faktory.now());
        }
        let answered = match command {
            Command::End => return Answered::Close,
            Command::Push(pushed) => commands::push::one(&faktory, *pushed).await,
            Command::PushMany(pushed) => commands::push::many(&faktory, pushed).await,
            Command::Fetch(queues) => commands::fetch::fetch(self, queues, gone).await,
            Command::Ack(finished) => commands::finish::ack(self, finished).await,
            Command::Fail(finished) => commands::finish::fail(self, finished).await,
            Command::Beat(beat) => commands::beat::beat(&faktory, beat).await,
            Command::Info => commands::info::info(&faktory).await,
            Command::Queues(QueueAction::Pause, queues) => commands::queues::pause(&faktory, &queues).await,
            Command::Queues(QueueAction::Resume, queues) => commands::queues::resume(&faktory, &queues).await,
            Command::Queues(QueueAction::Remove, queues) => commands::queues::remove(&faktory, &queues).await,
            Command::Latency(queues) => commands::queues::latency(&faktory, &queues).await,
            Command::Mutate(mutation) => commands::mutate::mutate(&faktory, &mutation).await,
            Command::Flush => commands::flush::flush(&faktory).await,
            Command::TrackGet(jid) => commands::track::get(&faktory, &jid).await,
            Command::TrackSet(progress) => commands::track::set(&faktory, progress).await,
            Command::BatchNew(new) => commands::batch::new(&faktory, *new).await,
            Command::BatchOpen(bid) => commands::batch::open(&faktory, &bid).await,
            Command::BatchCommit(bid) => commands::batch::commit(&faktory, &bid).await,
            Command::BatchStatus(bid) => commands::batch::status(&faktory, &bid).await,
        };
        Answered::Reply(answered.into())
    }

    /// The answer of the last command was not sent: a job that was fetched with it goes back.
    pub(super) async fn undelivered(&mut self) {
        if let Some((jid, lease)) = self.in_delivery.take() {
            commands::fetch::give_back(&self.faktory, &jid, lease).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(member) = &self.member {
            self.faktory.workers().leave(&member.wid);
        }
    }
}
