//! A connection to any PostgreSQL database, which need not have a store.

use tokio::task::AbortHandle;
use tokio_postgres::Client;

use super::{PostgresOptions, settings};
use crate::Error;

/// A connection that ends when it is dropped.
#[derive(Debug)]
pub struct Visit {
    client: Client,
    driver: AbortHandle,
}

impl Visit {
    /// Connects as a store does: the parameters of the URL, such as `sslmode`, mean the same, and so do the errors. Nothing is created.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let settings = settings(url, PostgresOptions::default())?;
        let connecting = settings.config.connect(settings.tls.clone());
        let (client, connection) = settings.within_connect_timeout(connecting).await?;
        let driver = tokio::spawn(async move {
            // Its end shows in the next query.
            let _ = connection.await;
        });
        Ok(Self { client, driver: driver.abort_handle() })
    }

    /// Sends queries.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
