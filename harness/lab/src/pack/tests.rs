//! What is packed is unpacked, and nothing else is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::manifest::Manifest;
use super::sources::Sources;
use super::{archive, folder, unpack};
use crate::LabError;
use crate::lab::scenario;

/// With a base, and a value in place of its own.
fn sources() -> (sanlab_plan::Plan, Sources) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = project.join("scenarios/nbd-striped-ocfs2/mount.toml");
    let settings = [sanlab_plan::Setting::parse("mtu=1500").unwrap()];
    let plan = scenario::load_with(&path, &settings).unwrap();
    let sources = Sources::of(&plan, &settings).unwrap();
    (plan, sources)
}

/// A file with a hole, and one of a length that is no number of blocks.
struct Packed {
    folder: TempDir,
    files: Vec<(String, PathBuf)>,
    manifest: Manifest,
}

impl Packed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = vec![0; 300_000];
        disk[200_000] = 7;
        let mut files = Vec::new();
        // Nothing that could be compressed much: an archive has a middle.
        let state = (0..200_001_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        for (name, bytes) in [
            ("saved/vix0.disk", disk),
            ("saved/vix0.state", state.collect()),
        ] {
            let path = folder.path().join(name.replace('/', "-"));
            fs_err::write(&path, bytes).unwrap();
            files.push((name.to_owned(), path));
        }
        let packed = files.iter();
        let packed = packed.map(|(name, path)| archive::measure(name, path).unwrap());
        let packed = packed.collect();
        let manifest = Manifest::new(sources().1, json!({}), BTreeMap::new(), packed);
        Self {
            folder,
            files,
            manifest,
        }
    }

    /// What zstd is given.
    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        archive::write(&self.manifest, &self.files, &mut tar, &|_| ()).unwrap();
        tar
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x.tar.zst")
    }

    /// What becomes of an archive of these bytes: the lengths of its files, or why it is refused.
    fn unpacked(&self, bytes: &[u8]) -> String {
        let to = tempfile::tempdir().unwrap();
        fs_err::write(self.path(), bytes).unwrap();
        let done = unpack::open(&self.path())
            .and_then(|opened| opened.unpack(&self.path(), to.path(), &|_| ()));
        if let Err(error) = done {
            return self.said(&error);
        }
        for (name, path) in &self.files {
            assert!(fs_err::read(to.path().join(name)).unwrap() == fs_err::read(path).unwrap());
        }
        "unpacked".to_owned()
    }

    fn said(&self, error: &LabError) -> String {
        assert_eq!(error.exit(), crate::Exit::BadInput);
        let folder = self.folder.path().display().to_string();
        error.show(false).replace(&folder, "[folder]")
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

#[test]
fn what_was_packed_is_unpacked() {
    let packed = Packed::new();
    assert_eq!(packed.unpacked(&zstd(&packed.tar())), "unpacked");
    // The hole takes nothing.
    assert!(packed.manifest.data_bytes() < 300_000);
}

#[test]
fn what_is_not_as_it_was_packed_is_refused() {
    let packed = Packed::new();
    let tar = packed.tar();
    let whole = zstd(&tar);
    let mut flipped = tar.clone();
    let last = flipped.len() - 4096;
    flipped[last] ^= 1;
    let mut fewer = Packed::new();
    fewer.manifest.files.pop();
    let said = [
        ("half of it", packed.unpacked(&whole[..whole.len() / 2])),
        (
            "its last byte is gone",
            packed.unpacked(&whole[..whole.len() - 1]),
        ),
        ("a bit is another", packed.unpacked(&zstd(&flipped))),
        (
            "in another order",
            packed.unpacked(&zstd(&reordered(&packed))),
        ),
        (
            "a file less",
            packed.unpacked(&zstd(&without_last(&packed))),
        ),
        ("a file more", fewer.unpacked(&zstd(&with_more(&fewer)))),
        ("text", packed.unpacked(b"name = \"a scenario\"")),
        ("another archive", packed.unpacked(&zstd(&[0; 1024]))),
        ("nothing", packed.unpacked(b"")),
    ];
    let said = said.map(|(what, said)| format!("{what}\n    {said}"));
    insta::assert_snapshot!(said.join("\n"));
}

/// The manifest first, as it is, and these files behind it.
fn tar_of(packed: &Packed, files: &[(String, PathBuf)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let manifest = serde_json::to_vec(&packed.manifest).unwrap();
    append(super::manifest::MANIFEST, &manifest);
    for (name, path) in files {
        append(name, &fs_err::read(path).unwrap());
    }
    builder.into_inner().unwrap()
}

fn reordered(packed: &Packed) -> Vec<u8> {
    let mut files = packed.files.clone();
    files.reverse();
    tar_of(packed, &files)
}

fn without_last(packed: &Packed) -> Vec<u8> {
    tar_of(packed, &packed.files[..1])
}

fn with_more(packed: &Packed) -> Vec<u8> {
    tar_of(packed, &packed.files)
}

#[test]
fn a_manifest_is_looked_at_before_all_else() {
    let packed = Packed::new();
    let manifest = serde_json::to_value(&packed.manifest).unwrap();
    let said = |change: &dyn Fn(&mut Value)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        let path = Path::new("x.tar.zst");
        match Manifest::parse(path, &serde_json::to_vec(&changed).unwrap()) {
            Ok(_) => "it is read".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    let named =
        |name: &'static str| move |manifest: &mut Value| manifest["files"][0]["name"] = json!(name);
    insta::assert_snapshot!(
        [
            said(&|_| ()),
            said(&|manifest| manifest["magic"] = json!("a fleet")),
            said(&|manifest| {
                manifest["format"] = json!(2);
                manifest["sanlab"] = json!("0.9.0");
            }),
            said(&|manifest| manifest["files"] = json!(7)),
            said(&named("../../.bashrc")),
            said(&named("/etc/passwd")),
            said(&named("saved/../../x")),
        ]
        .join("\n")
    );
}

#[test]
fn a_plan_follows_from_its_sources_alone() {
    let (plan, sources) = sources();
    let text = serde_json::to_string(&sources).unwrap();
    let sources: Sources = serde_json::from_str(&text).unwrap();
    assert_eq!(
        format!("{:?}", sources.plan().unwrap()),
        format!("{plan:?}")
    );
}

#[test]
fn a_saved_fleet_is_found_in_its_run() {
    let run = tempfile::tempdir().unwrap();
    let said = || match folder::find(run.path()) {
        Ok(found) => found.display().to_string(),
        Err(error) => error.show(false),
    };
    let said = || said().replace(&run.path().display().to_string(), "[run]");
    let save = |scenario: &str| {
        let saved = run.path().join(scenario).join("saved");
        fs_err::create_dir_all(&saved).unwrap();
        fs_err::write(saved.join("saved.json"), "{}").unwrap();
    };
    let none = said();
    save("nbd/mount");
    let one = said();
    save("nbd/nodes");
    insta::assert_snapshot!([none, one, said()].join("\n"));
}
