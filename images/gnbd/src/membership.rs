//! Who belongs to the cluster: asked of a hook, a program that knows the cluster manager at hand.
//!
//! The historic programs were linked to cman. Here a program given by `-m`, or [`DEFAULT_HOOK`], is run with
//!
//! - `name`: prints this node's name, exit 0; anything else means that there is no cluster;
//! - `state NODE`: prints `member`, `left`, `fenced` or `unknown`;
//! - `fence NODE`: fences the node, exit 0 once it cannot write any more.
//!
//! With `-n` there is no hook: the name is the host's, and nobody can be fenced.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
    /// It was fenced after it was lost: it does not write.
    Fenced,
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
        Ok(match answer(hook, &["state", node.as_str()])?.as_str() {
            "member" => NodeState::Member,
            "left" => NodeState::Left,
            "fenced" => NodeState::Fenced,
            _ => NodeState::Unknown,
        })
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
