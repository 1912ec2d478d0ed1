//! Names with their rules: parse and print.

use std::fmt::{self, Write as _};

/// Why a name was refused, in words that finish "... is not a valid name: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NameError {
    /// The rule that was broken.
    pub reason: String,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, NameError> {
    Err(NameError {
        reason: reason.into(),
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the rules of this kind of name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A host name: it is also a node name of o2cb and part of file names.
    NodeName,
    host_label
);
name!(
    /// A network of a scenario; `main` is the first, see [`NetworkName::main`].
    NetworkName,
    network
);
name!(
    /// A device-mapper name.
    VolumeName,
    word
);
name!(
    /// A cluster name of o2cb: at most 16 letters and digits, the limit of OCFS2's superblock.
    ClusterName,
    cluster
);
name!(
    /// A resource in DRBD's configuration.
    ResourceName,
    word
);
name!(
    /// A manifest under `images/`, without `.toml`.
    ImageName,
    word
);
name!(
    /// A step's label.
    StepLabel,
    label
);
name!(
    /// What a whole fleet is kept under; `layers` is the lab's own, see [`CheckpointName::layers`].
    CheckpointName,
    checkpoint
);
name!(
    /// An absolute path in a guest, without `..`.
    GuestPath,
    guest_path
);

/// The first network.
const MAIN: &str = "main";

impl NetworkName {
    /// The first network, which joins all nodes.
    pub fn main() -> Self {
        Self(MAIN.to_owned())
    }
}

/// What the lab keeps by itself.
const LAYERS: &str = "layers";

impl ImageName {
    /// Whether that word means it: its name, or its name without `debian-`.
    pub fn is_called(&self, word: &str) -> bool {
        self.as_str() == word || self.as_str().strip_prefix("debian-") == Some(word)
    }
}

impl CheckpointName {
    /// The one that the lab keeps by itself, when the layers are up and no step has been taken.
    pub fn layers() -> Self {
        Self(LAYERS.to_owned())
    }
}

/// What a label, or other words with one in it, is called as a file: a different name for different words, of letters,
/// digits, `-` and `_`. Spaces become `-`; what has no place of its own becomes `_` and its number in two hexadecimal digits.
pub fn file_name(words: &str) -> String {
    let mut name = String::with_capacity(words.len());
    for byte in words.bytes() {
        match byte {
            b' ' => name.push('-'),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            // A String takes everything.
            byte => {
                let _ = write!(name, "_{byte:02x}");
            }
        }
    }
    name
}

/// Nodes as a person reads them: `vix0, vix1`.
pub fn names(nodes: &[NodeName]) -> String {
    joined(nodes, ", ")
}

/// Nodes with that between them.
pub(crate) fn joined(nodes: &[NodeName], separator: &str) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    names.join(separator)
}

fn checkpoint(text: &str) -> Result<(), NameError> {
    if text == LAYERS {
        return refuse("`layers` is what the lab keeps by itself once the layers are up");
    }
    word(text)
}

fn host_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 32 {
        return refuse("a node name has 1 to 32 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return refuse("a node name starts with a lower-case letter");
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        || text.ends_with('-')
    {
        return refuse("a node name consists of lower-case letters, digits and inner hyphens");
    }
    Ok(())
}

fn network(text: &str) -> Result<(), NameError> {
    if text == "local" {
        return refuse("`NODE.local` is a node's address on the first network");
    }
    if text.is_empty() || text.len() > 16 || text.ends_with('-') {
        return refuse("a network's name has 1 to 16 characters and does not end with a hyphen");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase())
        || !text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        return refuse(
            "a network's name starts with a lower-case letter and consists of lower-case letters, digits and hyphens",
        );
    }
    Ok(())
}

fn word(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 64 {
        return refuse("it has 1 to 64 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return refuse("it starts with a letter or digit");
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return refuse("it consists of letters, digits, `-`, `_` and `.`");
    }
    Ok(())
}

fn cluster(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 16 || !text.chars().all(|c| c.is_ascii_alphanumeric()) {
        return refuse("a cluster name has 1 to 16 letters and digits");
    }
    Ok(())
}

fn label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 64 {
        return refuse("a label has 1 to 64 characters");
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
    {
        return refuse("a label consists of letters, digits, `-`, `_`, `.` and spaces");
    }
    Ok(())
}

fn guest_path(text: &str) -> Result<(), NameError> {
    if !text.starts_with('/') || text.len() < 2 || text.ends_with('/') {
        return refuse(
            "a path in a guest starts with `/`, names something and does not end with `/`",
        );
    }
    if text[1..]
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return refuse("a path in a guest has no `.`, no `..` and no `//`");
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'))
    {
        return refuse("a path in a guest consists of letters, digits, `/`, `-`, `_` and `.`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        CheckpointName, ClusterName, GuestPath, NetworkName, NodeName, StepLabel, VolumeName,
        file_name,
    };

    #[test]
    fn labels_that_differ_have_files_that_differ() {
        let labels = ["a b", "a-b", "a_b", "a.b", "a_20b", "a__b", "a _b", "A b"];
        let names: BTreeSet<String> = labels.iter().map(|label| file_name(label)).collect();
        assert_eq!(names.len(), labels.len(), "{names:?}");
        assert_eq!(file_name("step dd-2 on vix0"), "step-dd_2d2-on-vix0");
        assert_eq!(file_name(".."), "_2e_2e");
    }

    #[test]
    fn names_keep_to_what_shells_paths_and_superblocks_take() {
        assert!(NodeName::parse("vix0").is_ok() && NodeName::parse("rack-1a").is_ok());
        for name in [
            "",
            "0vix",
            "Vix",
            "vix_0",
            "vix-",
            "vix.local",
            &"v".repeat(33),
        ] {
            assert!(NodeName::parse(name).is_err(), "{name:?}");
        }
        assert!(NetworkName::parse("cluster-1").is_ok());
        for name in ["", "local", "1st", "a.b", "a-", "Main", &"n".repeat(17)] {
            assert!(NetworkName::parse(name).is_err(), "{name:?}");
        }
        assert!(VolumeName::parse("san_0.a-b").is_ok() && VolumeName::parse("../san").is_err());
        assert!(
            ClusterName::parse("abcdefgh01234567").is_ok()
                && ClusterName::parse("abcdefgh012345678").is_err()
        );
        assert!(GuestPath::parse("/mnt/san-1").is_ok());
        for path in [
            "/",
            "mnt",
            "/mnt/",
            "/mnt/../etc",
            "/./mnt",
            "//mnt",
            "/mnt/a b",
            "/mnt/$(x)",
        ] {
            assert!(GuestPath::parse(path).is_err(), "{path:?}");
        }
        assert!(
            CheckpointName::parse("two-files.1").is_ok() && CheckpointName::parse("a b").is_err()
        );
        assert!(CheckpointName::parse(CheckpointName::layers().as_str()).is_err());
        assert!(StepLabel::parse("four writers").is_ok() && StepLabel::parse("a/b").is_err());
    }
}
