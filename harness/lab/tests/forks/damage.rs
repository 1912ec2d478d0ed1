//! What lies in the store is not what it was.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libtest_mimic::Failed;
use sanlab::scenario;

use crate::ground::{Ground, Ran, attempt};
use crate::told;

/// Damage to a label, and what is said of it. What is said of the other files, the tests of fleets ask.
type Damage = (fn(&Path) -> Result<(), Failed>, &'static str);

const LABELS: [Damage; 2] = [(say_something_else, "label"), (cut, "not whole")];

/// A checkpoint that is damaged is named, thrown away, and made anew; the run is none the worse. So is a template.
pub(crate) async fn is_rebuilt(ground: &Ground, labels: bool) -> Result<(), Failed> {
    let small = ground.lab.project().join("fixtures/leaks/two-nodes.toml");
    let plan = scenario::load(&small)?;
    let place = ground.place(&plan).await?;
    let run = ground.lab.new_run()?;
    let mut numbers = 1..;
    let mut next = async || {
        let order = attempt(&run, numbers.next().unwrap_or_default());
        ground.run(&place, &plan, order).await
    };
    let built = next().await?;
    let key = told::kept(&built.record).ok_or_else(|| built.but("kept nothing"))?;
    let checkpoint = place.store.root().join("checkpoints").join(&key);
    for (damage, reason) in LABELS.into_iter().filter(|_| labels) {
        damage(&checkpoint.join("label.json"))?;
        let rebuilt = next().await?;
        expect_discarded(&rebuilt, &[("checkpoint", &key, reason)])?;
        expect_built(&rebuilt, &key)?;
    }
    let template = fs_err::read_dir(place.store.root().join("templates"))?.next();
    let template = template.ok_or("there are no templates")??;
    turn_a_bit(&template.path().join("template.state"))?;
    cut(&checkpoint.join("vix1.ram"))?;
    let rebuilt = next().await?;
    let name = template.file_name().to_string_lossy().into_owned();
    expect_discarded(
        &rebuilt,
        &[
            ("checkpoint", &key, "bytes instead of"),
            ("template", &name, "SHA-256"),
        ],
    )?;
    expect_built(&rebuilt, &key)?;

    next().await?.expect_forked(&key)?;
    Ok(())
}

/// These were thrown away, in this order, and no others.
fn expect_discarded(ran: &Ran, expected: &[(&str, &str, &str)]) -> Result<(), Failed> {
    let found = told::discarded(&ran.record);
    let is_so = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            let (kind, key, reason) = expected;
            found.kind == *kind && found.key == *key && found.reason.contains(reason)
        });
    if is_so {
        return Ok(());
    }
    Err(ran.but(&format!("threw {found:?} away, expected: {expected:?}")))
}

/// Nothing was forked, and a good one was kept under the same key.
fn expect_built(ran: &Ran, key: &str) -> Result<(), Failed> {
    if told::forked_from(&ran.record).is_some() {
        return Err(ran.but("was forked from what was damaged"));
    }
    if told::kept(&ran.record).as_deref() != Some(key) {
        return Err(ran.but("kept no new checkpoint"));
    }
    Ok(())
}

fn writable(file: &Path) -> Result<fs_err::File, Failed> {
    fs_err::set_permissions(file, PermissionsExt::from_mode(0o600))?;
    let mut options = fs_err::OpenOptions::new();
    Ok(options.read(true).write(true).open(file)?)
}

fn cut(file: &Path) -> Result<(), Failed> {
    let file = writable(file)?;
    Ok(file.set_len(file.metadata()?.len() / 2)?)
}

fn turn_a_bit(file: &Path) -> Result<(), Failed> {
    let mut file = writable(file)?;
    let mut byte = [0];
    let middle = SeekFrom::Start(file.metadata()?.len() / 2);
    file.seek(middle)?;
    file.read_exact(&mut byte)?;
    file.seek(middle)?;
    Ok(file.write_all(&[byte[0] ^ 1])?)
}

fn say_something_else(label: &Path) -> Result<(), Failed> {
    let file = writable(label)?;
    file.set_len(0)?;
    Ok(fs_err::write(label, "{\"about\": \"something else\"}")?)
}
