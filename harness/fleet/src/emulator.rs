//! What runs a fleet's guests: QEMU's version and the accelerators.

use std::collections::{BTreeMap, BTreeSet};

use sanlab_plan::Arch;
use sanlab_vm::{AcceleratorChoice, VmError, choose_accelerator, qemu_version};
use tokio::sync::OnceCell;

use crate::boot::vm_arch;
use crate::error::FleetError;
use crate::spec::FleetSpec;

/// One architecture's.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    pub(crate) accelerator: AcceleratorChoice,
    /// As QEMU prints it.
    pub(crate) version: String,
}

/// Those of all architectures that a fleet has.
pub(crate) async fn find(spec: &FleetSpec) -> Result<BTreeMap<Arch, Emulator>, FleetError> {
    let archs: BTreeSet<Arch> = spec.members.iter().map(|member| member.arch).collect();
    let mut found = BTreeMap::new();
    for arch in archs {
        let failed = |source| FleetError::Accelerator {
            arch,
            source: Box::new(source),
        };
        let emulator = Emulator {
            accelerator: choose_accelerator(spec.accelerator, vm_arch(arch))
                .await
                .map_err(failed)?,
            version: version(arch).await.map_err(failed)?,
        };
        found.insert(arch, emulator);
    }
    Ok(found)
}

/// Asked once a process: the answer takes QEMU a twentieth of a second.
async fn version(arch: Arch) -> Result<String, VmError> {
    static X86: OnceCell<String> = OnceCell::const_new();
    static X86_64: OnceCell<String> = OnceCell::const_new();
    let known = match arch {
        Arch::X86 => &X86,
        Arch::X86_64 => &X86_64,
    };
    let asked = known.get_or_try_init(|| qemu_version(vm_arch(arch)));
    asked.await.cloned()
}
