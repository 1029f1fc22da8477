//! Messages to reply queues.

use backroom_core::Message;
use rusqlite::{Connection, params};

use super::{error::Fault, hints::Hints, row::micros};
use crate::Error;

/// Appends a message to its reply queue, unless it is stored already.
pub(super) fn insert(connection: &Connection, message: &Message, hints: &mut Hints) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO backroom_messages (id, reply_to, order_key, job_id, at, body, deliveries) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
    )?;
    insert.execute(params![
        message.id.0.as_bytes(),
        message.reply_to,
        message.order_key(),
        message.body.job_id.0.as_bytes(),
        micros(message.body.at),
        message.body.stored().map_err(Error::from)?,
    ])?;
    hints.replies(&message.reply_to);
    Ok(())
}
