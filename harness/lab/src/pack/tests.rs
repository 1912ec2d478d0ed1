//! What is packed is unpacked, and nothing else is.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sanlab_fleet::SavedFile;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::manifest::Manifest;
use super::sources::Sources;
use super::{archive, compressed, folder, unpack};
use crate::lab::scenario;
use crate::{Exit, LabError};

/// With a base, and a value in place of its own.
pub(super) fn sources() -> (sanlab_plan::Plan, Sources) {
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

#[test]
fn what_is_no_run_is_a_wrong_argument() {
    let run = tempfile::tempdir().unwrap();
    let file = run.path().join("x.tar.zst");
    fs_err::write(&file, "").unwrap();
    for path in [run.path().join("none"), file] {
        let error = folder::find(&path).unwrap_err();
        assert_eq!(error.exit(), Exit::BadInput);
        let said = error.show(false);
        assert_eq!(
            said,
            format!(
                "error: {} is no folder: name that of a run, or of a scenario in it; `sanlab run` says it at its end",
                path.display()
            )
        );
    }
}

#[test]
fn what_is_not_as_its_label_says_is_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: u64, sha256: Option<&str>| SavedFile {
        name: name.to_owned(),
        bytes,
        sha256: sha256.map(ToOwned::to_owned),
    };
    // `printf 'the state' | sha256sum`
    let digest = "972ec08bc7570a80420693a082eb9a1a5afcb85fd60abcfd1f98fc2b67c9eeaf";
    let saved = [
        file("vix0.state", 9, Some(digest)),
        file("vix0.disk", 4, None),
    ];
    let said = || {
        let states = match archive::states(folder.path(), &saved) {
            Ok(states) => states,
            Err(error) => {
                assert_eq!(error.exit(), Exit::BadInput);
                let place = folder.path().display().to_string();
                return error.show(false).replace(&place, "[folder]");
            }
        };
        let measured = states.iter();
        let measured = measured.map(|(name, path)| archive::measure(name, path).unwrap());
        let measured: Vec<_> = measured.collect();
        match archive::is_as_saved(&measured, &saved) {
            Ok(()) => format!("{} files", measured.len()),
            Err(why) => why,
        }
    };
    let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
    let mut all = vec![said()];
    write("vix0.state", "the state");
    write("vix0.disk", "dis");
    all.push(said());
    write("vix0.disk", "disk");
    // Nobody's.
    write("core", "of something");
    all.push(said());
    write("vix0.state", "the slate");
    all.push(said());
    insta::assert_snapshot!(all.join("\n"), @r"
    error: the saved fleet [folder] is not whole: vix0.state is missing
    error: the saved fleet [folder] is not whole: vix0.disk has 3 bytes and not 4
    2 files
    the SHA-256 of saved/vix0.state is a5df3663fd30bea8bae0bc1fd313c00d3c0c01911bf309beb60416b86031cfaa and not 972ec08bc7570a80420693a082eb9a1a5afcb85fd60abcfd1f98fc2b67c9eeaf
    ");
}

#[test]
fn an_archive_has_its_name_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x.tar.zst");
    let left = || fs_err::read_dir(folder.path()).unwrap().count();
    // Interrupted, or failed.
    let (place, zstd) = compressed::begin(&to).unwrap();
    assert_eq!(left(), 1);
    drop((place, zstd));
    assert_eq!(left(), 0);
    let pack = || {
        let (place, zstd) = compressed::begin(&to).unwrap();
        let bytes = zstd.compress(|mut input| Ok(input.write_all(b"all of it")?));
        (place, bytes.unwrap())
    };
    // Two at a time: the first that is done has it.
    let ((one, bytes), (other, _)) = (pack(), pack());
    one.take().unwrap();
    let error = other.take().unwrap_err();
    assert_eq!(error.exit(), Exit::BadInput);
    assert!(error.show(false).contains("is there already"), "{error}");
    assert_eq!((left(), fs_err::metadata(&to).unwrap().len()), (1, bytes));
    assert!(unpack::is_archive(&to));
    let refused = [to, folder.path().join("none/x.tar.zst")].map(|to| {
        let error = compressed::begin(&to).err().unwrap();
        assert_eq!(error.exit(), Exit::BadInput);
        let place = folder.path().display().to_string();
        error.show(false).replace(&place, "[folder]")
    });
    insta::assert_snapshot!(refused.join("\n"), @r"
    error: [folder]/x.tar.zst is there already: name another file
    error: [folder]/none/x.tar.zst cannot be made, since its folder is not there: make that, or name another file
    ");
}

#[test]
fn a_scenario_that_was_changed_after_it_was_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.toml");
    let text = r#"
name = "two nodes"
nodes = { "vix[0-1]" = { arch = "x86" } }
[[layer]]
nbd = { disk = "64MiB" }
[[step]]
run = { on = "vix0", command = "true" }
"#;
    fs_err::write(&path, text).unwrap();
    let plan = scenario::load_with(&path, &[]).unwrap();
    Sources::of(&plan, &[]).unwrap();
    fs_err::write(&path, text.replace("true", "false")).unwrap();
    let error = Sources::of(&plan, &[]).unwrap_err();
    assert_eq!(error.exit(), Exit::BadInput);
    let said = error.show(false);
    assert_eq!(
        said,
        format!(
            "error: {} or one of its bases was changed after it had been read: run it again",
            path.display()
        )
    );
}
