//! What a stretch of a run is about.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a stretch of a run is about; in a record its words: `boot`, `layer nbd`, `step load`, ...
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum PhaseName {
    /// Before all others.
    Start,
    /// The run settles where it begins.
    Prepare,
    /// The nodes of the start come up.
    Boot,
    /// The run goes on from a fleet that was kept.
    Fork,
    /// A layer comes up; which, by its key in a scenario file, or `mount`.
    Layer(String),
    /// The fleet is kept; the checkpoint's name.
    Keep(String),
    /// A step; its label.
    Step(String),
    /// Everything is looked at again.
    EndCheck,
    /// What the fleet is like at the end is written down.
    StateDump,
    /// The layers are taken down.
    TakeDown,
    /// The fleet of a run that has failed is saved.
    Save,
    /// The fleet stays up for whoever looks inside.
    Hold,
    /// Logs and states are kept.
    Collect,
    /// The guests are ended.
    Teardown,
    /// Words that this version does not know.
    Other(String),
}

impl PhaseName {
    /// The step of that label.
    pub fn step(label: impl fmt::Display) -> Self {
        Self::Step(label.to_string())
    }

    /// The layer of that key.
    pub fn layer(kind: impl fmt::Display) -> Self {
        Self::Layer(kind.to_string())
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.pad("start"),
            Self::Prepare => f.pad("prepare"),
            Self::Boot => f.pad("boot"),
            Self::Fork => f.pad("fork"),
            Self::Layer(kind) => write!(f, "layer {kind}"),
            Self::Keep(name) => write!(f, "keep {name}"),
            Self::Step(label) => write!(f, "step {label}"),
            Self::EndCheck => f.pad("end check"),
            Self::StateDump => f.pad("state dump"),
            Self::TakeDown => f.pad("take down"),
            Self::Save => f.pad("save"),
            Self::Hold => f.pad("hold"),
            Self::Collect => f.pad("collect"),
            Self::Teardown => f.pad("teardown"),
            Self::Other(words) => f.pad(words),
        }
    }
}

impl From<&str> for PhaseName {
    fn from(words: &str) -> Self {
        match words {
            "start" => Self::Start,
            "prepare" => Self::Prepare,
            "boot" => Self::Boot,
            "fork" => Self::Fork,
            "end check" => Self::EndCheck,
            "state dump" => Self::StateDump,
            "take down" => Self::TakeDown,
            "save" => Self::Save,
            "hold" => Self::Hold,
            "collect" => Self::Collect,
            "teardown" => Self::Teardown,
            _ => match words.split_once(' ') {
                Some(("layer", kind)) => Self::layer(kind),
                Some(("keep", name)) => Self::Keep(name.to_owned()),
                Some(("step", label)) => Self::step(label),
                _ => Self::Other(words.to_owned()),
            },
        }
    }
}

impl From<String> for PhaseName {
    fn from(words: String) -> Self {
        words.as_str().into()
    }
}

impl From<PhaseName> for String {
    fn from(name: PhaseName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_it_is_written() {
        let names = [
            PhaseName::Start,
            PhaseName::Prepare,
            PhaseName::Boot,
            PhaseName::Fork,
            PhaseName::layer("nbd"),
            PhaseName::Keep("layers up to gnbd".to_owned()),
            PhaseName::step("a fifth node"),
            PhaseName::EndCheck,
            PhaseName::StateDump,
            PhaseName::TakeDown,
            PhaseName::Save,
            PhaseName::Hold,
            PhaseName::Collect,
            PhaseName::Teardown,
            PhaseName::Other("layers".to_owned()),
        ];
        for name in names {
            let text = name.to_string();
            assert_eq!(PhaseName::from(&*text), name);
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<PhaseName>(&json).unwrap(), name);
        }
    }
}
