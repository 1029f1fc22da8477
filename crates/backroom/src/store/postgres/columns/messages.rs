//! Many messages as parameters: one array per column, for `unnest`.

use backroom_core::Message;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{row::at_most, timestamp::PgTimestamp};
use crate::{Error, store::postgres::wire::connection::Param};

/// The types of [`MessageColumns::params`].
pub(crate) const MESSAGE_TYPES: [Type; 7] = [
    Type::UUID_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::UUID_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
];

/// The columns of many messages.
#[derive(Default)]
pub(crate) struct MessageColumns<'a> {
    id: Vec<Uuid>,
    reply_to: Vec<&'a str>,
    order_key: Vec<String>,
    job_id: Vec<Uuid>,
    at: Vec<PgTimestamp>,
    bytes: Vec<i64>,
    body: Vec<String>,
}

impl<'a> MessageColumns<'a> {
    /// Adds one.
    pub(crate) fn push(&mut self, message: &'a Message) -> Result<(), Error> {
        let body = message.body.stored()?;
        self.id.push(message.id.0);
        self.reply_to.push(&message.reply_to);
        self.order_key.push(message.order_key());
        self.job_id.push(message.body.job_id.0);
        self.at.push(PgTimestamp(message.body.at));
        self.bytes.push(at_most(body.len()));
        self.body.push(body);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Types as [`MESSAGE_TYPES`].
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![&self.id, &self.reply_to, &self.order_key, &self.job_id, &self.at, &self.bytes, &self.body]
    }
}
