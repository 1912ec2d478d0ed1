//! The sources of the guests' programs, as a cargo workspace of their own.
//!
//! It holds nothing but what is compiled: the crates' code without their tests, and of the lab's own `Cargo.lock` what
//! they depend on. So a change elsewhere is no reason to compile, and Debian's cargo needs neither the lab nor a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use toml::{Table, Value};

use crate::child;
use crate::error::{ImageError, Product};
use crate::guest_files::{Kind, read_tree};
use crate::manifest::Programs;

/// Where cargo leaves the crates that others wrote.
const VENDOR: &str = "vendor";

/// They come out of cargo's own cache, or from the network when they are not there.
const VENDOR_DEADLINE: Duration = Duration::from_secs(300);

/// What a member's manifest has for its tests alone.
const FOR_TESTS: [&str; 4] = ["dev-dependencies", "test", "bench", "example"];

/// Where a manifest's dependencies stand.
const FOR_PROGRAMS: [&str; 2] = ["dependencies", "build-dependencies"];

/// Optimised for speed, and nothing in them that is not called: a guest reads them from its root image.
const PROFILE: &str = "
panic = \"abort\"
strip = true
";

/// A cargo workspace in memory: path to content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Sources {
    /// Reads the crates, which are members of the workspace that is next above them.
    pub(crate) fn read(programs: &Programs) -> Result<Self, ImageError> {
        let root = workspace_of(&programs.crates[0])?;
        let workspace_path = root.join("Cargo.toml");
        let workspace = table(&workspace_path)?;
        let lock_path = root.join("Cargo.lock");
        let lock = table(&lock_path)?;
        let mut files = BTreeMap::new();
        let mut members: Vec<Member> = Vec::new();
        for folder in &programs.crates {
            let path = folder.join("Cargo.toml");
            let mut manifest = table(&path)?;
            for section in FOR_TESTS {
                manifest.remove(section);
            }
            let member = Member::of(&manifest, &path)?;
            let below = PathBuf::from(&member.name);
            for file in read_tree(&folder.join("src"))? {
                let is_of_a_test = file.path.iter().any(|part| part == "snapshots");
                if let (Kind::File { bytes, .. }, false) = (file.kind, is_of_a_test) {
                    files.insert(below.join("src").join(file.path), bytes);
                }
            }
            files.insert(below.join("Cargo.toml"), text(&manifest, &path)?);
            members.push(member);
        }
        let own = workspace_manifest(&workspace, &workspace_path, &members)?;
        files.insert("Cargo.toml".into(), text(&own, &workspace_path)?);
        let lock = closure(&lock, &lock_path, &members)?;
        files.insert("Cargo.lock".into(), text(&lock, &lock_path)?);
        Ok(Self { files })
    }

    /// Writes the workspace to a folder, with the crates of others that it needs.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), ImageError> {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs_err::create_dir_all(path.parent().unwrap_or(folder))?;
            fs_err::write(path, bytes)?;
        }
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command
            .args([
                "vendor",
                "--quiet",
                "--locked",
                "--respect-source-config",
                VENDOR,
            ])
            .current_dir(folder);
        let ended = child::run(command, VENDOR_DEADLINE, |line| tracing::debug!("{line}"))
            .map_err(|error| {
                let why = "it fetches the crates that the programs depend on";
                wrong(folder, &format!("cargo cannot be started ({why}): {error}"))
            })?;
        let (program, tail) = ("cargo vendor", ended.tail.join("\n"));
        match ended.status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(ImageError::Tool {
                product: Product::Programs,
                program,
                status: status.to_string(),
                tail,
            }),
            None => Err(ImageError::TimedOut {
                product: Product::Programs,
                program,
                deadline: VENDOR_DEADLINE,
                tail,
            }),
        }
    }
}

/// A crate of ours.
#[derive(Debug)]
struct Member {
    name: String,
    /// Names of the packages that it is built from.
    dependencies: BTreeSet<String>,
}

impl Member {
    fn of(manifest: &Table, path: &Path) -> Result<Self, ImageError> {
        let name = manifest
            .get("package")
            .and_then(|package| package.get("name")?.as_str())
            .ok_or_else(|| wrong(path, "it has no `package.name`"))?
            .to_owned();
        let by_target = manifest.get("target").and_then(Value::as_table);
        let sections = std::iter::once(manifest).chain(
            by_target
                .into_iter()
                .flat_map(Table::values)
                .filter_map(Value::as_table),
        );
        let dependencies = sections
            .flat_map(|section| FOR_PROGRAMS.iter().filter_map(|name| section.get(*name)))
            .filter_map(Value::as_table)
            .flatten()
            .map(|(key, value)| {
                let renamed = value.get("package").and_then(Value::as_str);
                renamed.unwrap_or(key).to_owned()
            })
            .collect();
        Ok(Self { name, dependencies })
    }
}

/// The nearest folder above that has a lock.
fn workspace_of(folder: &Path) -> Result<PathBuf, ImageError> {
    let found = folder
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    let found = found.ok_or_else(|| wrong(folder, "no folder above it has a `Cargo.lock`"))?;
    Ok(found.to_owned())
}

/// What members inherit stays; lints are for those who write the code.
fn workspace_manifest(
    manifest: &Table,
    path: &Path,
    members: &[Member],
) -> Result<Table, ImageError> {
    let old = manifest
        .get("workspace")
        .and_then(Value::as_table)
        .ok_or_else(|| wrong(path, "it has no `workspace`"))?;
    let names = members.iter().map(|member| member.name.as_str().into());
    let used: BTreeSet<&str> = members
        .iter()
        .flat_map(|member| &member.dependencies)
        .map(String::as_str)
        .collect();
    let mut workspace = Table::new();
    workspace.insert("members".into(), Value::Array(names.collect()));
    for key in ["resolver", "package"] {
        if let Some(value) = old.get(key) {
            workspace.insert(key.into(), value.clone());
        }
    }
    if let Some(all) = old.get("dependencies").and_then(Value::as_table) {
        let kept = all.iter().filter(|(name, value)| {
            let renamed = value.get("package").and_then(Value::as_str);
            used.contains(renamed.unwrap_or(name))
        });
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        workspace.insert("dependencies".into(), Value::Table(kept.collect()));
    }
    let lints = Table::from_iter([("rust".to_owned(), Value::Table(Table::new()))]);
    workspace.insert("lints".into(), Value::Table(lints));
    let profile = PROFILE
        .parse::<Table>()
        .map_err(|error| wrong(path, error.message()))?;
    let profiles = Table::from_iter([("release".to_owned(), Value::Table(profile))]);
    Ok(Table::from_iter([
        ("workspace".to_owned(), Value::Table(workspace)),
        ("profile".to_owned(), Value::Table(profiles)),
    ]))
}

/// The part of a lock that `members` are built from.
fn closure(lock: &Table, path: &Path, members: &[Member]) -> Result<Table, ImageError> {
    let packages: Vec<&Table> = lock
        .get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .collect();
    let mut wanted: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    let mut kept: BTreeMap<(String, String), Table> = BTreeMap::new();
    while let Some(word) = wanted.pop() {
        // As locks name what is depended on: `name`, or `name version` where there are several.
        let mut parts = word.split(' ');
        let (name, version) = (parts.next().unwrap_or_default(), parts.next());
        let found = packages.iter().find(|package| {
            package.get("name").and_then(Value::as_str) == Some(name)
                && version.is_none_or(|version| {
                    package.get("version").and_then(Value::as_str) == Some(version)
                })
        });
        let mut package = found
            .copied()
            .cloned()
            .ok_or_else(|| wrong(path, &format!("it does not have `{word}`")))?;
        let version = package.get("version").and_then(Value::as_str);
        let id = (name.to_owned(), version.unwrap_or_default().to_owned());
        if kept.contains_key(&id) {
            continue;
        }
        let member = members.iter().find(|member| member.name == name);
        if let Some(Value::Array(words)) = package.get_mut("dependencies") {
            words.retain(|word| {
                let name = word.as_str().and_then(|word| word.split(' ').next());
                member.is_none_or(|member| {
                    name.is_some_and(|name| member.dependencies.contains(name))
                })
            });
            wanted.extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        kept.insert(id, package);
    }
    let mut own = Table::new();
    if let Some(version) = lock.get("version") {
        own.insert("version".into(), version.clone());
    }
    let kept = kept.into_values().map(Value::Table).collect();
    own.insert("package".into(), Value::Array(kept));
    Ok(own)
}

fn table(path: &Path) -> Result<Table, ImageError> {
    fs_err::read_to_string(path)?
        .parse::<Table>()
        .map_err(|error| wrong(path, error.message()))
}

fn text(table: &Table, path: &Path) -> Result<Vec<u8>, ImageError> {
    toml::to_string(table)
        .map(String::into_bytes)
        .map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, reason: &str) -> ImageError {
    ImageError::Sources {
        path: path.to_owned(),
        reason: reason.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = r#"
[workspace]
resolver = "3"
members = ["lab", "images/writer", "images/reader"]
[workspace.package]
edition = "2024"
[workspace.dependencies]
calls = { version = "1", features = ["fs"] }
chart = "3"
[workspace.lints.rust]
missing_docs = "warn"
[profile.release]
debug = true
"#;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "bits"
version = "1.0.0"
checksum = "aa"
[[package]]
name = "bits"
version = "2.0.0"
checksum = "bb"
[[package]]
name = "calls"
version = "1.0.1"
checksum = "cc"
dependencies = ["bits 2.0.0"]
[[package]]
name = "chart"
version = "3.0.0"
checksum = "dd"
dependencies = ["bits 1.0.0"]
[[package]]
name = "lab"
version = "0.1.0"
dependencies = ["chart"]
[[package]]
name = "reader"
version = "0.1.0"
[[package]]
name = "writer"
version = "0.1.0"
dependencies = ["calls", "chart"]
"#;

    const WRITER: &str = r#"
[package]
name = "writer"
edition.workspace = true
[lints]
workspace = true
[dependencies]
calls.workspace = true
[dev-dependencies]
chart.workspace = true
[[bench]]
name = "speed"
"#;

    pub(crate) fn checkout() -> (tempfile::TempDir, Programs) {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("Cargo.toml", WORKSPACE),
            ("Cargo.lock", LOCK),
            ("images/writer/Cargo.toml", WRITER),
            ("images/writer/src/main.rs", "fn main() {}"),
            ("images/writer/src/words/mod.rs", "//! Words."),
            ("images/writer/src/snapshots/words.snap", "a word"),
            ("images/writer/tests/words.rs", "//! Tests."),
            ("images/reader/Cargo.toml", "[package]\nname = \"reader\"\n"),
            ("images/reader/src/main.rs", "fn main() {}"),
        ];
        for (path, text) in files {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let programs = Programs {
            crates: ["images/writer", "images/reader"]
                .map(|path| folder.path().join(path))
                .to_vec(),
            compiler: vec!["cargo-web".to_owned()],
            libraries: vec!["libc6-dev".to_owned()],
        };
        (folder, programs)
    }

    #[test]
    fn holds_what_is_compiled_and_nothing_else() {
        let (_folder, programs) = checkout();
        let sources = Sources::read(&programs).unwrap();
        let shown = sources.files.iter().map(|(path, bytes)| {
            format!("== {}\n{}", path.display(), String::from_utf8_lossy(bytes))
        });
        insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn what_is_for_tests_or_for_others_changes_nothing() {
        let (folder, programs) = checkout();
        let before = Sources::read(&programs).unwrap();
        let edit = |path: &str, from: &str, to: &str| {
            let path = folder.path().join(path);
            let text = fs_err::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs_err::write(&path, text.replace(from, to)).unwrap();
        };
        edit("images/writer/tests/words.rs", "Tests", "Other tests");
        edit(
            "images/writer/src/snapshots/words.snap",
            "a word",
            "two words",
        );
        edit("images/writer/Cargo.toml", "speed", "size");
        edit("Cargo.toml", "chart = \"3\"", "chart = \"4\"");
        edit("Cargo.lock", "checksum = \"dd\"", "checksum = \"ee\"");
        assert_eq!(Sources::read(&programs).unwrap(), before);
        edit("Cargo.lock", "checksum = \"bb\"", "checksum = \"ee\"");
        assert_ne!(Sources::read(&programs).unwrap(), before);
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |path: &str, text: &str| {
            let (folder, programs) = checkout();
            fs_err::write(folder.path().join(path), text).unwrap();
            let error = Sources::read(&programs).unwrap_err().to_string();
            error.replace(folder.path().to_str().unwrap(), "/lab")
        };
        let said = [
            wrong("Cargo.lock", "version = 4"),
            wrong("Cargo.lock", "version = "),
            wrong("Cargo.toml", "[package]\nname = \"lab\""),
            wrong("images/reader/Cargo.toml", "[dependencies]"),
            wrong("images/reader/Cargo.toml", "[package]\nname = \"reeder\""),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }
}
