//! Saved files that are not what they were. What becomes of them then, the tests of `lab` ask.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sanlab_fleet::{Fleet, FleetError};

use crate::fixture::{Label, checkpoint, den, listener, spec, store};

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
