//! What is given in place of what the file says: `layer.striped.chunk=64KiB`.

use std::fmt;

use crate::overlay::artefacts::WORDS;

/// A key of a scenario, by its way through the file, and the value that stands there instead of the file's.
///
/// | key | what it sets |
/// | --- | --- |
/// | `mtu` | the same as `network.mtu` |
/// | `image`, `fresh`, ... | a key at the top of the file, but for `base` |
/// | `network.KEY` | a key of `[network]` |
/// | `networks.NAME.KEY` | a key of a further network |
/// | `node.NAME.KEY`, or `nodes` | a key of a node, or of a range of nodes; a node is taken out of its range for it |
/// | `layer.KIND.KEY` | a key of every layer of that kind |
/// | `layer.KIND.NAME.KEY` | a key of the layer of that kind with that `name`, `resource` or `cluster` |
/// | `file.PATH`, `file.SCOPE:PATH` | a file of the guests, as another `[[artefact]]`; the scope is an architecture, a node or a range of nodes |
/// | `deb`, `module`, `kernel`, each also with `.SCOPE` | another `[[artefact]]` of that kind; its value is a path, taken as it stands |
/// | `step.LABEL.KEY` | a key of the step of that label, or of its action; without a label the action's word counts, with `-2`, `-3` |
///
/// A value is TOML where it can be read as such (`1500`, `true`, `["a", "b"]`, `"text"`), otherwise text as it stands
/// (`64KiB`, `nbd-server`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The way to the key.
    pub key: String,
    /// The value, as given.
    pub value: String,
}

/// Why a setting was refused, in words that finish "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the setting `{text}`: it is written KEY=VALUE, such as `layer.striped.chunk=64KiB`")]
pub struct SettingError {
    /// What was given.
    pub text: String,
}

impl Setting {
    /// Parses `KEY=VALUE`; the value may be empty and may contain `=`.
    pub fn parse(text: &str) -> Result<Self, SettingError> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err(SettingError {
                text: text.to_owned(),
            }),
        }
    }
}

impl Setting {
    /// Whether it is an artefact, whose value is a path of the host or, of a kernel, an image's name.
    pub fn is_artefact(&self) -> bool {
        let first = self.key.split('.').next().unwrap_or_default();
        WORDS.contains(&first)
    }

    /// Whether its value may be an image's name: that of a kernel without any `/`.
    pub fn may_be_name(&self) -> bool {
        self.key.split('.').next() == Some("kernel") && !self.value.contains('/')
    }
}

impl fmt::Display for Setting {
    /// As it is parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}
