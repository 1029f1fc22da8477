//! Messages in reply queues.
//!
//! The order in which transactions commit is not that of `seq`. No statement here passes a `seq` and asks for what follows: a taker takes
//! whatever it finds. Two messages of one job are always in order, because the second change waits for the commit of the first.

use std::collections::HashSet;

use backroom_core::{
    JobId, LeaseId, Message, MessageBody, MessageId, MessageLease, Timestamp, bounds::earlier,
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::store::{
    Acknowledged, Call, DROPPED_REMEMBERED, DropMessages, MessageRow, ReplyQueue, TakeMessages,
    postgres::{
        Core,
        columns::{
            messages::{MESSAGE_TYPES, MessageColumns},
            row::{at_most, moment, moment_or_none},
            timestamp::PgTimestamp,
        },
        wire::{connection::Bound, error::Fault, settings::BRIEFLY, sql::Sql},
    },
    unreadable,
};

/// The columns that [`message`] reads.
macro_rules! columns {
    () => {
        "messages.seq, messages.id, reply_to, body, deliveries, lease_id, leased_from, leased_until"
    };
}

/// A taker has the message: its lease holds at a moment ($1). Leases given after $2 do not hold, see
/// [`MessageLease`](backroom_core::MessageLease).
macro_rules! taken {
    () => {
        "(lease_id IS NOT NULL AND leased_until > $1 AND leased_from <= $2)"
    };
}

/// One taker of a reply queue at a time. The lock ends with the transaction. A statement of its own, so that the next one
/// sees what the taker before has committed. Parameter: the reply queue.
static LOCK: Sql = Sql {
    text: "SELECT pg_advisory_xact_lock(hashtextextended('{schema}.messages ' || $1, 0))",
    types: &[Type::TEXT],
};

/// Takes the oldest messages whose key no taker has, up to the one that makes them reach a number of bytes. Parameters: now, latest
/// begin of a lease that holds, reply queue, limit, bytes, lease, begin of the lease, its end.
static TAKE: Sql = Sql {
    text: concat!(
        "WITH busy AS MATERIALIZED (SELECT DISTINCT order_key FROM {schema}.messages WHERE reply_to = $3 AND ",
        taken!(),
        "), free AS MATERIALIZED (SELECT seq, id, bytes FROM {schema}.messages \
           WHERE reply_to = $3 AND (order_key IN (SELECT order_key FROM busy)) IS NOT TRUE ORDER BY seq LIMIT $4), \
         within AS MATERIALIZED (SELECT id, sum(bytes) OVER (ORDER BY seq) - bytes AS bytes_before FROM free) \
         UPDATE {schema}.messages SET lease_id = $6, leased_from = $7, leased_until = $8, deliveries = deliveries + 1 \
         FROM within WHERE messages.id = ANY (ARRAY[within.id]) AND (bytes_before < $5 OR bytes_before = 0) RETURNING ",
        columns!()
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::UUID,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
    ],
};

/// Whether a reply queue has any message. Parameter: its name.
static HAS_ANY: Sql =
    Sql { text: "SELECT FROM {schema}.messages WHERE reply_to = $1 LIMIT 1", types: &[Type::TEXT] };

/// Messages under a lease, without those that follow one with the same key that is under another lease or none by now. Parameters: reply
/// queue, lease.
static TAKEN_BEFORE: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.messages WHERE reply_to = $1 AND lease_id = $2 \
         AND NOT EXISTS (SELECT FROM {schema}.messages AS earlier WHERE earlier.reply_to = $1 \
           AND earlier.order_key = messages.order_key AND earlier.seq < messages.seq \
           AND earlier.lease_id IS DISTINCT FROM $2) \
         ORDER BY seq"
    ),
    types: &[Type::TEXT, Type::UUID],
};

/// Deletes messages under a lease. Answers with their ids and reply queues. Parameters: lease, ids.
static ACKNOWLEDGE: Sql = Sql {
    text: "DELETE FROM {schema}.messages WHERE id = ANY($2::uuid[]) AND lease_id = $1 RETURNING id, reply_to",
    types: &[Type::UUID, Type::UUID_ARRAY],
};

/// Deletes all messages about jobs. Answers with their reply queues. Parameter: ids of jobs.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.messages WHERE job_id = ANY($1::uuid[]) RETURNING reply_to",
    types: &[Type::UUID_ARRAY],
};

/// Which of these ids are stored. Parameter: ids.
static STORED: Sql =
    Sql { text: "SELECT id FROM {schema}.messages WHERE id = ANY($1::uuid[])", types: &[Type::UUID_ARRAY] };

/// Ends a lease of messages. Answers with their reply queues. Parameters: lease, ids.
static RELEASE: Sql = Sql {
    text: "UPDATE {schema}.messages SET lease_id = NULL, leased_from = NULL, leased_until = NULL \
           WHERE id = ANY($2::uuid[]) AND lease_id = $1 RETURNING reply_to",
    types: &[Type::UUID, Type::UUID_ARRAY],
};

/// Messages in their order. Parameters: reply queue or null, position after which they begin, limit, bytes.
static LIST: Sql = Sql {
    text: concat!(
        "WITH found AS (SELECT id, sum(bytes) OVER (ORDER BY seq) - bytes AS bytes_before FROM ( \
           SELECT id, seq, bytes FROM {schema}.messages WHERE reply_to = $1 AND seq > $2 \
           UNION ALL SELECT id, seq, bytes FROM {schema}.messages WHERE $1 IS NULL AND seq > $2 \
           ORDER BY seq LIMIT $3) AS page) \
         SELECT ",
        columns!(),
        " FROM found JOIN {schema}.messages ON messages.id = found.id WHERE bytes_before < $4 OR bytes_before = 0 \
         ORDER BY messages.seq"
    ),
    types: &[Type::TEXT, Type::INT8, Type::INT8, Type::INT8],
};

/// Reply queues by name. Parameters: now, latest begin of a lease that holds, name after which they begin or null, limit.
static QUEUES: Sql = Sql {
    text: concat!(
        "WITH counted AS (SELECT reply_to AS name, count(*) AS messages, sum(bytes)::bigint AS bytes, min(at) AS oldest_at \
           FROM {schema}.messages WHERE $3 IS NULL OR reply_to > $3 GROUP BY reply_to) \
         SELECT name, coalesce(messages, 0), \
           (SELECT count(*) FROM {schema}.messages WHERE reply_to = name AND ",
        taken!(),
        "), coalesce(bytes, 0), oldest_at, coalesce(dropped::bigint, 0) \
         FROM counted FULL JOIN {schema}.reply_queues USING (name) WHERE $3 IS NULL OR name > $3 ORDER BY name LIMIT $4"
    ),
    types: &[Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TEXT, Type::INT8],
};

/// How many messages a reply queue has, and bytes. Parameter: its name.
static COUNT: Sql = Sql {
    text: "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM {schema}.messages WHERE reply_to = $1",
    types: &[Type::TEXT],
};

/// The oldest messages that no taker has. Parameters: now, latest begin of a lease that holds, reply queue, limit.
static OLDEST: Sql = Sql {
    text: concat!(
        "SELECT id, at, bytes::bigint FROM {schema}.messages WHERE reply_to = $3 AND NOT ",
        taken!(),
        " ORDER BY seq LIMIT $4"
    ),
    types: &[Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TEXT, Type::INT8],
};

/// Deletes messages that no taker has, and counts them as dropped. Forgets the counts of reply queues that dropped nothing for
/// long. Parameters: now, latest begin of a lease that holds, reply queue, ids, until when counts are forgotten.
static DROP: Sql = Sql {
    text: concat!(
        "WITH gone AS (DELETE FROM {schema}.messages WHERE id = ANY($4::uuid[]) AND NOT ",
        taken!(),
        " RETURNING id), counted AS (SELECT count(*) AS dropped FROM gone), \
         added AS (INSERT INTO {schema}.reply_queues (name, dropped, dropped_at) \
           SELECT $3, dropped, $1 FROM counted WHERE dropped > 0 \
           ON CONFLICT (name) DO UPDATE SET dropped = reply_queues.dropped + excluded.dropped, dropped_at = excluded.dropped_at), \
         forgotten AS (DELETE FROM {schema}.reply_queues WHERE dropped_at < $5 AND name <> $3) \
         SELECT dropped FROM counted"
    ),
    types: &[Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TEXT, Type::UUID_ARRAY, Type::TIMESTAMPTZ],
};

/// Stores messages; answers with the ids that were new. Parameters: messages.
static IMPORT: Sql = Sql {
    text: "INSERT INTO {schema}.messages (id, reply_to, order_key, job_id, at, bytes, body) \
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::bigint[], $7::text[]) \
           ON CONFLICT DO NOTHING RETURNING id",
    types: &MESSAGE_TYPES,
};

pub(crate) async fn take(
    core: &Core,
    take: &TakeMessages,
    now: Timestamp,
    call: Call,
) -> Result<Vec<MessageRow>, Fault> {
    if call == Call::Repeated {
        let before = core.writer.query(&TAKEN_BEFORE, &[&take.reply_to, &take.lease.id.0]).await?;
        if !before.is_empty() {
            return messages_of(&before);
        }
    }
    // Most calls of a taker that waits find nothing, and need no lock.
    if core.claims.query(&HAS_ANY, &[&take.reply_to]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let latest = PgTimestamp(MessageLease::latest_from(now));
    let (now, limit, bytes) = (PgTimestamp(now), at_most(take.limit), at_most(take.bytes_max));
    let (from, until) = (PgTimestamp(take.lease.from), PgTimestamp(take.lease.until));
    let statements: [Bound<'_>; 3] = [
        (&BRIEFLY, Vec::new()),
        (&LOCK, vec![&take.reply_to]),
        (&TAKE, vec![&now, &latest, &take.reply_to, &limit, &bytes, &take.lease.id.0, &from, &until]),
    ];
    match core.writer.all_or_none(&statements).await {
        Ok(mut answers) => messages_of(&answers.pop().unwrap_or_default()),
        // Another taker is at it for long. This one finds the rest when it asks again.
        Err(fault) if fault.is_locked_out() => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

pub(crate) async fn acknowledge(
    core: &Core,
    lease: LeaseId,
    ids: &[MessageId],
) -> Result<Vec<Acknowledged>, Fault> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let deleted = core.writer.query(&ACKNOWLEDGE, &[&lease.0, &ids]).await?;
    let queues: HashSet<&str> = deleted.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    // The next one with the same key may be free now. Takers of other processes find it by polling.
    queues.into_iter().for_each(|queue| core.hints.wakes.notify_replies(queue));
    let deleted: HashSet<Uuid> = deleted.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut lost = HashSet::new();
    if ids.iter().any(|id| !deleted.contains(id)) {
        for row in core.writer.query(&STORED, &[&ids]).await? {
            lost.insert(row.try_get::<_, Uuid>(0)?);
        }
    }
    let answer = |id| if lost.contains(id) { Acknowledged::Lost } else { Acknowledged::Done };
    Ok(ids.iter().map(answer).collect())
}

pub(crate) async fn forget(core: &Core, jobs: &[JobId]) -> Result<u64, Fault> {
    let jobs: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
    let deleted = core.writer.query(&FORGET, &[&jobs]).await?;
    let queues: HashSet<&str> = deleted.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    queues.into_iter().for_each(|queue| core.hints.wakes.notify_replies(queue));
    Ok(deleted.len() as u64)
}

pub(crate) async fn release(core: &Core, lease: LeaseId, ids: &[MessageId]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let released = core.writer.query(&RELEASE, &[&lease.0, &ids]).await?;
    let queues: HashSet<&str> = released.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    queues.into_iter().for_each(|queue| core.hints.replies(queue));
    Ok(())
}

pub(crate) async fn messages(
    core: &Core,
    reply_to: Option<&str>,
    after: u64,
    limit: usize,
) -> Result<Vec<MessageRow>, Fault> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let bytes_max = at_most(core.settings.options.bytes_max);
    messages_of(&core.reads.query(&LIST, &[&reply_to, &after, &at_most(limit), &bytes_max]).await?)
}

pub(crate) async fn reply_queues(
    core: &Core,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<ReplyQueue>, Fault> {
    let latest = PgTimestamp(MessageLease::latest_from(now));
    let rows = core.reads.query(&QUEUES, &[&PgTimestamp(now), &latest, &after, &at_most(limit)]).await?;
    rows.iter().map(reply_queue).collect()
}

fn reply_queue(row: &Row) -> Result<ReplyQueue, Fault> {
    Ok(ReplyQueue {
        name: row.try_get(0)?,
        messages: row.try_get::<_, i64>(1)?.unsigned_abs(),
        taken: row.try_get::<_, i64>(2)?.unsigned_abs(),
        bytes: row.try_get::<_, i64>(3)?.unsigned_abs(),
        oldest_at: moment_or_none(row, 4)?,
        dropped: row.try_get::<_, i64>(5)?.unsigned_abs(),
    })
}

pub(crate) async fn drop_messages(core: &Core, bounds: &DropMessages, now: Timestamp) -> Result<u64, Fault> {
    let latest = PgTimestamp(MessageLease::latest_from(now));
    let until = PgTimestamp(earlier(now, DROPPED_REMEMBERED));
    let now = PgTimestamp(now);
    let counted = core.reads.query(&COUNT, &[&bounds.reply_to]).await?;
    let number = |column| match counted.first() {
        Some(row) => Ok::<u64, Fault>(row.try_get::<_, i64>(column)?.unsigned_abs()),
        None => Ok(0),
    };
    let (messages, bytes) = (number(0)?, number(1)?);
    let oldest =
        core.reads.query(&OLDEST, &[&now, &latest, &bounds.reply_to, &at_most(bounds.limit)]).await?;
    let one = |row: &Row| {
        let (id, bytes): (Uuid, i64) = (row.try_get(0)?, row.try_get(2)?);
        Ok::<_, Fault>((id, moment(row, 1)?, bytes.unsigned_abs()))
    };
    let oldest = oldest.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let chosen = bounds.count(messages, bytes, oldest.iter().map(|(_, at, bytes)| (*at, *bytes)));
    let ids: Vec<Uuid> = oldest[..chosen].iter().map(|(id, ..)| *id).collect();
    let rows = core.writer.query(&DROP, &[&now, &latest, &bounds.reply_to, &ids, &until]).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?.unsigned_abs())
}

pub(crate) async fn import(core: &Core, messages: &[Message]) -> Result<u64, Fault> {
    let mut columns = MessageColumns::default();
    messages.iter().try_for_each(|message| columns.push(message))?;
    let new = core.writer.query(&IMPORT, &columns.params()).await?.len();
    let queues: HashSet<&str> = messages.iter().map(|message| message.reply_to.as_str()).collect();
    queues.into_iter().for_each(|queue| core.hints.replies(queue));
    Ok(new as u64)
}

/// The messages in their order. One that a newer program wrote, or that is damaged, is left out and logged.
fn messages_of(rows: &[Row]) -> Result<Vec<MessageRow>, Fault> {
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        let id = MessageId(row.try_get(1)?);
        let body = match MessageBody::from_stored(row.try_get(3)?) {
            Ok(body) => body,
            Err(error) => {
                if unreadable::is_first(JobId(id.0)) {
                    tracing::error!(message = %id, %error, "failed to read this message, so it is left out; update this program");
                }
                continue;
            }
        };
        let lease: Option<Uuid> = row.try_get(5)?;
        let lease = match (lease, moment_or_none(row, 6)?, moment_or_none(row, 7)?) {
            (Some(id), Some(from), Some(until)) => Some(MessageLease { id: LeaseId(id), from, until }),
            _ => None,
        };
        messages.push(MessageRow {
            seq: row.try_get::<_, i64>(0)?.unsigned_abs(),
            message: Message { id, reply_to: row.try_get(2)?, body },
            deliveries: u32::try_from(row.try_get::<_, i64>(4)?).unwrap_or(u32::MAX),
            lease,
        });
    }
    messages.sort_unstable_by_key(|row| row.seq);
    Ok(messages)
}
