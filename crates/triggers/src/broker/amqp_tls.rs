//! TLS for AMQP.
//!
//! The client library takes sockets of its runtime only. Its own TLS would bring in some twenty crates, which read key stores that nothing
//! here needs. So it gets one end of a pair of sockets within this process; a task passes on by TLS what goes through the other end.

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc};

use async_compat::Compat;
use lapin::AsyncTcpStream;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{failed, tls_config};
use crate::SourceError;

/// What the client library reads and writes.
pub(super) type Stream = AsyncTcpStream<Compat<TcpStream>>;

/// Connects to a port that speaks TLS. `address` is for errors.
pub(super) async fn connect(
    host: &str,
    port: u16,
    ca_file: Option<&Path>,
    address: &str,
) -> Result<Stream, SourceError> {
    let config = Arc::new(tls_config(ca_file)?);
    let failing = |error: io::Error| failed("connect to the broker", address, &error);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        failed("connect to the broker", address, &error).remedy("correct the host in `url`")
    })?;
    let socket = TcpStream::connect((host, port)).await.map_err(failing)?;
    socket.set_nodelay(true).map_err(failing)?;
    let mut broker = TlsConnector::from(config).connect(name, socket).await.map_err(failing)?;
    let (near, mut far) = pair().map_err(failing)?;
    tokio::spawn(async move {
        // The client library sees the end of its socket, whichever side has ended.
        if let Err(error) = tokio::io::copy_bidirectional(&mut far, &mut broker).await {
            tracing::debug!(%error, "a connection by TLS to a broker of AMQP has ended");
        }
    });
    Ok(AsyncTcpStream::Plain(Compat::new(near)))
}

/// Two connected sockets that no other process can see. The first one has the type of a TCP socket, which the client library wants;
/// reading and writing are the same.
fn pair() -> io::Result<(TcpStream, UnixStream)> {
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let near = std::net::TcpStream::from(OwnedFd::from(near));
    Ok((TcpStream::from_std(near)?, UnixStream::from_std(far)?))
}
