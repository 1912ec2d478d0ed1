//! Saved files that are not what they were.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sanlab_fleet::{Fleet, FleetError};
use sanlab_record::EventKind;

use crate::ground::{Label, checkpoint, den, end, listener, names, says, spec, store};

/// A template that lost its end is thrown away, and another is made; so is one with a wrong bit.
pub(crate) async fn template() {
    let store = store();
    let spec = spec(&store, "damaged");
    let one = names(&["vix1"]);
    let start = async || {
        let (events, mut heard) = listener();
        let fleet = Fleet::start(spec.clone(), &one, None, events)
            .await
            .unwrap();
        let node = fleet.node("vix1").unwrap();
        assert_eq!(says(&node, "hostname").await, "vix1");
        let keys: Vec<_> = fleet.templates().into_iter().map(|used| used.key).collect();
        drop(node);
        end(fleet).await;
        let (mut discarded, mut made) = (Vec::new(), 0);
        while let Some(event) = heard.recv().await {
            match event.kind {
                EventKind::Discarded { key, reason, .. } => discarded.push((key, reason)),
                EventKind::TemplateMade { .. } => made += 1,
                _ => {}
            }
        }
        (keys, discarded, made)
    };
    let (keys, ..) = start().await;
    let folder = store.root().join("templates").join(&keys[0]);
    for (file, damage, expected) in [
        ("template.ram", truncate as fn(&Path), "bytes instead of"),
        ("template.state", turn_a_bit, "its SHA-256 is "),
    ] {
        damage(&folder.join(file));
        let (_, discarded, made) = start().await;
        assert_eq!((discarded.len(), made), (1, 1), "{discarded:?}");
        assert_eq!(discarded[0].0, keys[0]);
        assert!(discarded[0].1.contains(expected), "{discarded:?}");
    }
}

/// A checkpoint is looked at before anything runs from it.
pub(crate) async fn checkpoint_is_refused() {
    let held = checkpoint().await;
    let label: Label = held.label().unwrap();
    let spec = spec(&store(), "refused");
    for (file, damage, expected) in [
        ("vix1.state", truncate as fn(&Path), "bytes instead of"),
        ("vix1.state", turn_a_bit, "its SHA-256 is "),
        ("vix2.ram", truncate, "bytes instead of"),
        ("vix0.disk", remove, "it is missing"),
    ] {
        let folder = den().join("damaged");
        let _ = fs_err::remove_dir_all(&folder);
        fs_err::create_dir(&folder).unwrap();
        for entry in fs_err::read_dir(held.path()).unwrap() {
            let path = entry.unwrap().path();
            let copy = folder.join(path.file_name().unwrap());
            if copy.ends_with(file) {
                sanlab_image::copy_sparse(&path, &copy).unwrap();
            } else {
                fs_err::hard_link(&path, &copy).unwrap();
            }
        }
        damage(&folder.join(file));
        let (events, _) = listener();
        let error = Fleet::fork(spec.clone(), &label.fleet, &folder, None, events)
            .await
            .err()
            .unwrap();
        let FleetError::Damaged { path, reason } = error else {
            panic!("{error}");
        };
        assert_eq!(path, folder.join(file));
        assert!(reason.contains(expected), "{reason}");
    }
}

fn writable(file: &Path) -> fs_err::File {
    fs_err::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap()
}

fn truncate(file: &Path) {
    let file = writable(file);
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
}

fn turn_a_bit(file: &Path) {
    let file = writable(file);
    let mut byte = [0];
    rustix::io::pread(&file, &mut byte, 1000).unwrap();
    rustix::io::pwrite(&file, &[byte[0] ^ 1], 1000).unwrap();
}

fn remove(file: &Path) {
    fs_err::remove_file(file).unwrap();
}
