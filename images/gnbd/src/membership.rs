//! Who belongs to the cluster: asked of a hook, a program that knows the cluster manager at hand.
//!
//! The historic programs were linked to cman. Here a program given by `-m`, or [`DEFAULT_HOOK`], is run with
//!
//! - `name`: prints this node's name, exit 0; anything else means that there is no cluster;
//! - `state NODE`: prints `member`, `left`, `fenced`, `fenced SECONDS` or `unknown`;
//! - `fence NODE`: fences the node, exit 0 once it cannot write any more.
//!
//! `fenced` alone is a promise that the node has not come back since. A hook that cannot know, because the node is
//! none of its cluster's, adds a moment before the fencing, in seconds since this machine's boot as `/proc/uptime`
//! counts them: who has spoken to the node since then knows that it came back.
//!
//! With `-n` there is no hook: the name is the host's, and nobody can be fenced.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::error::Error;
use crate::protocol::NodeName;

/// The hook that is run unless another or none is asked for.
pub const DEFAULT_HOOK: &str = "/etc/gnbd/membership";

/// What the cluster manager says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It is in the cluster.
    Member,
    /// It left or was lost, and has not been fenced: it may still write.
    Left,
    /// It was fenced after it was lost: it does not write. If it may have come back since: the moment after which it
    /// was fenced, counted from this machine's boot.
    Fenced(Option<Duration>),
    /// The cluster does not know it.
    Unknown,
}

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Nowhere: `-n`.
    None,
    /// This program.
    Hook(PathBuf),
}

impl Membership {
    /// The choice of a command line: `-n`, or `-m HOOK`, or neither.
    pub fn choose(none: bool, hook: Option<&str>) -> Self {
        if none {
            return Self::None;
        }
        Self::Hook(hook.map_or_else(|| Path::new(DEFAULT_HOOK).to_owned(), PathBuf::from))
    }

    /// This node's name: the cluster's, or without one the host's.
    pub fn node_name(&self) -> Result<NodeName, Error> {
        let name = match self {
            Self::None => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            Self::Hook(hook) => answer(hook, &["name"])?,
        };
        Ok(NodeName::new(&name)?)
    }

    /// What the cluster says of a node; without one, that it does not know it.
    pub fn state(&self, node: &NodeName) -> Result<NodeState, Error> {
        let Self::Hook(hook) = self else {
            return Ok(NodeState::Unknown);
        };
        let word = answer(hook, &["state", node.as_str()])?;
        Ok(state_of(&word))
    }

    /// Has the cluster fence a node. Success means that it cannot write any more.
    pub fn fence(&self, node: &NodeName) -> Result<(), Error> {
        let Self::Hook(hook) = self else {
            return Err(Error::Command {
                command: format!("fence {node}"),
                reason: "there is no cluster manager".to_owned(),
            });
        };
        answer(hook, &["fence", node.as_str()]).map(drop)
    }
}

fn state_of(word: &str) -> NodeState {
    match word.split_once(' ') {
        // A moment that is none is no reason to believe anything.
        Some(("fenced", moment)) => match moment.trim().parse().map(Duration::try_from_secs_f64) {
            Ok(Ok(moment)) => NodeState::Fenced(Some(moment)),
            _ => NodeState::Unknown,
        },
        None if word == "member" => NodeState::Member,
        None if word == "left" => NodeState::Left,
        None if word == "fenced" => NodeState::Fenced(None),
        Some(_) | None => NodeState::Unknown,
    }
}

/// The first line that the hook prints.
fn answer(hook: &Path, arguments: &[&str]) -> Result<String, Error> {
    let command = format!("{} {}", hook.display(), arguments.join(" "));
    let Output { status, stdout, .. } = Command::new(hook)
        .args(arguments)
        // A hook may use these programs, and they must not take themselves for daemons.
        .env_remove(crate::daemon::VARIABLE)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::host(format!("run `{command}`"), source))?;
    if !status.success() {
        return Err(Error::Command {
            command,
            reason: status.to_string(),
        });
    }
    let text = String::from_utf8_lossy(&stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_clearly_is_believed() {
        assert_eq!(state_of("member"), NodeState::Member);
        assert_eq!(state_of("left"), NodeState::Left);
        assert_eq!(state_of("fenced"), NodeState::Fenced(None));
        let moment = Duration::from_millis(12_340);
        assert_eq!(state_of("fenced 12.34"), NodeState::Fenced(Some(moment)));
        for word in ["fenced x", "fenced -1", "fenced ", "fencedd", "left it", ""] {
            assert_eq!(state_of(word), NodeState::Unknown, "{word}");
        }
    }
}
