//! `gnbd_export`: adds, removes and lists the exports of the server on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::options::CommandLine;
use super::server_socket::{Unanswered, ask};
use super::{Console, ExitStatus, export_lists, get_uid, strerror};
use crate::protocol::local::{
    EXPORT_SIZE, ExportDescription, LocalRequest, SESSION_SIZE, SessionDescription,
};
use crate::protocol::{DeviceName, Uid};

const OPTIONS: &str = "acd:e:hlLOoqrRt:u:U::vV";

const USAGE: &str = "\
usage: gnbd_export -e NAME -d PATH [-c | -t SECONDS] [-o] [-u UID | -U[COMMAND]]
       gnbd_export -r [-O] NAME... | -R [-O] | -l | -L | -a
Adds, removes and lists what the server on this machine exports.

  -a           send keep-alives to all clients, to find those that are gone
  -c           cached: through the page cache, and clients wait without limit
  -d PATH      the block device or file to export
  -e NAME      export under this name
  -h           print this help
  -l           list the exports (what is done without another action)
  -L           list the clients' connections
  -O           with -r or -R: end the clients' connections first
  -o           read-only
  -q           only print errors
  -r NAME...   remove exports
  -R           remove all exports
  -t SECONDS   until clients may give a request up (default 60)
  -u UID       what identifies the storage, for multipath
  -U[COMMAND]  run a command that prints the uid
               (default /usr/sbin/gnbd_get_uid %n)
  -v           print details
  -V           print the version
";

const ACTIONS: [char; 6] = ['a', 'e', 'l', 'L', 'r', 'R'];
const WITH_EXPORT: [char; 6] = ['d', 'c', 't', 'o', 'u', 'U'];
const EXCLUDING: [(char, char); 4] = [('c', 't'), ('c', 'u'), ('c', 'U'), ('u', 'U')];

/// Seconds, for an uncached export without `-t`.
const DEFAULT_TIMEOUT: u32 = 60;

/// Runs the program.
pub fn run(arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitStatus {
    let line = match console.command_line(OPTIONS, USAGE, arguments) {
        Ok(line) => line,
        Err(status) => return status,
    };
    let mut actions = ACTIONS.into_iter().filter(|action| line.has(*action));
    let action = actions.next();
    if let (Some(one), Some(other)) = (action, actions.next()) {
        return console.incompatible(one, other);
    }
    for (one, other) in EXCLUDING {
        if line.has(one) && line.has(other) {
            return console.incompatible(one, other);
        }
    }
    if action != Some('e') {
        if let Some(flag) = WITH_EXPORT.into_iter().find(|flag| line.has(*flag)) {
            return console.error(&format!(
                "The -{flag} option can only be specified with -e."
            ));
        }
    }
    if line.has('O') && !matches!(action, Some('r' | 'R')) {
        return console.error("The -O option can only be specified with -r or -R.");
    }
    let done = match action {
        Some('e') => create(&line, console),
        Some('r') => remove(&line, console),
        Some('R') => remove_all(&line, console),
        Some('L') => list_sessions(console),
        Some('a') => validate(console),
        _ => list_exports(console),
    };
    match done {
        Ok(()) => 0,
        Err(text) => console.error(&text),
    }
}

/// Errors are the text that is printed.
type Done = Result<(), String>;

fn asked(what: &str, request: &LocalRequest) -> Result<Vec<u8>, String> {
    ask(request).map_err(|error| match error {
        Unanswered::Connect(error) => {
            format!("error connecting to gnbd_serv: {}", strerror(&error))
        }
        Unanswered::Refused(error) => format!("{what} request failed : {}", strerror(&error)),
    })
}

fn create(line: &CommandLine, console: &mut Console<'_>) -> Done {
    let name = device_name(line.value('e').unwrap_or_default())?;
    let path = line
        .value('d')
        .ok_or("The -d option must be specified with -e.")?;
    let uncached = !line.has('c');
    let timeout = match line.value('t') {
        Some(text) => match text.parse() {
            Ok(timeout) if timeout > 0 => timeout,
            _ => return Err(format!("invalid timeout '{text}' with -t")),
        },
        None if uncached => DEFAULT_TIMEOUT,
        None => 0,
    };
    let full_path = absolute(path)?;
    let uid = if line.has('U') {
        let command = line.value('U').unwrap_or(get_uid::DEFAULT_COMMAND);
        get_uid::get_uid(command, &full_path)?
    } else {
        let uid = line.value('u').unwrap_or_default();
        Uid::new(uid).map_err(|error| format!("invalid uid '{uid}' with -u : failed to {error}"))?
    };
    if !uid.is_empty() {
        console.detail(&format!("uid of {path} is {uid}"));
    }
    let export = ExportDescription {
        name: name.clone(),
        path: full_path,
        sectors: 0,
        timeout,
        read_only: line.has('o'),
        uncached,
        invalid: false,
        uid,
    };
    asked("create", &LocalRequest::Create(Box::new(export)))?;
    console.say(&format!("created GNBD {name} serving file {path}"));
    Ok(())
}

/// The server's folder is another.
fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(Path::new(path))
        .map_err(|error| format!("cannot find '{path}' : {}", strerror(&error)))
}

/// Longer names are cut, as ever.
fn device_name(text: &str) -> Result<DeviceName, String> {
    if text.contains('/') {
        return Err(format!(
            "server name {text} is invalid. Names cannot contain a '/'"
        ));
    }
    let mut end = text.len().min(DeviceName::SIZE - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    DeviceName::new(&text[..end])
        .map_err(|error| format!("server name {text} is invalid : failed to {error}"))
}

fn remove(line: &CommandLine, console: &mut Console<'_>) -> Done {
    if line.operands.is_empty() {
        return Err("missing operand for remove action".to_owned());
    }
    let names: Result<Vec<DeviceName>, String> =
        line.operands.iter().map(|name| device_name(name)).collect();
    remove_these(&names?, line, console)
}

fn remove_all(line: &CommandLine, console: &mut Console<'_>) -> Done {
    let names: Vec<DeviceName> = exports()?.into_iter().map(|export| export.name).collect();
    remove_these(&names, line, console)
}

/// What cannot be removed does not keep the others.
fn remove_these(names: &[DeviceName], line: &CommandLine, console: &mut Console<'_>) -> Done {
    let mut done = Ok(());
    for name in names {
        let removed = remove_one(name, line.has('O'));
        match removed {
            Ok(()) => console.say(&format!("removed GNBD {name}")),
            // The last is printed by the caller.
            Err(text) => {
                if let Err(before) = std::mem::replace(&mut done, Err(text)) {
                    console.error(&before);
                }
            }
        }
    }
    done
}

fn remove_one(name: &DeviceName, override_clients: bool) -> Done {
    if override_clients {
        asked("invalidate", &LocalRequest::Invalidate(name.clone()))?;
    }
    asked("remove", &LocalRequest::Remove(name.clone())).map(drop)
}

fn exports() -> Result<Vec<ExportDescription>, String> {
    let data = asked("list", &LocalRequest::Exports)?;
    let records = as_records::<EXPORT_SIZE>(&data);
    records
        .map(|record| ExportDescription::decode(&record))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("list request failed : failed to {error}"))
}

fn list_exports(console: &mut Console<'_>) -> Done {
    let exports = exports()?;
    if !exports.is_empty() {
        console.print(&export_lists::exports(&exports));
    } else if !console.quiet {
        console.print("no exported GNBDs\n");
    }
    Ok(())
}

fn list_sessions(console: &mut Console<'_>) -> Done {
    let data = asked("list", &LocalRequest::Sessions)?;
    let sessions = as_records::<SESSION_SIZE>(&data)
        .map(|record| SessionDescription::decode(&record))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("list request failed : failed to {error}"))?;
    if !sessions.is_empty() {
        console.print(&export_lists::sessions(&sessions));
    } else if !console.quiet {
        console.print("no server processes\n");
    }
    Ok(())
}

fn validate(console: &mut Console<'_>) -> Done {
    asked("validate", &LocalRequest::Validate)?;
    console.say("removed invalid server processes");
    Ok(())
}

/// Whole records; a list that was cut short has lost its last one.
fn as_records<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.chunks_exact(N).map(|chunk| {
        let mut record = [0; N];
        record.copy_from_slice(chunk);
        record
    })
}
