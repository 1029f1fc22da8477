//! The addresses on which the server listens.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::terminal::Problem;

/// Binds every address.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Problem> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Problem::new(format_args!("listen on {address}"), &error)
                .hint("another process may have the port: `--listen 127.0.0.1:0` takes a free one")
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}
