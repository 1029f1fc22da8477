//! The sockets on which the server listens: its own, or those that systemd opened for it.

use std::net::SocketAddr;

use backroom::Backroom;
use tokio::net::TcpListener;

use crate::terminal::Problem;

/// Takes the sockets of systemd, if there are any, and else binds every address.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Problem> {
    let handed = handed()?;
    if !handed.is_empty() {
        return Ok(handed);
    }
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

/// The sockets that systemd opened for this process.
#[cfg(unix)]
fn handed() -> Result<Vec<TcpListener>, Problem> {
    let mut fds = listenfd::ListenFd::from_env();
    let taken = (0..fds.len()).filter_map(|index| fds.take_tcp_listener(index).transpose());
    taken
        .map(|listener| {
            let listener = listener?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::new("take the sockets that systemd opened", &error))
}

#[cfg(not(unix))]
fn handed() -> Result<Vec<TcpListener>, Problem> {
    Ok(Vec::new())
}

/// Whether programs of other machines cannot reach these sockets.
pub(super) fn is_local(listeners: &[TcpListener]) -> Result<bool, Problem> {
    let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses.map_err(|error| Problem::new("read the address of a socket", &error))?;
    Ok(addresses.iter().all(|address| address.ip().to_canonical().is_loopback()))
}

/// Refuses to be reached from other machines while the server cannot distinguish callers.
pub(super) async fn check(backroom: &Backroom) -> Result<(), Problem> {
    let now = backroom.clock().now();
    if backroom.tokens().list().await?.iter().any(|token| token.is_valid(now)) {
        return Ok(());
    }
    Err(Problem::new(
        "listen on an address that other machines can reach",
        &"the store has no valid token, so everyone could do everything",
    )
    .hint("`backroom tokens create --scope admin NAME` makes a token; or listen on 127.0.0.1 only"))
}
