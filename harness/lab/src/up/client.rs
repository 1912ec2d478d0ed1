//! Finding fleets that are up, and asking them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_fleet::Registry;
use sanlab_plan::did_you_mean;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::protocol::{Reply, Request, Status, receive, send};
use crate::LabError;

/// The end of a socket's name.
pub(crate) const SOCKET: &str = "fleet";
/// How long a supervisor may take to answer what it knows. It may be busy with its guests' start.
const ANSWER: Duration = Duration::from_secs(10);

/// A fleet that is up, or comes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    socket: PathBuf,
}

/// All of the user, by name. What a dead one left is not among them.
pub(crate) async fn all() -> Result<Vec<Found>, LabError> {
    let mut found = Vec::new();
    for socket in sockets(&Registry::of_user()?)? {
        if UnixStream::connect(&socket).await.is_ok() {
            let name = socket.file_stem().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            found.push(Found { name, socket });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn sockets(registry: &Path) -> Result<Vec<PathBuf>, LabError> {
    let mut sockets = Vec::new();
    if !registry.exists() {
        return Ok(sockets);
    }
    for run in fs_err::read_dir(registry)? {
        // One that ends meanwhile takes its folder along.
        let Ok(files) = fs_err::read_dir(run?.path()) else {
            continue;
        };
        let paths = files.flatten().map(|file| file.path());
        sockets.extend(paths.filter(|path| path.extension().is_some_and(|it| it == SOCKET)));
    }
    Ok(sockets)
}

/// The one of that name, or the only one.
pub(crate) async fn choose(name: Option<&str>) -> Result<Found, LabError> {
    choose_of(all().await?, name)
}

fn choose_of(mut all: Vec<Found>, name: Option<&str>) -> Result<Found, LabError> {
    let names: Vec<String> = all.iter().map(|found| found.name.clone()).collect();
    match name {
        _ if all.is_empty() => Err(LabError::NoFleet),
        None if all.len() > 1 => Err(LabError::WhichFleet { names }),
        None => Ok(all.remove(0)),
        Some(name) => {
            let hint = did_you_mean(name, "fleets that are up", names.iter().map(String::as_str));
            let unknown = LabError::UnknownFleet {
                name: name.to_owned(),
                hint,
            };
            all.into_iter()
                .find(|found| found.name == name)
                .ok_or(unknown)
        }
    }
}

impl Found {
    /// Asks one thing. What comes back is the reply, and the connection for what follows.
    pub(crate) async fn ask(
        &self,
        request: &Request,
        deadline: Duration,
    ) -> Result<(Reply, BufReader<UnixStream>), LabError> {
        let asked = async {
            let mut stream = BufReader::new(UnixStream::connect(&self.socket).await?);
            send(&mut stream, request).await?;
            let reply = receive(&mut stream).await?;
            Ok::<_, io::Error>((reply, stream))
        };
        let silent = |why: String| LabError::FleetSilent {
            name: self.name.clone(),
            why,
        };
        match timeout(deadline, asked).await {
            Ok(Ok((Reply::Refused { reason, mistaken }, _))) => {
                Err(LabError::FleetRefused { reason, mistaken })
            }
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(silent("it has just ended".to_owned()))
            }
            Ok(Err(error)) => Err(silent(error.to_string())),
            Err(_) => Err(silent(format!(
                "its supervisor has not answered within {} s",
                deadline.as_secs()
            ))),
        }
    }

    /// How it is.
    pub(crate) async fn status(&self) -> Result<Status, LabError> {
        match self.ask(&Request::Status, ANSWER).await? {
            (Reply::Status(status), _) => Ok(*status),
            (other, _) => Err(self.odd(&other)),
        }
    }

    /// An answer that no supervisor of this version gives.
    pub(crate) fn odd(&self, reply: &Reply) -> LabError {
        LabError::FleetSilent {
            name: self.name.clone(),
            why: format!("its supervisor, perhaps of another version, answered {reply:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], name: Option<&str>) -> String {
        let found = |name: &&str| Found {
            name: (*name).to_owned(),
            socket: PathBuf::new(),
        };
        match choose_of(names.iter().map(found).collect(), name) {
            Ok(found) => found.name,
            Err(error) => format!("{} ({:?})", error.show(false), error.exit()),
        }
    }

    #[test]
    fn the_only_fleet_need_not_be_named() {
        assert_eq!(chosen(&["mount"], None), "mount");
        assert_eq!(chosen(&["mount", "nodes"], Some("nodes")), "nodes");
        insta::assert_snapshot!(chosen(&[], None), @"error: no fleet is up; `sanlab up FILE` starts one (BadInput)");
        insta::assert_snapshot!(chosen(&[], Some("mount")), @"error: no fleet is up; `sanlab up FILE` starts one (BadInput)");
        insta::assert_snapshot!(chosen(&["mount", "nodes"], None), @"error: several fleets are up: mount, nodes; say which with `--fleet NAME` (BadInput)");
        insta::assert_snapshot!(chosen(&["mount", "nodes"], Some("moutn")), @"error: no fleet `moutn` is up: did you mean `mount`? (BadInput)");
    }
}
