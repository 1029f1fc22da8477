//! Forwards the verbs for queues.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::Queue;
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Call, QueueSetting, QueueVerbs},
};

#[async_trait]
impl<L: Layer> QueueVerbs for L {
    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        forward!(self, Call::First, Queues {}, |store, _call| store.queues())
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, SetQueue { name, setting }, |store, _call| store
            .set_queue(&name, setting))
    }
}
