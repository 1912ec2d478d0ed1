//! An archive that somebody has made up: nothing outside of it is read, and nothing that has not been verified.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::manifest::Manifest;
use super::ready::Ready;
use super::tests::sources;
use crate::LabError;

const DIGEST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const STATE: &str = "972ec08bc7570a80420693a082eb9a1a5afcb85fd60abcfd1f98fc2b67c9eeaf";

/// The manifest of an archive in which one node is saved.
fn manifest() -> Value {
    let (plan, sources) = sources();
    let image = |node: &sanlab_plan::Node| {
        let image = json!({ "arch": node.hardware.arch.to_string(), "digest": DIGEST });
        (node.name.to_string(), image)
    };
    let images: BTreeMap<String, Value> = plan.nodes.iter().map(image).collect();
    let saved = json!({
        "made": 0.0,
        "circumstances": { "emulators": {}, "processor": "GenuineIntel", "machines": {} },
        "images": images,
        "fleet": {
            "nodes": [{
                "name": "vix0",
                "state": { "bytes": 9, "sha256": STATE, "whole": true },
                "ram_bytes": 0,
                "disk_bytes": 0,
            }],
            "shared_disks": [],
        },
        "left_out": {},
        "meta": {
            "state": {
                "there": [], "mounted": [], "stopped": [], "acknowledged": {}, "ack_logs": {},
            },
            "phases": [],
        },
    });
    let sizes = json!({
        "untrimmed": 0, "trimmed": 0, "modules_untrimmed": 0, "modules": 0, "root": 0, "kernel": 0, "initramfs": 0,
    });
    let label = json!({ "kernel_release": "6.1", "packages": [], "sizes": sizes });
    let images = [(DIGEST.to_owned(), label)].into();
    let mut manifest =
        serde_json::to_value(Manifest::new(sources, saved, images, Vec::new())).unwrap();
    let file = |name: String| json!({ "name": name, "bytes": 9, "data_bytes": 9, "sha256": STATE });
    let names =
        ["vmlinux", "initramfs", "root.erofs"].map(|name| format!("images/{DIGEST}/{name}"));
    let names = [String::from("saved/vix0.state")].into_iter().chain(names);
    manifest["files"] = names.map(file).collect();
    manifest
}

/// What becomes of it after a change.
fn said(change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = manifest();
    change(&mut manifest);
    let path = Path::new("x.tar.zst");
    let parsed = Manifest::parse(path, &serde_json::to_vec(&manifest).unwrap());
    let ready = parsed.map_err(LabError::from);
    let ready = ready.and_then(|manifest| Ready::described(path, &manifest, Path::new("")));
    match ready {
        Ok(ready) => format!("{} saved", ready.saved.nodes().count()),
        Err(error) => {
            assert_eq!(error.exit(), crate::Exit::BadInput);
            error.show(false)
        }
    }
}

/// All nodes run from the image of that digest, which is described.
fn runs_from(digest: &str) -> impl FnOnce(&mut Value) {
    move |manifest| {
        let label = manifest["images"][DIGEST].clone();
        manifest["images"][digest] = label;
        let images = manifest["saved"]["images"].as_object_mut().unwrap();
        for image in images.values_mut() {
            image["digest"] = json!(digest);
        }
    }
}

#[test]
fn what_an_archive_describes_is_in_it() {
    let other = DIGEST.replace('0', "f");
    let said = [
        said(|_| ()),
        said(runs_from("/home/x/y")),
        said(runs_from("../../..")),
        said(runs_from(&other)),
        said(|manifest| {
            manifest["files"].as_array_mut().unwrap().pop();
        }),
        said(|manifest| manifest["files"][0]["bytes"] = json!(8)),
        said(|manifest| manifest["saved"]["fleet"]["nodes"][0]["name"] = json!("../../x")),
        said(|manifest| {
            let disk = json!({ "serial": "../../x", "bytes": 9 });
            manifest["saved"]["fleet"]["shared_disks"] = json!([disk]);
        }),
        said(|manifest| manifest["sources"]["settings"] = json!(["mtu"])),
    ];
    insta::assert_snapshot!(said.join("\n").replace(DIGEST, "[digest]").replace(&other, "[other]"), @r"
    1 saved
    error: the archive x.tar.zst is damaged: `/home/x/y` is not the digest of an image; copy it again
    error: the archive x.tar.zst is damaged: `../../..` is not the digest of an image; copy it again
    error: the archive x.tar.zst is damaged: it lacks images/[other]/vmlinux; copy it again
    error: the archive x.tar.zst is damaged: it lacks images/[digest]/root.erofs; copy it again
    error: the archive x.tar.zst is damaged: saved/vix0.state has 8 bytes and not 9; copy it again
    error: the archive x.tar.zst is damaged: it lacks saved/../../x.state; copy it again
    error: the archive x.tar.zst is damaged: it lacks saved/../../x.shared; copy it again
    error: `mtu` cannot be set: the saved fleet has it, and it is no KEY=VALUE; save or copy the fleet again
    ");
}

#[test]
fn lengths_that_are_made_up_do_not_overflow() {
    let mut manifest = manifest();
    for file in manifest["files"].as_array_mut().unwrap() {
        file["data_bytes"] = json!(u64::MAX);
    }
    let parsed = Manifest::parse(Path::new("x"), &serde_json::to_vec(&manifest).unwrap());
    assert_eq!(parsed.unwrap().data_bytes(), u64::MAX);
}
