//! Replies to streams of Redis.

use std::path::PathBuf;

use ::redis::{RedisResult, aio::MultiplexedConnection};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Publish, Reply, Unsent};
use crate::{SourceError, broker};

pub(super) struct Redis {
    url: String,
    ca_file: Option<PathBuf>,
    open: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    pub(super) fn new(url: &str, ca_file: Option<PathBuf>) -> Self {
        Self { url: url.into(), ca_file, open: Mutex::new(None) }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, SourceError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let connection = broker::redis_connect(&self.url, self.ca_file.as_ref()).await?;
        *open = Some(connection.clone());
        Ok(connection)
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

#[async_trait]
impl Publish for Redis {
    async fn publish(&self, address: &str, message: &Reply) -> Result<(), Unsent> {
        let mut connection = self.connection().await.map_err(Unsent::Failed)?;
        let mut add = ::redis::cmd("XADD");
        add.arg(address).arg("*").arg("id").arg(message.id.to_string()).arg("data").arg(&message.data);
        add.arg("content-type").arg("application/json");
        if let Some(id) = &message.correlation_id {
            add.arg("correlation_id").arg(id);
        }
        for (attribute, value) in message.attributes() {
            add.arg(format!("ce_{attribute}")).arg(value);
        }
        let sent: RedisResult<String> = add.query_async(&mut connection).await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) => {
                if error.is_connection_dropped() || error.is_io_error() {
                    // The next attempt connects again.
                    *self.open.lock().await = None;
                }
                Err(Unsent::Failed(SourceError::new(format!("send the reply: {error}"))))
            }
        }
    }
}
