//! Packs what an installed program needs besides itself, as `bundle.tar`: the images' manifests and files, the crates that the
//! guests' programs are compiled with, and the plugin that counts instructions.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err::{self as fs, File};
use sha2::{Digest as _, Sha256};
use tar::{Builder, HeaderMode};

/// What images are not made of: tests, and what cargo makes.
const LEFT_OUT: [&str; 4] = ["fuzz", "snapshots", "target", "tests"];

/// The crates of others, as `sanlab_image` unpacks them beside those of ours.
const VENDORED: &str = "vendor.tar.gz";

/// As `sanlab_counter::PLUGIN`.
const PLUGIN: &str = "libsanlab_counter.so";

fn main() -> io::Result<()> {
    let lab = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let images = lab.join("../../images");
    let counter = lab.join("../counter");
    for path in ["src", "Cargo.toml"].map(|name| counter.join(name)) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let mut files = Vec::new();
    gather(&images, &images, &LEFT_OUT, &mut files)?;
    // A link is as new as what it points to: one into /proc would build the program anew each time.
    for file in files.iter().map(|file| images.join(file)) {
        if !file.is_symlink() {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    let crates = vendored(&images, &files, &out)?;
    let plugin = plugin(&counter, &out);

    let mut bundle = Builder::new(Vec::new());
    bundle.mode(HeaderMode::Deterministic);
    // Guests have links that lead nowhere here.
    bundle.follow_symlinks(false);
    for file in &files {
        bundle.append_path_with_name(images.join(file), file)?;
    }
    bundle.append_path_with_name(crates, VENDORED)?;
    bundle.append_path_with_name(plugin, PLUGIN)?;
    let bundle = bundle.into_inner()?;
    fs::write(out.join("bundle.tar"), &bundle)?;
    let key = hex::encode(Sha256::digest(&bundle));
    println!("cargo:rustc-env=SANLAB_BUNDLE={key}");
    Ok(())
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// The files below a folder, by their paths from `root` on, sorted; without folders of some names.
fn gather(
    root: &Path,
    folder: &Path,
    left_out: &[&str],
    files: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_left_out = left_out.iter().any(|name| entry.file_name() == *name);
        if !entry.file_type()?.is_dir() {
            files.push(path.strip_prefix(root).map_err(io::Error::other)?.into());
        } else if !is_left_out {
            gather(root, &path, left_out, files)?;
        }
    }
    Ok(())
}

/// The crates that the lock of the guests' programs names, as cargo leaves them for a build without network.
fn vendored(images: &Path, files: &[PathBuf], out: &Path) -> io::Result<PathBuf> {
    let archive = out.join(VENDORED);
    let mut lock = fs::read(images.join("Cargo.lock"))?;
    // What is packed also follows from this script.
    lock.extend_from_slice(include_bytes!("build.rs"));
    let of = out.join("vendored.lock");
    if archive.exists() && fs::read(&of).is_ok_and(|old| old == lock) {
        return Ok(archive);
    }
    // In a workspace that is a copy, so that nothing is written into the checkout.
    let workspace = out.join("workspace");
    match fs::remove_dir_all(&workspace) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for file in files {
        let copy = workspace.join(file);
        fs::create_dir_all(copy.parent().unwrap_or(&workspace))?;
        fs::copy(images.join(file), copy)?;
    }
    let mut vendor = Command::new(variable("CARGO"));
    vendor
        .args([
            "vendor",
            "--quiet",
            "--locked",
            "--respect-source-config",
            "vendor",
        ])
        .current_dir(&workspace);
    run(
        &mut vendor,
        "fetch the crates that the guests' programs use",
    );
    let mut crates = Vec::new();
    let folder = workspace.join("vendor");
    for entry in fs::read_dir(&folder)? {
        // All of them: cargo verifies each file's digest.
        gather(&folder, &entry?.path(), &[], &mut crates)?;
    }
    crates.sort();
    let file = io::BufWriter::new(File::create(&archive)?);
    let mut packed = Builder::new(GzEncoder::new(file, Compression::default()));
    packed.mode(HeaderMode::Deterministic);
    for path in crates {
        packed.append_path_with_name(folder.join(&path), &path)?;
    }
    packed.into_inner()?.finish()?.flush()?;
    fs::remove_dir_all(&workspace)?;
    fs::write(of, lock)?;
    Ok(archive)
}

/// The plugin, compiled: cargo installs no library along with a program.
fn plugin(counter: &Path, out: &Path) -> PathBuf {
    let target = out.join("counter");
    let mut build = Command::new(variable("CARGO"));
    build
        .args([
            "build",
            "--quiet",
            "--locked",
            "--lib",
            "--release",
            "--manifest-path",
        ])
        .arg(counter.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // What the outer cargo has set for its own build.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    run(&mut build, "compile the plugin that counts instructions");
    target.join("release").join(PLUGIN)
}

fn run(command: &mut Command, what: &str) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("cannot {what}: {command:?} ended with {status}"),
        Err(error) => panic!("cannot {what}: {command:?}: {error}"),
    }
}
