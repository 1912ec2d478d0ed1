//! The server alone, on the host, over loopback: `gnbd_serv` beside nbdkit, each with the same file, cached, one
//! connection, and as many requests of the same length under way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{DEPTH, LENGTH, read_all};
use super::table::{Row, Wanted};
use crate::{Lab, LabError, host};

/// Bytes of the file; it stays in the page cache.
const FILE: u64 = 512 << 20;
/// For a server to begin.
const START: Duration = Duration::from_secs(20);
/// For reading the file once.
const READING: Duration = Duration::from_secs(120);
/// Between two looks whether a server listens.
const GLANCE: Duration = Duration::from_millis(20);

/// What it takes beside `gnbd_serv`, and the packages.
const OTHERS: [(&str, &str); 2] = [("nbdkit", "nbdkit"), ("nbdcopy", "libnbd-bin")];

pub(super) struct HostPair {
    file: PathBuf,
    gnbd: SocketAddr,
    /// nbdkit's port, where it is installed.
    nbd: Option<u16>,
    _servers: Vec<Child>,
    _folder: TempDir,
}

impl HostPair {
    /// Measures both in turns.
    pub(super) async fn measure(
        lab: &Lab,
        rounds: u32,
        cancel: &CancellationToken,
    ) -> Result<Row, LabError> {
        let mut row = Row {
            what: "sequential read over loopback, on the host, cached".to_owned(),
            unit: "MiB/s",
            wanted: Wanted::Ratio(0.8),
            gnbd: Vec::new(),
            nbd: Vec::new(),
            skipped: skipped(),
        };
        if cancel.is_cancelled() {
            return Ok(row);
        }
        let pair = Self::start(lab, row.skipped.is_none()).await?;
        // The first reading is a warm-up.
        for round in 0..=rounds {
            if cancel.is_cancelled() {
                break;
            }
            let gnbd = within(READING, "read by GNBD", read_all(pair.gnbd, "disk"));
            let begin = Instant::now();
            let read = gnbd.await?;
            let rate = mib(read) / begin.elapsed().as_secs_f64();
            let nbd = match pair.nbd {
                Some(port) => Some(pair.copy(port).await?),
                None => None,
            };
            if round > 0 {
                row.gnbd.push(rate);
                row.nbd.extend(nbd);
            }
        }
        Ok(row)
    }

    async fn start(lab: &Lab, with_nbdkit: bool) -> Result<Self, LabError> {
        let programs = build(lab.project()).await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("disk");
        write_noise(&file)?;
        let (serv, address) = start_gnbd(&programs, folder.path()).await?;
        let mut export = program(&programs.join("gnbd_export"), folder.path());
        export.args(["-q", "-c", "-e", "disk", "-d"]).arg(&file);
        let exported = within(START, "gnbd_export", export.output()).await?;
        if !exported.status.success() {
            return Err(failed("gnbd_export", &exported.stderr));
        }
        let mut servers = vec![serv];
        let mut nbd = None;
        if with_nbdkit {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port();
            let mut nbdkit = Command::new("nbdkit");
            nbdkit
                .args([
                    "--foreground",
                    "--ipaddr=127.0.0.1",
                    &format!("--port={port}"),
                    "file",
                ])
                .arg(&file);
            servers.push(quiet(&mut nbdkit).spawn()?);
            listening(port).await?;
            nbd = Some(port);
        }
        Ok(Self {
            file,
            gnbd: address,
            nbd,
            _servers: servers,
            _folder: folder,
        })
    }

    /// Reads everything by nbdcopy; MiB a second.
    async fn copy(&self, port: u16) -> Result<f64, LabError> {
        let mut copy = Command::new("nbdcopy");
        copy.args(["--connections=1", "--no-extents", "--queue-size=67108864"])
            .arg(format!("--requests={DEPTH}"))
            .arg(format!("--request-size={LENGTH}"))
            .arg(format!("nbd://127.0.0.1:{port}"))
            .arg("null:");
        let begin = Instant::now();
        let copied = within(READING, "nbdcopy", copy.kill_on_drop(true).output()).await?;
        let seconds = begin.elapsed().as_secs_f64();
        if !copied.status.success() {
            return Err(failed("nbdcopy", &copied.stderr));
        }
        Ok(mib(fs_err::metadata(&self.file)?.len()) / seconds)
    }
}

/// Why nbdkit is not measured, if it is not.
fn skipped() -> Option<String> {
    let missing: Vec<_> = OTHERS
        .iter()
        .filter(|(program, _)| !host::is_installed(Path::new(program)))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    Some(format!(
        "skipped: no {}; install with: apt-get install --no-install-recommends {}",
        names.join(", "),
        packages.join(" ")
    ))
}

/// Has cargo compile the programs for this machine; the folder that they are in.
async fn build(project: &Path) -> Result<PathBuf, LabError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "-p",
            "gnbd",
            "--manifest-path",
            "images/Cargo.toml",
        ])
        .args([
            "--bin",
            "gnbd_serv",
            "--bin",
            "gnbd_export",
            "--message-format=json",
        ])
        .current_dir(project);
    let built = command.output().await?;
    if !built.status.success() {
        return Err(failed("cargo build -p gnbd", &built.stderr));
    }
    let lines = built.stdout.split(|byte| *byte == b'\n');
    let mut messages =
        lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let program = messages.find_map(|message| {
        let path = Path::new(message.get("executable")?.as_str()?).to_owned();
        path.ends_with("gnbd_serv").then_some(path)
    });
    let folder = program.and_then(|program| Some(program.parent()?.to_owned()));
    folder.ok_or_else(|| failed("cargo build -p gnbd", b"it does not say where gnbd_serv is"))
}

/// Nothing but noise: neither side may find zeroes or holes.
fn write_noise(file: &Path) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = fs_err::File::create(file)?;
    for _ in 0..FILE >> 20 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        io::Write::write_all(&mut out, &block)?;
    }
    Ok(())
}

async fn start_gnbd(programs: &Path, folder: &Path) -> Result<(Child, SocketAddr), LabError> {
    let mut command = program(&programs.join("gnbd_serv"), folder);
    command.args(["-n", "-f", "-v", "-b", "127.0.0.1", "-p", "0"]);
    let mut serv = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let said = serv.stdout.take().map(BufReader::new);
    let address = async {
        let mut lines = said.ok_or(io::ErrorKind::BrokenPipe)?.lines();
        while let Some(line) = lines.next_line().await? {
            let address = line.rsplit(' ').next().unwrap_or_default();
            if line.contains("listening on ") {
                return address.parse().map_err(io::Error::other);
            }
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    let address = within(START, "gnbd_serv", address).await?;
    Ok((serv, address))
}

/// With a run folder of its own.
fn program(path: &Path, folder: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env("GNBD_RUN_DIR", folder.join("run"))
        .kill_on_drop(true);
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
}

async fn listening(port: u16) -> Result<(), LabError> {
    let connect = async {
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            sleep(GLANCE).await;
        }
        Ok(())
    };
    within(START, "connect to nbdkit", connect).await
}

async fn within<T>(
    time: Duration,
    what: &str,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, LabError> {
    match timeout(time, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(what, error.to_string().as_bytes())),
        Err(_) => Err(failed(
            what,
            format!("nothing came of it within {time:?}").as_bytes(),
        )),
    }
}

fn failed(what: &str, said: &[u8]) -> LabError {
    LabError::Measure {
        what: format!("measure the server on the host: {what}"),
        seen: String::from_utf8_lossy(said).trim().to_owned(),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
