//! `sanlab init`: a folder to start from.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::commands::schema::SCHEMA;
use crate::terminal::print;
use crate::{Exit, LabError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A folder that does not exist, or is empty
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Also write a crate that runs the scenarios by `cargo test`; sanlab's sources are at `git=URL` or `path=DIR`
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    cargo: Option<Source>,
}

/// Where cargo finds the library.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    key: String,
    value: String,
}

fn parse_source(text: &str) -> Result<Source, String> {
    match text.split_once('=') {
        Some((key @ ("git" | "path"), value)) if !value.is_empty() => Ok(Source {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("it must be git=URL or path=DIR".to_owned()),
    }
}

const FIRST: &str = include_str!("first.toml");
const TESTS: &str = include_str!("scenarios.rs.txt");

/// Writes the files, and says what to do next.
pub(crate) fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let Arguments { folder, cargo } = arguments;
    for path in write(folder, cargo.as_ref())? {
        print(&format!("wrote {}\n", path.display()))?;
    }
    print(&next(folder, cargo.is_some()))?;
    Ok(Exit::Success)
}

fn write(folder: &Path, source: Option<&Source>) -> Result<Vec<PathBuf>, LabError> {
    let is_empty = |folder| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if folder.exists() && !is_empty(folder) {
        return Err(LabError::NotEmpty(folder.to_owned()));
    }
    let mut written = Vec::new();
    for (path, text) in files(source) {
        let to = folder.join(path);
        fs::create_dir_all(to.parent().unwrap_or(folder))?;
        fs::write(&to, text)?;
        written.push(to);
    }
    Ok(written)
}

fn next(folder: &Path, has_tests: bool) -> String {
    let folder = folder.display();
    let tests = if has_tests { "    cargo test\n" } else { "" };
    format!(
        "\nNow:\n\n    sanlab doctor    # what this host lacks\n    cd {folder}\n    sanlab run scenarios/*.toml\n{tests}\n\
         The first run builds the guests' image, which takes some minutes.\n"
    )
}

/// Paths and texts.
fn files(source: Option<&Source>) -> Vec<(&'static str, String)> {
    let mut files = vec![
        (".gitignore", "/target/\n/.sanlab/\n".to_owned()),
        ("scenarios/first.toml", FIRST.to_owned()),
        ("scenarios/schema.json", SCHEMA.to_owned()),
    ];
    if let Some(source) = source {
        files.push(("Cargo.toml", manifest(source)));
        files.push(("src/lib.rs", "//! Nothing: see `tests/`.\n".to_owned()));
        files.push(("tests/scenarios.rs", TESTS.to_owned()));
    }
    files
}

fn manifest(Source { key, value }: &Source) -> String {
    let value = toml::Value::from(value.as_str());
    format!(
        "[package]\nname = \"scenarios\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[dev-dependencies]\n\
         sanlab = {{ {key} = {value} }}\n\n[[test]]\nname = \"scenarios\"\nharness = false\n\n# It is no part of a workspace above it.\n[workspace]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_scenario_is_one() {
        let plan = sanlab_plan::parse(Path::new("scenarios/first.toml"), FIRST).unwrap();
        assert_eq!(plan.nodes.len(), 2);
    }

    #[test]
    fn a_crate_names_where_the_library_is() {
        let source = parse_source("path=/src/a \"lab\"").unwrap();
        insta::assert_snapshot!(manifest(&source));
        for wrong in ["git", "git=", "version=1"] {
            assert!(parse_source(wrong).is_err());
        }
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/new");
        write(&new, None).unwrap();
        assert!(new.join("scenarios/first.toml").is_file());
        for taken in [new.clone(), new.join(".gitignore")] {
            let error = write(&taken, None).unwrap_err();
            assert!(matches!(error, LabError::NotEmpty(_)), "{error}");
        }
    }
}
