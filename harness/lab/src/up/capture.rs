//! A supervisor's side of a capture.

use std::io;

use sanlab_fleet::LiveCapture;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, split};
use tokio::net::UnixStream;

use super::control_socket::Shared;
use super::protocol::{Reply, send};

/// Passes on what a node's card carries, until the client says no more or the fleet ends.
pub(crate) async fn serve(
    mut stream: BufReader<UnixStream>,
    shared: &Shared,
    node: &str,
    network: Option<&str>,
) -> io::Result<()> {
    let watched = shared.node(node).and_then(|_| {
        let watched = shared.fleet()?.watch(node, network);
        watched.map_err(|error| Reply::Refused {
            reason: format!("failed to {error}"),
            mistaken: true,
        })
    });
    match watched {
        Ok(live) => {
            send(&mut stream, &Reply::Started).await?;
            pass(live, stream).await
        }
        Err(refused) => send(&mut stream, &refused).await,
    }
}

async fn pass(mut live: LiveCapture, stream: BufReader<UnixStream>) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    let mut more = [0; 1];
    loop {
        tokio::select! {
            piece = live.next() => match piece {
                Some(piece) => write(&mut writer, &piece).await?,
                None => break,
            },
            // A client says no more; that it wants no more is all that can come.
            _ = reader.read(&mut more) => live.end(),
        }
    }
    writer.write_u32(0).await?;
    writer.write_u64(live.frames()).await?;
    writer.write_u64(live.missed()).await?;
    writer.flush().await
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
    writer.write_u32(length).await?;
    writer.write_all(piece).await?;
    writer.flush().await
}
