//! `sanlab cp`: a file into a guest of a fleet that is up, or out of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use fs_err::tokio as fs;
use sanlab_plan::guest;
use sanlab_vm::frame::{Ending, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::commands::exec::{code_of, exec};
use crate::up::client::{self, Found};
use crate::up::remote::{Remote, RemoteInput, Said};
use crate::{Exit, LabError};

/// Read at once.
const CHUNK: usize = 64 << 10;

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// File here, or `NODE:PATH`
    #[arg(value_name = "FROM")]
    from: Place,
    /// File here, or `NODE:PATH`; with `/` at its end a folder
    #[arg(value_name = "TO")]
    to: Place,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Here(String),
    In { node: String, path: String },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            // A path may have a colon, but not before its first `/`.
            Some((node, path)) if !node.contains('/') => {
                if !path.starts_with('/') {
                    return Err(format!("a path in a guest is absolute: `{node}:/{path}`"));
                }
                Ok(Self::In {
                    node: node.to_owned(),
                    path: path.to_owned(),
                })
            }
            _ => Ok(Self::Here(text.to_owned())),
        }
    }
}

/// Copies one file: all of it, or nothing is there.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    match (arguments.from, arguments.to) {
        (Place::Here(from), Place::In { node, path }) => {
            let from = Path::new(&from);
            put(&fleet, from, &node, &in_folder(path, from)).await
        }
        (Place::In { node, path }, Place::Here(to)) => {
            let to = in_folder(to, Path::new(&path));
            get(&fleet, &node, &path, Path::new(&to)).await
        }
        (Place::Here(_), Place::Here(_)) => Err(LabError::Copy {
            why: "neither is in a guest: write `NODE:PATH`".to_owned(),
        }),
        (Place::In { .. }, Place::In { .. }) => Err(LabError::Copy {
            why: "both are in guests: copy it here first".to_owned(),
        }),
    }
}

/// The path, or that of the file in it if it is a folder's.
fn in_folder(path: String, file: &Path) -> String {
    match file.file_name() {
        Some(name) if path.ends_with('/') => path + &name.to_string_lossy(),
        Some(name) if path == "." => name.to_string_lossy().into_owned(),
        _ => path,
    }
}

async fn put(fleet: &Found, from: &Path, node: &str, to: &str) -> Result<Exit, LabError> {
    let mut file = fs::File::open(from).await?;
    let about = file.metadata().await?;
    if about.is_dir() {
        return Err(LabError::Copy {
            why: format!(
                "{0} is a folder; `tar -C {0} -c . | sanlab exec {node} -- tar -C {to} -x` copies what is in it",
                from.display()
            ),
        });
    }
    let argv = guest::write_file(to, about.permissions().mode() & 0o7777);
    let mut process = Remote::start(fleet, exec(node, argv, None)).await?;
    let input = process.input();
    let mut send = async move |input: RemoteInput| {
        let mut bytes = vec![0; CHUNK];
        loop {
            let length = file.read(&mut bytes).await?;
            if length == 0 || !input.write(&bytes[..length]).await {
                input.end();
                return Ok::<_, LabError>(());
            }
        }
    };
    let mut complaint = Vec::new();
    let hear = async {
        loop {
            match process.next().await? {
                Said::Wrote(_, bytes) => complaint.extend(bytes),
                Said::Ended(ending) => return Ok(ending),
            }
        }
    };
    // A file that cannot be read to its end drops the command, which then leaves nothing.
    let ((), ending) = tokio::try_join!(send(input), hear)?;
    outcome(ending, node, to, &complaint)
}

async fn get(fleet: &Found, node: &str, from: &str, to: &Path) -> Result<Exit, LabError> {
    let mut process = Remote::start(fleet, exec(node, guest::print_file(from), None)).await?;
    process.input().end();
    let folder = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Next to where it goes, so that it is there as a whole or not at all.
    let new = tempfile::Builder::new()
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    let mut file = tokio::fs::File::from_std(new.as_file().try_clone()?);
    let mut complaint = Vec::new();
    let ending = loop {
        match process.next().await? {
            Said::Wrote(Stream::Stdout, bytes) => file.write_all(&bytes).await?,
            Said::Wrote(Stream::Stderr, bytes) => complaint.extend(bytes),
            Said::Ended(ending) => break ending,
        }
    };
    file.flush().await?;
    let exit = outcome(ending, node, from, &complaint)?;
    new.persist(to).map_err(|error| error.error)?;
    Ok(exit)
}

fn outcome(ending: Ending, node: &str, path: &str, complaint: &[u8]) -> Result<Exit, LabError> {
    if ending == Ending::Exited(0) {
        return Ok(Exit::Success);
    }
    let complaint = String::from_utf8_lossy(complaint);
    let why = match complaint.trim() {
        "" => format!("the command that does it ended with {}", code_of(ending)),
        said => said.to_owned(),
    };
    Err(LabError::Copy {
        why: format!("{node}:{path}: {why}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_here_or_in_a_guest() {
        let place = |text: &str| text.parse::<Place>();
        let here = |text: &str| Ok(Place::Here(text.to_owned()));
        assert_eq!(place("a/b:c"), here("a/b:c"));
        assert_eq!(place("./x"), here("./x"));
        let inside = Place::In {
            node: "vix0".to_owned(),
            path: "/tmp/".to_owned(),
        };
        assert_eq!(place("vix0:/tmp/"), Ok(inside));
        assert!(place("vix0:tmp").unwrap_err().contains("`vix0:/tmp`"));
    }

    #[test]
    fn a_folder_gets_the_files_name() {
        let to = |path: &str| in_folder(path.to_owned(), Path::new("/a/file"));
        assert_eq!(to("/tmp/"), "/tmp/file");
        assert_eq!(to("/tmp/x"), "/tmp/x");
        assert_eq!(to("."), "file");
    }
}
