//! A package of a lock, and how what the mirror has differs from one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A package that went into an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version, as dpkg writes it.
    pub version: String,
    /// `i386`, `amd64` or `all`.
    pub architecture: String,
    /// Hex SHA-256 of the `.deb` file, from the mirror's signed index.
    pub sha256: String,
}

/// How what the mirror has differs from a lock. Displays a line a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockDiff {
    /// In the lock, no longer installed.
    pub removed: Vec<LockedPackage>,
    /// Installed, not in the lock.
    pub added: Vec<LockedPackage>,
    /// In both, with another version or content: as locked, as installed.
    pub changed: Vec<(LockedPackage, LockedPackage)>,
}

impl LockDiff {
    /// The difference, or `None`.
    pub(crate) fn between(locked: &[LockedPackage], installed: &[LockedPackage]) -> Option<Self> {
        let by_name = |packages: &[LockedPackage]| -> BTreeMap<String, LockedPackage> {
            packages
                .iter()
                .map(|package| (package.name.clone(), package.clone()))
                .collect()
        };
        let (mut old, mut new) = (by_name(locked), by_name(installed));
        old.retain(|name, package| match new.get(name) {
            Some(same) if same == package => new.remove(name).is_none(),
            _ => true,
        });
        if old.is_empty() && new.is_empty() {
            return None;
        }
        let mut diff = Self {
            removed: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
        };
        for (name, package) in old {
            match new.remove(&name) {
                Some(other) => diff.changed.push((package, other)),
                None => diff.removed.push(package),
            }
        }
        diff.added = new.into_values().collect();
        Some(diff)
    }
}

impl fmt::Display for LockDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.removed.len() + self.added.len() + self.changed.len();
        write!(
            f,
            "{count} {} from the lock",
            if count == 1 {
                "package differs"
            } else {
                "packages differ"
            }
        )?;
        for LockedPackage { name, version, .. } in &self.removed {
            write!(f, "\n  - {name} {version}")?;
        }
        for LockedPackage { name, version, .. } in &self.added {
            write!(f, "\n  + {name} {version}")?;
        }
        for (old, new) in &self.changed {
            if old.version == new.version {
                write!(
                    f,
                    "\n  ! {} {}: the same version with other content",
                    old.name, old.version
                )?;
                write!(
                    f,
                    "\n      locked  {}\n      fetched {}",
                    old.sha256, new.sha256
                )?;
            } else {
                write!(f, "\n  ~ {} {} -> {}", old.name, old.version, new.version)?;
            }
        }
        Ok(())
    }
}
