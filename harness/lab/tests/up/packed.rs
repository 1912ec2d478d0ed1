//! A fleet that was saved when its run had failed is brought up again: where it was, and where nothing is but the archive.

use std::time::Instant;

use fs_err as fs;
use guest_trials::Failed;

use crate::place::{Place, two_nodes};
use crate::{SOON, UP, expect, tell};

/// Writes to memory and to the disk, and fails.
const FAILS: &str = r#"
[[step]]
label = "fail"
run = { on = "vix0", command = "echo seen >/run/tried; echo kept | dd of=/dev/vdb seek=100 conv=sync,fsync; exit 3" }
"#;

/// What is still there of both.
const LOOK: &str = "cat /run/tried; dd if=/dev/vdb skip=100 count=1 2>/dev/null | tr -d '\\0'";

pub(crate) fn goes_on(place: &Place) -> Result<(), Failed> {
    let file = place.file("failing.toml");
    fs::write(&file, fs::read_to_string(two_nodes())? + FAILS)?;
    let path = file.to_string_lossy().into_owned();
    let run = place.sanlab(&["run", "--save-on-failure", &path], UP)?;
    expect(&run, 1, "the fleet as it failed, ")?;
    // It is in what was saved.
    fs::remove_file(&file)?;
    let runs = place.file("runs").to_string_lossy().into_owned();
    let begin = Instant::now();
    expect(&place.sanlab(&["up", &runs], UP)?, 0, "failing is up after")?;
    tell("up of a saved fleet", begin);
    look(place)?;
    place.expect_empty("down of a saved fleet")?;

    let archive = place.file("x.tar.zst").to_string_lossy().into_owned();
    let no_run = ["pack", "no-such-run", "-o", &archive];
    expect(&place.sanlab(&no_run, SOON)?, 2, "is no folder")?;
    let begin = Instant::now();
    let pack = ["pack", &runs, "-o", &archive];
    expect(&place.sanlab(&pack, UP)?, 0, "on a host with the same QEMU")?;
    tell("pack", begin);
    expect(&place.sanlab(&pack, SOON)?, 2, "is there already")?;
    // Neither run nor image is left, but for the archive.
    fs::remove_dir_all(&runs)?;
    let elsewhere = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("SANLAB_CACHE", place.file("cache"));
        place.output(command, UP)
    };
    let fresh = elsewhere(&["up", "--fresh", &archive])?;
    expect(&fresh, 2, "a saved fleet goes on as it was")?;
    let begin = Instant::now();
    expect(&elsewhere(&["up", &archive])?, 0, "failing is up after")?;
    tell("up of an archive", begin);
    let images = fs::read_dir(place.file("cache").join("images"))?.count();
    if images != 0 {
        return Err(format!("the store has {images} images that came out of an archive").into());
    }
    look(place)?;
    place.expect_empty("down of a fleet out of an archive")?;
    let again = elsewhere(&["up", "--for", "2s", &archive])?;
    expect(&again, 0, "failing is up after")?;
    place.expect_empty("the end of a fleet's time")
}

/// Memory, disk and network are as they were, no step is taken, and it ends.
fn look(place: &Place) -> Result<(), Failed> {
    let look = ["exec", "vix0", "--", "sh", "-c", LOOK];
    expect(&place.sanlab(&look, SOON)?, 0, "seen\nkept\n")?;
    let ping = ["exec", "vix1", "--", "ping", "-c", "1", "vix0.local"];
    expect(&place.sanlab(&ping, SOON)?, 0, "1 packets received")?;
    let list = place.sanlab(&["ls"], SOON)?;
    expect(&list, 0, "vix0 vix1")?;
    expect(&place.sanlab(&["down"], UP)?, 0, "failing is down")
}
