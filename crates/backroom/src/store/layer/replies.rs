//! Forwards the verbs for messages in reply queues.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{JobId, LeaseId, Message, MessageId, Timestamp};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Acknowledged, Call, DropMessages, MessageRow, ReplyQueue, ReplyVerbs, TakeMessages},
};

#[async_trait]
impl<L: Layer> ReplyVerbs for L {
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error> {
        forward!(self, call, TakeMessages { take, now }, |store, call| store.take_messages(take, now, call))
    }

    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error> {
        forward!(self, Call::First, AcknowledgeMessages { lease, ids }, |store, _call| store
            .acknowledge_messages(lease, ids))
    }

    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error> {
        forward!(self, Call::First, ReleaseMessages { lease, ids }, |store, _call| store
            .release_messages(lease, ids))
    }

    async fn forget_messages(&self, jobs: Arc<Vec<JobId>>) -> Result<u64, Error> {
        forward!(self, Call::First, ForgetMessages { jobs }, |store, _call| store.forget_messages(jobs))
    }

    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        let reply_to: Option<Arc<str>> = reply_to.map(Into::into);
        forward!(self, Call::First, Messages { reply_to, after, limit }, |store, _call| store.messages(
            reply_to.as_deref(),
            after,
            limit
        ))
    }

    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error> {
        let after: Option<Arc<str>> = after.map(Into::into);
        forward!(self, Call::First, ReplyQueues { after, limit, now }, |store, _call| store.reply_queues(
            after.as_deref(),
            limit,
            now
        ))
    }

    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error> {
        forward!(self, Call::First, DropMessages { bounds, now }, |store, _call| store
            .drop_messages(bounds, now))
    }

    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error> {
        forward!(self, Call::First, ImportMessages { messages }, |store, _call| store
            .import_messages(messages))
    }
}
