//! For build scripts: a digest of sources, for keys of what those sources make.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script has no crates; its messages name the path themselves"
)]

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

/// Gives the crate `env!(name)`, a digest of files and folders; a change of them builds the crate anew. Tests, comments and the
/// way in which lines are indented are left out: they change nothing that is made. Another compiler may hash otherwise; then
/// things are made once more.
pub(crate) fn export(name: &str, paths: &[&str]) {
    let mut files = Vec::new();
    for path in paths {
        println!("cargo::rerun-if-changed={path}");
        find(Path::new(path), &mut files);
    }
    files.sort();
    assert!(!files.is_empty(), "no sources in {paths:?}");
    let mut digest = DefaultHasher::new();
    for file in files {
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        digest.write(file.to_string_lossy().as_bytes());
        for line in lines(&file, &text) {
            digest.write(line.as_bytes());
            digest.write_u8(b'\n');
        }
    }
    println!("cargo::rustc-env={name}={:016x}", digest.finish());
}

fn find(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in entries {
        let path = entry.expect("a folder's entry can be read").path();
        let name = path.file_name().unwrap_or_default();
        if !["tests", "tests.rs", "snapshots"]
            .iter()
            .any(|left_out| name == *left_out)
        {
            find(&path, files);
        }
    }
}

fn lines<'a>(file: &Path, text: &'a str) -> Vec<&'a str> {
    if file.extension().is_none_or(|extension| extension != "rs") {
        return text.lines().collect();
    }
    let tests = text.find("\n#[cfg(test)]\nmod tests {");
    let code = text[..tests.unwrap_or(text.len())].lines().map(str::trim);
    code.filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect()
}
