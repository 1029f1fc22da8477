//! Whether a connection that does not answer is slow or dead.
//!
//! A statement may take long, and the caller waits for it. But where a network drops packets (a firewall forgets the
//! connection, a proxy stops forwarding), no answer ever comes, and neither end notices. So a second connection asks
//! the server what the first one does. If the server runs no statement on it, the answer was lost. Then the store gives
//! the connection up at once, instead of after the longest time of a statement.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::settings::{Duty, Settings, startup_options};
use crate::{Error, clock::Clock as _};

/// How long the store waits for an answer before it asks the server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before the second question. An answer that was on its way has arrived by then.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the answer to that question, after connecting.
const ANSWER: Duration = Duration::from_secs(3);

/// What the server reports about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It runs a statement.
    Busy,
    /// It waits for a statement, or has ended: the statement or its answer was lost.
    Lost,
    /// Unknown: the server cannot be reached now.
    Unknown,
}

/// Asks twice, because the answer may have been on its way at the first question.
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
        // This connection serves one question. An error that ends it shows in the answer to that question.
        let _ = connection.await;
    });
    Ok((client, driving))
}

/// Whether the other connection runs a statement. A role may always see its own sessions.
async fn state(client: &Client, backend: i32) -> Result<Found, tokio_postgres::Error> {
    let text = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state NOT IN ('idle', 'idle in transaction', \
                'idle in transaction (aborted)'))";
    let rows = client.query_typed(text, &[(&backend, tokio_postgres::types::Type::INT4)]).await?;
    let is_busy = rows.first().map_or(Ok(false), |row| row.try_get(0))?;
    Ok(if is_busy { Found::Busy } else { Found::Lost })
}
