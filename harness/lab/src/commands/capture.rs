//! `sanlab capture`: what a network card of a fleet that is up sends and receives, as a pcap file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio_util::task::AbortOnDropHandle;

use crate::commands::time::parse_time;
use crate::terminal::Terminal;
use crate::up::client;
use crate::up::protocol::{Reply, Request};
use crate::{Exit, LabError};

/// For the answer of a supervisor.
const ANSWER: Duration = Duration::from_secs(10);
/// Of a piece: a frame of 64 KiB and what stands before it.
const LONGEST: u32 = 1 << 17;

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Node
    #[arg(value_name = "NODE")]
    node: String,
    /// File to write; `-` is standard output, for `wireshark -k -i -` or `tcpdump -r -`
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Network of the card [default: the fleet's first]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// How long, such as `10s` [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    limit: Option<Duration>,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
}

/// Writes frames as they come, until Ctrl-C, the time is over, the fleet ends, or nobody reads them any more.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    let Arguments { node, network, .. } = arguments;
    let stream = match fleet
        .ask(&Request::Capture { node, network }, ANSWER)
        .await?
    {
        (Reply::Started, stream) => stream,
        (other, _) => return Err(fleet.odd(&other)),
    };
    let mut out = open(&arguments.write)?;
    let (mut reader, mut writer) = split(stream);
    let limit = arguments.limit;
    let _end = AbortOnDropHandle::new(tokio::spawn(async move {
        wanted_end(limit).await;
        // What was seen until now still comes.
        let _ = writer.shutdown().await;
    }));
    loop {
        match piece(&mut reader).await {
            Ok(Some(piece)) => match out.write_all(&piece).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written?,
            },
            Ok(None) => {
                let (frames, missed) = (reader.read_u64().await?, reader.read_u64().await?);
                Terminal::new().line(&summary(frames, missed));
                break;
            }
            // It ends with its supervisor.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Success)
}

fn open(path: &Path) -> Result<Box<dyn Write + Send>, LabError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    Ok(Box::new(fs::File::create(path)?))
}

async fn wanted_end(limit: Option<Duration>) {
    let over = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Without the signal there is none to wait for.
        _ = tokio::signal::ctrl_c() => {}
        () = over => {}
    }
}

/// Nothing: there is no further one.
async fn piece(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = reader.read_u32().await?;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut piece = vec![0; length];
    reader.read_exact(&mut piece).await?;
    Ok((length > 0).then_some(piece))
}

fn summary(frames: u64, missed: u64) -> String {
    match missed {
        0 => format!("{frames} frames"),
        _ => format!(
            "{frames} frames; {missed} more are missing, because they came faster than they could be written"
        ),
    }
}
