//! Whether a connection that does not answer is slow or dead.
//!
//! A statement may take long, and then it is waited for. But where a network drops what is sent (a firewall forgets the
//! connection, a proxy stops forwarding), no answer ever comes, and neither side is told. So a second connection asks the server
//! what the first one does: if it is not busy with a statement, the answer was lost, and the connection is given up at once
//! instead of after the whole time that a statement may take.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::settings::{Duty, Settings, startup_options};
use crate::{Error, clock::Clock as _};

/// How long an answer is waited for before the server is asked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before the same question is asked again. An answer that was on its way has come by then.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the answer to such a question, beyond connecting.
const ANSWER: Duration = Duration::from_secs(3);

/// What the server says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It runs a statement.
    Busy,
    /// It waits for a statement, or is gone: what was sent to it, or its answer, was lost.
    Lost,
    /// Nothing was learned: the server cannot be reached now.
    Unknown,
}

/// Asks twice, because an answer may be on its way at the first time.
pub(crate) async fn ask(settings: &Settings, backend: i32) -> Found {
    match ask_once(settings, backend).await {
        Found::Lost => {
            settings.clock.sleep(PAUSE).await;
            ask_once(settings, backend).await
        }
        found => found,
    }
}

async fn ask_once(settings: &Settings, backend: i32) -> Found {
    let asked = async {
        let (client, connection) = connect(settings, Duty::Anything).await?;
        let asked = tokio::time::timeout(ANSWER, state(&client, backend)).await;
        connection.abort();
        Ok::<_, Error>(asked.map_or(Found::Unknown, |found| found.unwrap_or(Found::Unknown)))
    };
    asked.await.unwrap_or(Found::Unknown)
}

async fn connect(settings: &Settings, duty: Duty) -> Result<(Client, JoinHandle<()>), Error> {
    let mut config = settings.config.clone();
    config.options(startup_options(settings, duty));
    let (client, connection) = settings.within_connect_timeout(config.connect(settings.tls.clone())).await?;
    let driving = tokio::spawn(async move {
        // It lives for one question; how it ends is the answer to that one.
        let _ = connection.await;
    });
    Ok((client, driving))
}

/// Whether the other connection is busy. The role sees its own sessions, whatever rights it has.
async fn state(client: &Client, backend: i32) -> Result<Found, tokio_postgres::Error> {
    let text = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state NOT IN ('idle', 'idle in transaction', \
                'idle in transaction (aborted)'))";
    let rows = client.query_typed(text, &[(&backend, tokio_postgres::types::Type::INT4)]).await?;
    let is_busy = rows.first().map_or(Ok(false), |row| row.try_get(0))?;
    Ok(if is_busy { Found::Busy } else { Found::Lost })
}
