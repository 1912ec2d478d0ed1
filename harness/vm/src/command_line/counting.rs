//! Whether guests' instructions can be counted here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_counter::{CounterFile, PLUGIN};

use crate::command_line::accelerator::probe;
use crate::command_line::argv::plugin_value;
use crate::command_line::program::PerProgram;
use crate::command_line::spec::{Accelerator, Arch, Counter};
use crate::error::VmError;

/// A probe that works takes a tenth of a second; nothing hangs on its failing soon.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// The plugin that counts instructions of guests which that QEMU program translates, or why there is none. Believed when it
/// has counted those of a guest of a few instructions, once a process, architecture and program.
///
/// `$SANLAB_COUNTER` says where the plugin is, and that there is none if it is empty; otherwise it is looked for where cargo
/// puts it: beside the program that runs, or in the folder `deps` there.
pub async fn counter_plugin(program: &Path, arch: Arch) -> Result<PathBuf, String> {
    static X86: PerProgram<Result<PathBuf, String>> = PerProgram::new();
    static X86_64: PerProgram<Result<PathBuf, String>> = PerProgram::new();
    let known = match arch {
        Arch::X86 => X86.of(program),
        Arch::X86_64 => X86_64.of(program),
    };
    let try_it = || async {
        let plugin = found(std::env::var_os("SANLAB_COUNTER"))?;
        match counts(&plugin, program, arch).await {
            Ok(verdict) => verdict.map(|()| plugin),
            Err(error) => Err(error.to_string()),
        }
    };
    known.get_or_init(try_it).await.clone()
}

/// The plugin's file.
fn found(named: Option<OsString>) -> Result<PathBuf, String> {
    if let Some(named) = named {
        if named.is_empty() {
            return Err("SANLAB_COUNTER is empty".into());
        }
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(format!("SANLAB_COUNTER names no file: {}", named.display()))
        };
    }
    let running = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = running.parent().unwrap_or(Path::new("/"));
    // What cargo made last is in `deps`; what is beside the program may be older.
    let folders = [
        beside.join("deps"),
        beside.to_owned(),
        beside.with_file_name("deps"),
    ];
    let mut files = folders.iter().map(|folder| folder.join(PLUGIN));
    let missing = || {
        format!(
            "{PLUGIN} is neither in {} nor beside it",
            folders[0].display()
        )
    };
    files.find(|file| file.is_file()).ok_or_else(missing)
}

/// Has the probe guest counted.
async fn counts(plugin: &Path, program: &Path, arch: Arch) -> Result<Result<(), String>, VmError> {
    let failed = |error| VmError::host("make a file to count in", error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("instructions");
    let file = CounterFile::create(&path).map_err(failed)?;
    let counter = Counter {
        plugin: plugin.to_owned(),
        file: path,
    };
    let arguments = ["-plugin".into(), plugin_value(&counter)];
    let verdict = probe(program, arch, Accelerator::Tcg, &arguments, PROBE_DEADLINE);
    Ok(match (verdict.await?, file.read().map_err(failed)?) {
        (Err(reason), _) => Err(format!(
            "QEMU did not run a guest with {}: {reason}",
            plugin.display()
        )),
        (Ok(_), 0) => Err(format!(
            "{} counted nothing of a guest that ran",
            plugin.display()
        )),
        (Ok(_), _) => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::argv::program_name;

    /// Needs the host's QEMU and half a second.
    #[tokio::test]
    async fn the_probe_guest_is_counted() {
        for arch in [Arch::X86, Arch::X86_64] {
            let plugin = counter_plugin(Path::new(program_name(arch)), arch).await;
            let plugin = plugin.expect("cargo has built it beside this program");
            assert!(plugin.ends_with(PLUGIN), "{}", plugin.display());
        }
    }

    #[test]
    fn a_plugin_can_be_named_or_forbidden() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = folder.path().join("other.so");
        let find = || found(Some(named.clone().into()));
        let missing = format!("SANLAB_COUNTER names no file: {}", named.display());
        assert_eq!(find(), Err(missing));
        fs_err::write(&named, "").expect("a file");
        assert_eq!(find(), Ok(named.clone()));
        let none = Err("SANLAB_COUNTER is empty".into());
        assert_eq!(found(Some(OsString::new())), none);
    }

    #[tokio::test]
    async fn what_is_no_plugin_is_a_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let plugin = folder.path().join("x,y.so");
        fs_err::write(&plugin, "no library").expect("a file");
        let program = Path::new(program_name(Arch::X86));
        let verdict = counts(&plugin, program, Arch::X86).await;
        let reason = verdict.expect("QEMU runs").expect_err("no library");
        assert!(
            reason.contains("x,y.so") && reason.contains("exited with 1"),
            "{reason}"
        );
    }
}
