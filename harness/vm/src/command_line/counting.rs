//! Whether guests' instructions can be counted here.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sanlab_counter::{Api, CounterFile, PLUGIN};
use tokio::time::Instant;

use crate::command_line::accelerator::probe;
use crate::command_line::argv::plugin_value;
use crate::command_line::program::PerProgram;
use crate::command_line::spec::{Accelerator, Arch, Counter};
use crate::error::VmError;

/// For all versions together. A probe that works takes a tenth of a second, and one that is refused half of that; nothing
/// hangs on their failing soon.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// The plugin of QEMU's translator, as a QEMU accepts it; [`counter_plugin`] finds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CounterPlugin {
    /// The library.
    pub file: PathBuf,
    /// The version of QEMU's plugin interface by which it is loaded.
    pub api: Api,
}

impl CounterPlugin {
    /// The same, if it counts machines with that many virtual processors.
    pub fn for_cpus(self, cpus: u8) -> Result<Self, NotCounted> {
        if cpus == 1 || self.api.counts_several() {
            Ok(self)
        } else {
            Err(NotCounted::Processors { cpus })
        }
    }
}

/// Why a guest's instructions are not counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// There is no translator that could count.
    #[error("the host's processor executes them (KVM)")]
    Kvm,
    /// The user does not want it.
    #[error("SANLAB_COUNTER is empty")]
    Forbidden,
    /// The library is not where it should be, or the probe could not be made.
    #[error("{0}")]
    NoPlugin(String),
    /// This QEMU supports no plugins, or no version of its interface that the plugin speaks.
    #[error("QEMU does not load the plugin: {0}")]
    Refused(String),
    /// QEMU has loaded the plugin, and that is all.
    #[error("{0}")]
    Fails(String),
    /// Version 1 of QEMU's interface has no atomic addition.
    #[error("counting {cpus} virtual CPUs needs QEMU 9.0")]
    Processors {
        /// So many has the guest.
        cpus: u8,
    },
}

impl NotCounted {
    /// Whether that is the lab's own fault, and not a property of the host's.
    pub fn is_a_fault(&self) -> bool {
        matches!(self, Self::NoPlugin(_) | Self::Fails(_))
    }
}

/// The plugin that counts instructions of guests which that QEMU program runs, or why they are not counted. Believed when it
/// has counted those of a guest of a few instructions, once a process, architecture and program.
///
/// `$SANLAB_COUNTER` says where the plugin is, and that there is none if it is empty; otherwise it is looked for where cargo
/// puts it: beside the program that runs, or in the folder `deps` there. An installed program brings one along:
/// [`offer_counter_plugin`].
pub async fn counter_plugin(
    accelerator: Accelerator,
    program: &Path,
    arch: Arch,
) -> Result<CounterPlugin, NotCounted> {
    static X86: PerProgram<Result<CounterPlugin, NotCounted>> = PerProgram::new();
    static X86_64: PerProgram<Result<CounterPlugin, NotCounted>> = PerProgram::new();
    if accelerator == Accelerator::Kvm {
        return Err(NotCounted::Kvm);
    }
    let known = match arch {
        Arch::X86 => X86.of(program),
        Arch::X86_64 => X86_64.of(program),
    };
    let try_it = || async {
        let file = found(std::env::var_os("SANLAB_COUNTER"))?;
        let tried = accepted(&file, program, arch).await;
        tried.unwrap_or_else(|error| Err(NotCounted::NoPlugin(error.to_string())))
    };
    known.get_or_init(try_it).await.clone()
}

/// Gives the folder of the plugin that an installed program brings along.
type Offer = fn() -> Result<PathBuf, String>;

static OFFER: OnceLock<Offer> = OnceLock::new();

/// Says, for the whole process, where the plugin is if it is nowhere else; asked only then.
pub fn offer_counter_plugin(folder: Offer) {
    // Whoever says it again says the same.
    let _ = OFFER.set(folder);
}

/// The plugin's file.
fn found(named: Option<OsString>) -> Result<PathBuf, NotCounted> {
    if let Some(named) = named {
        if named.is_empty() {
            return Err(NotCounted::Forbidden);
        }
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            let named = named.display();
            let reason = format!("SANLAB_COUNTER names no file: {named}");
            Err(NotCounted::NoPlugin(reason))
        };
    }
    let made = beside().map_err(|error| NotCounted::NoPlugin(error.to_string()))?;
    let file = match (made, OFFER.get()) {
        (Some(file), _) => file,
        (None, Some(offer)) => offer().map_err(NotCounted::NoPlugin)?.join(PLUGIN),
        (None, None) => PathBuf::from(PLUGIN),
    };
    if file.is_file() {
        return Ok(file);
    }
    let reason = format!("{PLUGIN} is not beside the program, where cargo puts it");
    Err(NotCounted::NoPlugin(reason))
}

/// Where cargo has made it.
fn beside() -> io::Result<Option<PathBuf>> {
    let running = std::env::current_exe()?;
    let beside = running.parent().unwrap_or(Path::new("/"));
    // What cargo made last is in `deps`; what is beside the program may be older.
    let folders = [
        beside.join("deps"),
        beside.to_owned(),
        beside.with_file_name("deps"),
    ];
    let mut files = folders.iter().map(|folder| folder.join(PLUGIN));
    Ok(files.find(|file| file.is_file()))
}

/// By which version of the interface QEMU loads the plugin. Only a trial tells: QEMU says which it supports once it has accepted
/// one.
async fn accepted(
    file: &Path,
    program: &Path,
    arch: Arch,
) -> Result<Result<CounterPlugin, NotCounted>, VmError> {
    let deadline = Instant::now() + PROBE_DEADLINE;
    let mut refusal = None;
    for api in Api::ALL {
        let plugin = CounterPlugin {
            file: file.to_owned(),
            api,
        };
        let tried = counts(plugin, program, arch, deadline).await?;
        match tried {
            Err(NotCounted::Refused(reason)) => refusal.get_or_insert(reason),
            done => return Ok(done),
        };
    }
    // What QEMU says of the newest: older ones it may have known once.
    Ok(Err(NotCounted::Refused(refusal.unwrap_or_default())))
}

/// Has the probe guest counted.
async fn counts(
    plugin: CounterPlugin,
    program: &Path,
    arch: Arch,
    deadline: Instant,
) -> Result<Result<CounterPlugin, NotCounted>, VmError> {
    let failed = |error| VmError::host("make a file to count in", error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("instructions");
    let file = CounterFile::create(&path, 1).map_err(failed)?;
    let counter = Counter { plugin, file: path };
    let arguments = ["-plugin".into(), plugin_value(&counter)];
    let left = deadline.saturating_duration_since(Instant::now());
    let ran = probe(program, arch, Accelerator::Tcg, &arguments, left).await?;
    let (is_loaded, instructions) = (file.is_loaded(), file.read());
    let plugin = counter.plugin;
    let shown = plugin.file.display();
    Ok(match (ran, instructions.map_err(failed)?) {
        (Err(reason), _) if is_loaded.map_err(failed)? => Err(NotCounted::Fails(format!(
            "QEMU did not run a guest with {shown}: {reason}"
        ))),
        (Err(reason), _) => Err(NotCounted::Refused(reason)),
        (Ok(_), None | Some(0)) => Err(NotCounted::Fails(format!(
            "{shown} did not count a guest that ran"
        ))),
        (Ok(_), Some(_)) => Ok(plugin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::argv::program_name;

    #[test]
    fn a_plugin_can_be_named_or_forbidden() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = folder.path().join("other.so");
        let find = || found(Some(named.clone().into()));
        let missing = find().expect_err("no such file");
        assert!(missing.is_a_fault());
        let text = format!("SANLAB_COUNTER names no file: {}", named.display());
        assert_eq!(missing.to_string(), text);
        fs_err::write(&named, "").expect("a file");
        assert_eq!(find(), Ok(named.clone()));
        assert_eq!(found(Some(OsString::new())), Err(NotCounted::Forbidden));
        assert!(!NotCounted::Forbidden.is_a_fault());
    }

    #[tokio::test]
    async fn what_is_no_plugin_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let plugin = folder.path().join("x,y.so");
        fs_err::write(&plugin, "no library").expect("a file");
        let program = Path::new(program_name(Arch::X86));
        let tried = accepted(&plugin, program, Arch::X86).await;
        let refused = tried.expect("QEMU runs").expect_err("no library");
        assert!(matches!(&refused, NotCounted::Refused(_)), "{refused:?}");
        let reason = refused.to_string();
        assert!(
            reason.contains("x,y.so") && reason.contains("exited with 1"),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn kvm_needs_no_trial() {
        let program = Path::new("/nowhere/qemu");
        let none = counter_plugin(Accelerator::Kvm, program, Arch::X86).await;
        assert_eq!(none, Err(NotCounted::Kvm));
    }

    #[test]
    fn several_processors_need_a_newer_qemu() {
        let plugin = |api| CounterPlugin {
            file: "plugin.so".into(),
            api,
        };
        for api in Api::ALL {
            assert_eq!(plugin(api).for_cpus(1), Ok(plugin(api)));
        }
        assert_eq!(plugin(Api::V2).for_cpus(4), Ok(plugin(Api::V2)));
        let refused = plugin(Api::V1).for_cpus(4).expect_err("no atomic addition");
        insta::assert_snapshot!(refused, @"counting 4 virtual CPUs needs QEMU 9.0");
    }
}
