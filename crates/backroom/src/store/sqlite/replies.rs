//! Messages in reply queues.

use std::collections::HashSet;

use backroom_core::{
    JobId, JobRow, LeaseId, Message, MessageBody, MessageId, MessageLease, Timestamp, bounds::earlier,
    message,
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use uuid::Uuid;

use super::{
    commit::carry_out,
    error::Fault,
    hints::Hints,
    row::{self, at_most, micros, moment, moment_or_none},
};
use crate::{
    Error,
    store::{
        Acknowledged, Call, DROPPED_REMEMBERED, DropMessages, MessageRow, Note, ReplyQueue, TakeMessages,
        unreadable,
    },
};

/// The columns that [`message`] reads.
macro_rules! columns {
    () => {
        "seq, id, reply_to, body, deliveries, lease_id, leased_from, leased_until"
    };
}

/// A taker has the message: its lease holds at a moment (?1). Leases given after ?2 do not hold, see
/// [`MessageLease`](backroom_core::MessageLease).
macro_rules! taken {
    () => {
        "(lease_id IS NOT NULL AND leased_until > ?1 AND leased_from <= ?2)"
    };
}

/// Appends a message, unless it is stored already. Parameters: its id, reply queue, order key, job, moment, bytes, text.
pub(super) const ADD_MESSAGE: &str = "INSERT OR IGNORE INTO backroom_messages \
     (id, reply_to, order_key, job_id, at, bytes, body, deliveries) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)";

/// Appends a message to its reply queue, unless it is stored already. Whether it was new.
pub(super) fn insert(connection: &Connection, message: &Message, hints: &mut Hints) -> Result<bool, Fault> {
    let body = message.body.stored().map_err(Error::from)?;
    let mut insert = connection.prepare_cached(ADD_MESSAGE)?;
    let written = insert.execute(params![
        message.id.0.as_bytes(),
        message.reply_to,
        message.order_key(),
        message.body.job_id.0.as_bytes(),
        micros(message.body.at),
        at_most(body.len()),
        body,
    ])?;
    hints.replies(&message.reply_to);
    Ok(written > 0)
}

/// Writes the messages of progress that a running handler reported, if its caller asked for them.
pub(super) fn of_progress(
    connection: &Connection,
    note: &Note,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<(), Fault> {
    let Some(progress) = &note.progress else { return Ok(()) };
    // Most jobs have no extras, and those of most others do not name it.
    let mut wants = connection
        .prepare_cached("SELECT 1 FROM backroom_jobs WHERE id = ?1 AND extras LIKE '%\"progress\"%'")?;
    if !wants.exists([note.job.0.as_bytes()])? {
        return Ok(());
    }
    let job: Option<JobRow> = row::find(connection, note.job)?;
    let Some(job) = job else { return Ok(()) };
    for effect in message::of_progress(&job, progress, now) {
        carry_out(connection, note.job, &effect, hints)?;
    }
    Ok(())
}

/// Whether the reply queue has any message.
pub(super) fn has_any(connection: &Connection, reply_to: &str) -> Result<bool, Fault> {
    let mut select = connection.prepare_cached("SELECT 1 FROM backroom_messages WHERE reply_to = ?1")?;
    Ok(select.exists([reply_to])?)
}

/// Takes messages of a reply queue. There is one writer at a time, so no other taker takes meanwhile.
pub(super) fn take(
    connection: &Connection,
    take: &TakeMessages,
    now: Timestamp,
    call: Call,
) -> Result<Vec<MessageRow>, Fault> {
    let lease = take.lease.id.0;
    if call == Call::Repeated {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM backroom_messages AS message WHERE reply_to = ?1 AND lease_id = ?2 \
             AND NOT EXISTS (SELECT 1 FROM backroom_messages AS earlier WHERE earlier.reply_to = ?1 \
               AND earlier.order_key = message.order_key AND earlier.seq < message.seq AND earlier.lease_id IS NOT ?2) \
             ORDER BY seq"
        );
        let taken = messages_of(connection, sql, params![take.reply_to, lease.as_bytes()])?;
        if !taken.is_empty() {
            return Ok(taken);
        }
    }
    let mut find = connection.prepare_cached(concat!(
        "SELECT seq, bytes FROM backroom_messages INDEXED BY backroom_messages_order \
         WHERE reply_to = ?3 AND order_key NOT IN (SELECT order_key FROM backroom_messages \
           INDEXED BY backroom_messages_leased WHERE reply_to = ?3 AND ",
        taken!(),
        ") ORDER BY seq LIMIT ?4"
    ))?;
    let latest = micros(MessageLease::latest_from(now));
    let mut found = find.query(params![micros(now), latest, take.reply_to, at_most(take.limit)])?;
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        if bytes >= take.bytes_max && !chosen.is_empty() {
            break;
        }
        chosen.push(row.get::<_, i64>(0)?);
        bytes = bytes.saturating_add(usize::try_from(number(row, 1)?).unwrap_or(usize::MAX));
    }
    drop(found);
    let mut write = connection.prepare_cached(
        "UPDATE backroom_messages SET lease_id = ?2, leased_from = ?3, leased_until = ?4, deliveries = deliveries + 1 \
         WHERE seq = ?1",
    )?;
    let mut read = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_messages WHERE seq = ?1"
    ))?;
    let mut taken = Vec::with_capacity(chosen.len());
    for seq in chosen {
        write.execute(params![seq, lease.as_bytes(), micros(take.lease.from), micros(take.lease.until)])?;
        let mut rows = read.query([seq])?;
        if let Some(row) = rows.next()? {
            taken.extend(message_if_whole(row)?);
        }
    }
    Ok(taken)
}

/// Deletes messages under this lease; one answer per id, in order.
pub(super) fn acknowledge(
    connection: &Connection,
    lease: LeaseId,
    ids: &[MessageId],
    hints: &mut Hints,
) -> Result<Vec<Acknowledged>, Fault> {
    let mut delete = connection
        .prepare_cached("DELETE FROM backroom_messages WHERE id = ?1 AND lease_id = ?2 RETURNING reply_to")?;
    let mut is_there = connection.prepare_cached("SELECT 1 FROM backroom_messages WHERE id = ?1")?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        let params = params![id.0.as_bytes(), lease.0.as_bytes()];
        let deleted: Option<String> = delete.query_row(params, |row| row.get(0)).optional()?;
        // The next one with the same key may be free now.
        if let Some(queue) = &deleted {
            hints.replies(queue);
        }
        let is_done = deleted.is_some() || !is_there.exists([id.0.as_bytes()])?;
        answers.push(if is_done { Acknowledged::Done } else { Acknowledged::Lost });
    }
    Ok(answers)
}

/// Deletes all messages about these jobs. There is no index by job, because only this reads them so.
pub(super) fn forget(connection: &Connection, jobs: &[JobId], hints: &mut Hints) -> Result<u64, Fault> {
    let mut find = connection.prepare_cached("SELECT seq, job_id, reply_to FROM backroom_messages")?;
    let mut delete = connection.prepare_cached("DELETE FROM backroom_messages WHERE seq = ?1")?;
    let wanted: HashSet<[u8; 16]> = jobs.iter().map(|job| job.0.into_bytes()).collect();
    let mut found: Vec<(i64, String)> = Vec::new();
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        if wanted.contains(&row.get::<_, [u8; 16]>(1)?) {
            found.push((row.get(0)?, row.get(2)?));
        }
    }
    for (seq, queue) in &found {
        delete.execute([seq])?;
        // The next one with the same key may be free now.
        hints.replies(queue);
    }
    Ok(found.len() as u64)
}

/// Ends this lease of messages.
pub(super) fn release(
    connection: &Connection,
    lease: LeaseId,
    ids: &[MessageId],
    hints: &mut Hints,
) -> Result<(), Fault> {
    let mut update = connection.prepare_cached(
        "UPDATE backroom_messages SET lease_id = NULL, leased_from = NULL, leased_until = NULL \
         WHERE id = ?1 AND lease_id = ?2 RETURNING reply_to",
    )?;
    for id in ids {
        let params = params![id.0.as_bytes(), lease.0.as_bytes()];
        let released: Option<String> = update.query_row(params, |row| row.get(0)).optional()?;
        if let Some(queue) = &released {
            hints.replies(queue);
        }
    }
    Ok(())
}

/// Messages in their order, up to a bound in bytes.
pub(super) fn messages(
    connection: &Connection,
    reply_to: Option<&str>,
    after: i64,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<MessageRow>, Fault> {
    let sql = match reply_to {
        Some(_) => concat!(
            "SELECT ",
            columns!(),
            ", bytes FROM backroom_messages WHERE reply_to = ?1 AND seq > ?2 ORDER BY seq"
        ),
        None => concat!(
            "SELECT ",
            columns!(),
            ", bytes FROM backroom_messages WHERE ?1 IS NULL AND seq > ?2 ORDER BY seq"
        ),
    };
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![reply_to, after])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.len() < limit
        && bytes < bytes_max
        && let Some(row) = rows.next()?
    {
        bytes += usize::try_from(number(row, 8)?).unwrap_or(usize::MAX);
        found.extend(message_if_whole(row)?);
    }
    Ok(found)
}

/// Reply queues by name.
pub(super) fn reply_queues(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<ReplyQueue>, Fault> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT name, coalesce(messages, 0), \
           (SELECT count(*) FROM backroom_messages WHERE reply_to = name AND ",
        taken!(),
        "), coalesce(bytes, 0), oldest_at, \
           coalesce((SELECT dropped FROM backroom_reply_queues AS queue WHERE queue.name = named.name), 0) \
         FROM (SELECT reply_to AS name FROM backroom_messages UNION SELECT name FROM backroom_reply_queues) AS named \
         LEFT JOIN (SELECT reply_to, count(*) AS messages, sum(bytes) AS bytes, min(at) AS oldest_at \
           FROM backroom_messages GROUP BY reply_to) AS counted ON counted.reply_to = named.name \
         WHERE ?3 IS NULL OR name > ?3 ORDER BY name LIMIT ?4"
    ))?;
    let latest = micros(MessageLease::latest_from(now));
    let rows = select.query_map(params![micros(now), latest, after, at_most(limit)], |row| {
        Ok(ReplyQueue {
            name: row.get(0)?,
            messages: number(row, 1)?,
            taken: number(row, 2)?,
            bytes: number(row, 3)?,
            oldest_at: moment_or_none(row, 4)?,
            dropped: number(row, 5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Deletes the oldest messages that no taker has, as many as the bounds ask for.
pub(super) fn drop_messages(
    connection: &Connection,
    bounds: &DropMessages,
    now: Timestamp,
) -> Result<u64, Fault> {
    let mut count = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(bytes), 0) FROM backroom_messages WHERE reply_to = ?1",
    )?;
    let (messages, bytes) =
        count.query_row([&bounds.reply_to], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
    let mut select = connection.prepare_cached(concat!(
        "SELECT seq, at, bytes FROM backroom_messages INDEXED BY backroom_messages_order \
         WHERE reply_to = ?3 AND NOT ",
        taken!(),
        " ORDER BY seq LIMIT ?4"
    ))?;
    let latest = micros(MessageLease::latest_from(now));
    let params = params![micros(now), latest, bounds.reply_to, at_most(bounds.limit)];
    let oldest =
        select.query_map(params, |row| Ok((row.get::<_, i64>(0)?, moment(row, 1)?, number(row, 2)?)))?;
    let oldest: Vec<_> = oldest.collect::<Result<_, _>>()?;
    let chosen = bounds.count(messages, bytes, oldest.iter().map(|(_, at, bytes)| (*at, *bytes)));
    let mut delete = connection.prepare_cached("DELETE FROM backroom_messages WHERE seq = ?1")?;
    for (seq, ..) in &oldest[..chosen] {
        delete.execute([seq])?;
    }
    if chosen > 0 {
        let mut add = connection.prepare_cached(
            "INSERT INTO backroom_reply_queues (name, dropped, dropped_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET dropped = dropped + excluded.dropped, dropped_at = excluded.dropped_at",
        )?;
        add.execute(params![bounds.reply_to, at_most(chosen), micros(now)])?;
    }
    let mut forget = connection.prepare_cached("DELETE FROM backroom_reply_queues WHERE dropped_at < ?1")?;
    forget.execute([micros(earlier(now, DROPPED_REMEMBERED))])?;
    Ok(chosen as u64)
}

/// Stores messages as they are; answers how many were new.
pub(super) fn import(connection: &Connection, messages: &[Message], hints: &mut Hints) -> Result<u64, Fault> {
    let mut new = 0;
    for message in messages {
        new += u64::from(insert(connection, message, hints)?);
    }
    Ok(new)
}

fn messages_of(connection: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<MessageRow>, Fault> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(message_if_whole(row)?);
    }
    Ok(found)
}

/// A number that is never negative.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// The message of a row; none, and a line in the log, if a newer program wrote it or it is damaged.
fn message_if_whole(row: &Row<'_>) -> rusqlite::Result<Option<MessageRow>> {
    let id = MessageId(Uuid::from_bytes(row.get(1)?));
    let body = match MessageBody::from_stored(row.get_ref(3)?.as_str()?) {
        Ok(body) => body,
        Err(error) => {
            if unreadable::is_first(backroom_core::JobId(id.0)) {
                tracing::error!(message = %id, %error, "failed to read this message, so it is left out; update this program");
            }
            return Ok(None);
        }
    };
    let lease = row.get::<_, Option<[u8; 16]>>(5)?.map(|lease| LeaseId(Uuid::from_bytes(lease)));
    let lease = match (lease, moment_or_none(row, 6)?, moment_or_none(row, 7)?) {
        (Some(id), Some(from), Some(until)) => Some(MessageLease { id, from, until }),
        _ => None,
    };
    Ok(Some(MessageRow {
        seq: number(row, 0)?,
        message: Message { id, reply_to: row.get(2)?, body },
        deliveries: row.get(4)?,
        lease,
    }))
}
